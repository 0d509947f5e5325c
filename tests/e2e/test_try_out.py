"""Try-out and comparison through the gateway, on a stack that only pretends to draw."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from fiveshot import Client
from fiveshot.errors import FailedPrecondition, InvalidArgument, NotFound
from PIL import Image

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
        other = ds.train(epochs=1, rank=4).wait()
        side_by_side = fs.compare(job, other.id)
        assert side_by_side.differences["num_epochs"] == (3, 1)
        assert {"rank", "num_epochs"} <= side_by_side.differences.keys()
        assert [len(losses) for losses in side_by_side.losses] == [job.total_steps, other.total_steps]
        mixed.delete()
        with pytest.raises(NotFound):
            mixed.refresh()

    sheet = tmp_path / "sheet.png"
    command = ("epochs", "try", job.id, "--epochs", "1,3", "--strength", "0.6,1", "-p", PROMPTS[0], "-o", str(sheet))
    done = pretending.command(*command)
    assert done.exit_code == 0, done.output
    # Four rows of one picture below the title.
    with Image.open(sheet) as drawn_sheet:
        assert drawn_sheet.height > 4 * 192
    again = pretending.command(*command)
    assert (again.exit_code, "already exists" in again.output) == (6, True)
    compared = pretending.command(
        "train", "compare", "--plot", str(tmp_path / "l.png"), "--sheet", str(tmp_path / "s.png")
    )
    assert compared.exit_code == 0, compared.output
    for name in ("l.png", "s.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > 300
    listed = json.loads(pretending.command("--json", "previews", "list").stdout)["previewRequests"]
    assert listed[0]["cellCount"] == 4
    assert "cell-1" in json.dumps(listed[0])
    wrong = pretending.command("epochs", "try", job.id, "--size", "3x5", "-o", str(tmp_path / "no.png"))
    assert (wrong.exit_code, "SIZE_INVALID" in wrong.output) == (2, True)
    assert not (tmp_path / "no.png").exists()
