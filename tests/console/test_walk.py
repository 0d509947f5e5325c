"""The console in a real browser: the main job on a real stack, from dropped photos to a downloaded model.

Run by `make test-console`; needs node with the console's packages, and Chromium (CHROMIUM names another than
/usr/bin/chromium). SHOTS keeps the screenshots in a folder; WALK_ALL=1 takes them in both languages and themes.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from gateway.cli.console import sign_in_address
from gateway.cli.main import app
from gateway.demo_pictures import draw_subject
from gateway.supervisor.folder import DataFolder, StackState
from tests.console.conftest import CHROMIUM, CONSOLE, needs_browser
from tests.fixtures.processes import finished

LIMIT_S = 1200.0
# Shown as it is, never run.
HOSTILE = '<img src=x onerror="window.hacked=1">.png'


@needs_browser
@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S + 100)
def test_a_person_gets_from_photos_to_a_model(stack: tuple[DataFolder, StackState], tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    drawn = [picture for picture, _ in draw_subject("mascot", 6, seed=7)]
    for number, picture in enumerate(drawn[:5], start=1):
        picture.save(photos / f"mascot-{number}.png")
    drawn[5].save(photos / HOSTILE)
    barred = Image.new("RGB", (512, 720), "black")
    barred.paste(drawn[1].resize((512, 512)), (0, 104))
    barred.save(photos / "bars.png")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    address, _ = sign_in_address(*stack)
    adding = ("--data", str(stack[0].path), "keys", "add", "everyone", "--for", "*", "--role", "admin")
    made = CliRunner().invoke(app, adding)
    assert made.exit_code == 0, made.output
    shots = Path(os.environ.get("SHOTS", tmp_path / "shots"))
    walked = finished(
        ("node", CONSOLE / "walk" / "walk.mjs", address, photos, shots, made.stdout.strip()),
        cwd=CONSOLE, env={**os.environ, "CHROMIUM": CHROMIUM}, limit_s=LIMIT_S,
    )  # fmt: skip
    assert walked.returncode == 0, f"{walked.stdout}\n{walked.stderr}"
    assert "walked from photos to a model" in walked.stdout
