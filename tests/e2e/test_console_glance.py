"""The console in a real browser on the shared stack: a hundred photos, hostile texts, screens before a training.

The main job stands in tests/console. Needs node with the console's packages, and Chromium (CHROMIUM names another than
/usr/bin/chromium); without them it says so and is skipped.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from gateway.cli.console import sign_in_address
from gateway.demo_pictures import draw_subject
from tests.fixtures.processes import finished
from tests.fixtures.running_stack import RunningStack

CONSOLE = Path(__file__).parents[2] / "gateway" / "console"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
HOSTILE = '<img src=x onerror="window.hacked=1">.png'


@pytest.mark.skipif(
    not (shutil.which("node") and Path(CHROMIUM).exists() and (CONSOLE / "node_modules").exists()),
    reason="node, the console's packages (npm ci in gateway/console) or Chromium are not here",
)
def test_the_screens_hold_a_hundred_photos_and_hostile_texts(filled_stack: RunningStack, tmp_path: Path) -> None:
    photos, kohya = tmp_path / "photos", tmp_path / "3_sks toy"
    photos.mkdir()
    kohya.mkdir()
    drawn = [picture for picture, _ in draw_subject("toy", 3, seed=5)]
    for number, name in enumerate(("plain.png", HOSTILE)):
        drawn[number].save(photos / name)
    drawn[2].save(kohya / "a toy.png")
    (kohya / "A Toy.txt").write_text("a small toy", encoding="utf-8")
    Image.new("L", drawn[2].size, 255).save(kohya / "a toy-masklabel.png")
    (kohya / "notes.pdf").touch()
    address, _ = sign_in_address(filled_stack.folder, filled_stack.state)
    walked = finished(
        ("node", CONSOLE / "walk" / "glance.mjs", address, photos, kohya),
        cwd=CONSOLE, env={**os.environ, "CHROMIUM": CHROMIUM, "WALK_PATIENCE_S": "60"},
    )  # fmt: skip
    assert walked.returncode == 0, f"{walked.stdout}\n{walked.stderr}"
    assert "glanced at the screens" in walked.stdout
