"""A stack of its own for each walk through the console."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.supervisor import run, servers
from gateway.supervisor.folder import DataFolder, StackState

CONSOLE = Path(__file__).parents[2] / "gateway" / "console"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
SHIPPED = Path(__file__).parents[2] / "services" / "trainer" / "recipe" / "base_models.toml"

needs_browser = pytest.mark.skipif(
    not (shutil.which("node") and Path(CHROMIUM).exists() and (CONSOLE / "node_modules").exists()),
    reason="node, the console's packages (npm ci) or Chromium are not here",
)


def with_presets(path: Path) -> Path:
    """A catalogue of the base model that ships, and of the same with presets."""
    text = SHIPPED.read_text(encoding="utf-8").replace('source = "', f'source = "{SHIPPED.parent}/')
    again = text[text.index("[base_models.") :].replace("base_models.fiveshot-tiny", "base_models.tiny-presets")
    again = again.replace('title = "Fiveshot Tiny"', 'title = "Tiny with presets"')
    again = again.replace('presets = "tiny"', 'presets = "sd"')
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
