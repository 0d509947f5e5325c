"""The console beside the straight way: keys alone, two datasets in one training, two tabs, a session that ends."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.console import sign_in_address
from gateway.cli.main import app
from gateway.demo_pictures import draw_subject
from gateway.supervisor.folder import DataFolder, StackState
from tests.console.conftest import CHROMIUM, CONSOLE, needs_browser
from tests.fixtures.processes import finished

LIMIT_S = 900.0
OTHER = "toys"


def walked(script: str, *arguments: str | Path) -> str:
    """What the walk printed; a failure tells all of it."""
    ended: subprocess.CompletedProcess[str] = finished(
        ("node", CONSOLE / "walk" / script, *arguments),
        cwd=CONSOLE, env={**os.environ, "CHROMIUM": CHROMIUM, "WALK_ALL": ""}, limit_s=LIMIT_S / 2,
    )  # fmt: skip
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    return ended.stdout


@needs_browser
@pytest.mark.slow
@pytest.mark.timeout(LIMIT_S + 100)
def test_keys_two_tabs_and_a_session_that_ends(stack: tuple[DataFolder, StackState], tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("mascot", "toy")}
    for name, folder in folders.items():
        folder.mkdir()
        for number, (picture, _) in enumerate(draw_subject(name, 5, seed=3)):
            picture.save(folder / f"{name}-{number}.png")
    for command in (("create", OTHER, "--trigger-word", "tyx"), ("upload", OTHER, str(folders["toy"]))):
        made = CliRunner().invoke(app, ["--data", str(stack[0].path), "dataset", *command])
        assert made.exit_code == 0, made.output
    printed = walked("keys.mjs", sign_in_address(*stack)[0], folders["mascot"], OTHER)
    left = json.loads(printed.splitlines()[-1])
    addresses = [sign_in_address(*stack)[0] for _ in range(2)]
    assert "been beside the straight way" in walked(
        "edges.mjs", *addresses, left["dataset"], left["job"], left["model"]
    )
