"""The console in a real browser on the shared stack: a hundred photos, hostile texts, screens before a training.

The main job stands in tests/console. Needs node with the console's packages, and Chromium (CHROMIUM names another than
/usr/bin/chromium); without them it says so and is skipped.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

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
    for number, (picture, _) in enumerate(draw_subject("toy", 2, seed=5)):
        picture.save(tmp_path / ("plain.png", HOSTILE)[number])
    address, _ = sign_in_address(filled_stack.folder, filled_stack.state)
    walked = finished(
        ("node", CONSOLE / "walk" / "glance.mjs", address, tmp_path),
        cwd=CONSOLE, env={**os.environ, "CHROMIUM": CHROMIUM, "WALK_PATIENCE_S": "60"},
    )  # fmt: skip
    assert walked.returncode == 0, f"{walked.stdout}\n{walked.stderr}"
    assert "glanced at the screens" in walked.stdout
