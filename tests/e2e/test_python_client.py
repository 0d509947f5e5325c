"""The Python client against the whole stack: the lines of docs/sdk.md as they stand, cut lines, asyncio."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fiveshot import AsyncClient, Client, errors
from fiveshot.connection import Patience
from PIL import Image
from safetensors import safe_open

from gateway.demo_pictures import draw_subject
from tests.fixtures.cut_line import CutLine
from tests.fixtures.running_stack import RunningStack

ROOT = Path(__file__).resolve().parents[2]
# Small enough for a busy machine: what is tested is the way, not the picture.
TINY = {"num_repeats": 1, "regularization_fraction": 0.25, "preview_steps": 2}


@pytest.fixture
def workplace(running_stack: RunningStack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with photos/, from which the stack is found as the command line finds it."""
    (tmp_path / "photos" / "more").mkdir(parents=True)
    for number, (picture, _) in enumerate(draw_subject("toy", 5, seed=1, size=128)):
        picture.save(tmp_path / "photos" / ("more" if number > 2 else "") / f"{number}.png")
    monkeypatch.setenv("FIVESHOT_DATA", str(running_stack.folder.path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_lines_of_the_page_work_as_they_stand(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (ROOT / "docs" / "sdk.md").read_text(encoding="utf-8")
    lines = re.search(r"```python\n(.+?)```", page, re.DOTALL)
    assert lines is not None
    shown: list[Image.Image] = []
    monkeypatch.setattr(Image.Image, "show", lambda picture, title=None: shown.append(picture))
    names: dict[str, object] = {}
    exec(compile(lines[1], "sdk.md", "exec"), names)

    texts: list[list[str]] = []
    steps: list[list[str]] = []
    for line in capsys.readouterr().out.splitlines():
        (texts if ".png" in line else steps).append(line.split())
    assert [line[:4] for line in texts] == [[f"{number}.png", "sks,", "gray", "cat,"] for number in range(5)]
    assert int(steps[-1][0]) > 0
    assert 0 < float(steps[-1][1]) < 5
    assert shown[0].size[0] >= 64
    with Image.open(workplace / "sheet.png") as sheet:
        assert sheet.width > shown[0].width
    with safe_open(workplace / "my-cat.safetensors", "np") as weights:
        assert any(key.startswith("lora_unet_") for key in weights.keys())  # noqa: SIM118
