"""The console in a real browser: the main job on a real stack, from dropped photos to a downloaded model.

Run by `make test-console`; needs node with the console's packages, and Chromium (CHROMIUM names another than
/usr/bin/chromium). SHOTS keeps the screenshots in a folder; WALK_ALL=1 takes them in both languages and themes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from gateway.cli.console import sign_in_address
from gateway.cli.main import app
from gateway.demo_pictures import draw_subject
from gateway.supervisor import run, servers
from gateway.supervisor.folder import DataFolder, StackState
from tests.fixtures.processes import finished

CONSOLE = Path(__file__).parents[2] / "gateway" / "console"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SHIPPED = Path(__file__).parents[2] / "services" / "trainer" / "recipe" / "base_models.toml"
LIMIT_S = 1200.0
# Shown as it is, never run.
HOSTILE = '<img src=x onerror="window.hacked=1">.png'

needs_browser = pytest.mark.skipif(
    not (shutil.which("node") and Path(CHROMIUM).exists() and (CONSOLE / "node_modules").exists()),
    reason="node, the console's packages (npm ci) or Chromium are not here",
)


def with_presets(path: Path) -> Path:
    """A catalogue of the base model that ships, and of the same with presets."""
    text = SHIPPED.read_text(encoding="utf-8").replace('source = "', f'source = "{SHIPPED.parent}/')
    again = text[text.index("[base_models.") :].replace("base_models.fiveshot-tiny", "base_models.tiny-presets")
    again = again.replace('title = "Fiveshot Tiny"', 'title = "Tiny with presets"\npresets = "sd"')
    path.write_text(f"{text}\n{again}", encoding="utf-8")
    return path


@pytest.fixture
def stack() -> Iterator[tuple[DataFolder, StackState]]:
    """A stack of its own on a free port."""
    with pytest.MonkeyPatch.context() as environment, tempfile.TemporaryDirectory(prefix="fiveshot-console-") as place:
        environment.setenv("FIVESHOT_LISTEN", f"{servers.HOST}:{servers.free_ports(1)[0]}")
        environment.setenv("FIVESHOT_CATALOGUE", str(with_presets(Path(place) / "base_models.toml")))
        folder = DataFolder(Path(place) / "data")
        state = run.detach(folder, tied=True)
        try:
            yield folder, state
        finally:
            run.stop(folder)


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
