"""Try-out and comparison through the gateway, on a stack that only pretends to draw."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from fiveshot import Client
from fiveshot.errors import FailedPrecondition, InvalidArgument, NotFound
from PIL import Image

from tests.fixtures.patience import until_blocking
from tests.fixtures.running_stack import RunningStack

PROMPTS = ["sks cat on a beach", "sks cat in the snow"]


def test_epochs_and_versions_are_drawn_with_prompts_of_ones_own_and_land_on_a_sheet(
    pretending: RunningStack, photos: Path, tmp_path: Path
) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        ds = fs.datasets.create("tried", trigger="sks", subject="cat")
        ds.upload(photos)
        job = ds.train(epochs=3).wait()
        first, last = job.epoch(1), job.epoch(3)
        version = last.save("tried")
        drawn = last.try_out(PROMPTS, strengths=[0.5, 1.0], seeds=[1, 2])
        assert (drawn.state, drawn.pretended, drawn.cell_count) == ("succeeded", True, 8)
        cells = [(cell.strength, cell.prompt, cell.seed) for cell in drawn.cells]
        assert cells == [(a, b, c) for a in (0.5, 1.0) for b in PROMPTS for c in (1, 2)]
        pictures = [Image.open(io.BytesIO(cell.read())) for cell in drawn.cells]
        assert {picture.info["Software"] for picture in pictures} == {"Fiveshot, pretended"}
        assert {picture.size for picture in pictures} == {(drawn.message.width, drawn.message.height)}

        of_alias = version.name.rsplit("/", 1)[0] + "/latest"
        mixed = fs.previews.create([first.name, of_alias], PROMPTS[:1]).wait()
        # An alias may move; what was drawn says what it was.
        assert list(mixed.message.sources) == [first.name, version.name]
        assert [cell.source for cell in mixed.cells] == [first.name, version.name]
        assert fs.previews.get(mixed.id).cells[0].read() == mixed.cells[0].read()
        assert {each.name for each in fs.previews.list('state = "SUCCEEDED"')} >= {drawn.name, mixed.name}

        with pytest.raises(InvalidArgument) as many:
            last.try_out(PROMPTS, strengths=[n / 10 for n in range(1, 11)], seeds=list(range(11)))
        assert many.value.reason == "TOO_MANY_CELLS"
        assert "220 pictures" in many.value.message
        with pytest.raises(InvalidArgument) as size:
            last.try_out(PROMPTS, size=(1000, 3))
        assert size.value.reason == "SIZE_INVALID"
        with pytest.raises(InvalidArgument):
            last.try_out(PROMPTS, strengths=[2.5])
        with pytest.raises(InvalidArgument):
            last.try_out(["x" * 1001])
        with pytest.raises(NotFound) as unknown:
            fs.previews.create([f"{job.name}/epochs/9"], PROMPTS)
        assert unknown.value.reason == "EPOCH_NOT_FOUND"
        with pytest.raises(FailedPrecondition) as ended:
            job.try_out(PROMPTS)
        assert ended.value.reason == "JOB_STATE"
        version.delete(force=True)
        with pytest.raises(NotFound):
            fs.previews.create([version.name], PROMPTS)
        mixed.delete()
        with pytest.raises(NotFound):
            mixed.refresh()

    sheet = tmp_path / "sheet.png"
    command = ("epochs", "try", job.id, "--epochs", "1,3", "--strength", "0.6,1", "-p", PROMPTS[0], "-o", str(sheet))
    done = pretending.command(*command)
    assert done.exit_code == 0, done.output
    # Four rows of one picture below the title.
    assert Image.open(sheet).height > 4 * 192
    again = pretending.command(*command)
    assert (again.exit_code, "already exists" in again.output) == (6, True)
    listed = json.loads(pretending.command("--json", "previews", "list").stdout)["previewRequests"]
    assert listed[0]["cellCount"] == 4
    assert "cell-1" in json.dumps(listed[0])
    wrong = pretending.command("epochs", "try", job.id, "--size", "3x5", "-o", str(tmp_path / "no.png"))
    assert (wrong.exit_code, "SIZE_INVALID" in wrong.output) == (2, True)
    assert not (tmp_path / "no.png").exists()


def test_a_job_at_work_is_drawn_as_it_stands_now_and_a_request_ends_with_its_caller(
    pretending: RunningStack, photos: Path
) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        ds = fs.datasets.create("live", trigger="sks", subject="cat")
        ds.upload(photos)
        job = ds.train(epochs=200)
        until_blocking(lambda: job.refresh().state == "running", limit_s=30, what="the job at work")
        drawn = job.try_out(PROMPTS[:1], strengths=[1.0, 2.0])
        steps = {cell.message.step for cell in drawn.cells}
        assert len(steps) == 1
        assert 0 < steps.pop() < job.refresh().total_steps or job.state == "succeeded"

        # The one worker is busy, so this waits; whoever stops waiting ends it.
        class Gone(Exception):
            """The caller is gone."""

        def leave(_: object) -> None:
            raise Gone

        waiting = fs.previews.create([drawn.message.sources[0]], PROMPTS, attended=True)
        with pytest.raises(Gone):
            waiting.wait(leave)
        assert waiting.refresh().state == "cancelled"
        if not job.refresh().ended:
            job.cancel()
