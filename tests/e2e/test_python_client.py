"""The Python client against the whole stack: the lines of docs/sdk.md as they stand, cut lines, asyncio."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fiveshot import AsyncClient, Client, errors
from fiveshot.sync.datasets import Dataset
from fiveshot.sync.training import TrainingJob
from fiveshot.updates import Update
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file

from gateway.demo_pictures import draw_subject
from tests.fixtures.cut_line import CutLine
from tests.fixtures.running_stack import RunningStack

ROOT = Path(__file__).resolve().parents[2]
# Small enough for a busy machine: what is tested is the way, not the picture.
TINY = {"epochs": 2, "num_repeats": 1, "regularization_fraction": 0.25, "preview_steps": 1}
CUTS = 20


@pytest.fixture
def workplace(running_stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos/, from which the stack is found as the command line finds it."""
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for number, (picture, _) in enumerate(draw_subject("toy", 5, seed=1, size=128)):
        picture.save(tmp_path / "photos" / ("more" if number > 2 else "") / f"{number}.png")
    monkeypatch.setenv("FIVESHOT_DATA", str(running_stack.folder.path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.timeout(600)
async def test_the_lines_of_the_page_work_as_they_stand_over_a_line_that_is_cut(
    running_stack: RunningStack, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8")
    lines = re.search(r"```python\n(.+?)```", page, re.DOTALL)
    assert lines is not None
    train = Dataset.train
    shown: list[Image.Image] = []
    printed: list[tuple[Any, ...]] = []
    watched: list[int] = []
    monkeypatch.setattr(Dataset, "train", lambda self, **given: train(self, **{**given, **TINY}))
    monkeypatch.setattr(Image.Image, "show", lambda picture, title=None: shown.append(picture))

    with CutLine(running_stack.server) as line:
        monkeypatch.setenv("FIVESHOT_SERVER", line.address)
        monkeypatch.setenv("FIVESHOT_API_KEY", running_stack.api_key)

        def note(*values: Any) -> None:
            printed.append(values)
            if len(values) == 3:
                watched.append(names["ev"].message.event.sequence)
                if line.cut < CUTS:
                    line.break_now()

        names: dict[str, Any] = {"print": note}
        exec(compile(lines[1], "sdk.md", "exec"), names)
        names["fs"].close()

        texts = [values for values in printed if len(values) == 2]
        assert [name for name, _ in texts] == [f"{number}.png" for number in range(5)]
        assert all(text.startswith("sks, gray cat") for _, text in texts)
        step, loss, eta = printed[-1]
        job: TrainingJob = names["job"]
        assert (step, eta, job.state) == (job.total_steps, None, "succeeded")
        assert 0 < loss < 5
        assert shown[0].size[0] >= 64
        with Image.open(workplace / "sheet.png") as sheet:
            assert sheet.width > shown[0].width
        with safe_open(workplace / "my-cat.safetensors", "np") as weights:
            assert any(key.startswith("lora_unet_") for key in weights.keys())  # noqa: SIM118

        async with AsyncClient() as client:
            cut = line.cut
            again: list[Update] = []
            async for update in (await client.jobs.get(job.id)).watch(from_start=True):
                again.append(update)
                if line.cut < cut + CUTS:
                    line.break_now()
            assert line.cut >= CUTS
            best = await (await client.jobs.get(job.id)).recommended
            assert (await best.previews[0].read())[:4] == b"\x89PNG"
            model = await client.models.get("my-cat")
            assert [version.id async for version in model.versions] == ["1"]
            dataset = await client.datasets.get("cat")
            assert dataset.subject == "gray cat"
            await dataset.update(labels={"kind": "test"})
            assert [one.id async for one in client.datasets.list('labels.kind = "test"')] == ["cat"]
            kept = await model.version()
            # What was kept in kohya's form alone is to be had in the others.
            imported = await client.models.import_file("my-cat", "my-cat.safetensors", base_model="fiveshot-tiny")
            assert imported.files == ["kohya"]
            made = await imported.download(workplace / "made.safetensors", format="diffusers")
            assert set(load_file(made.path)) == set(load_file((await kept.download(format="diffusers")).path))
            folder = (await imported.download(workplace / "peft", format="peft")).path
            assert (folder / "unet" / "adapter_config.json").is_file()
            peft = await client.models.import_file("my-cat", folder / "unet")
            assert peft.files == ["peft", "peft-config"]
            back = (await peft.download(workplace / "back.safetensors")).path
            assert {key for key in load_file(workplace / "my-cat.safetensors") if key.startswith("lora_unet_")} == set(
                load_file(back)
            )
            # Other tests count what the stack holds.
            await model.delete(force=True)
            await (await client.jobs.get(job.id)).delete(force=True)
            await (await client.datasets.get("cat")).delete(force=True)
            assert "cat" not in [dataset.id async for dataset in client.datasets.list()]
    sequences = [update.message.event.sequence for update in again if update.kind != "job"]
    assert sequences == list(range(1, len(sequences) + 1))
    # The live watch began with a snapshot and saw every event after it once, over the cuts.
    live = [number for number in watched if number]
    assert live == sequences[live[0] - 1 :]


def test_a_refused_call_names_field_reason_and_remedy(workplace: Path) -> None:
    with Client() as fs:
        assert str(fs).endswith("projects/default>")
        with pytest.raises(errors.InvalidArgument) as raised:
            fs.datasets.create("Not An Id")
        assert (raised.value.field, bool(raised.value.remedy), bool(raised.value.request_id)) == (
            "dataset_id", True, True,
        )  # fmt: skip
        with pytest.raises(errors.NotFound) as missing:
            fs.datasets.get("nowhere")
        assert missing.value.reason == "RESOURCE_NOT_FOUND"
    with Client(api_key="fs_wrong") as stranger, pytest.raises(errors.Unauthenticated):
        stranger.base_models()
