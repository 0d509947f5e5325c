"""docs/quickstart.md as it stands, against a stack that pretends. TypeScript: tests/examples."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.fixtures.processes import finished
from tests.fixtures.quickstart import blocks, environment
from tests.fixtures.running_stack import RunningStack


def _holds_a_lora(path: Path) -> bool:
    with safe_open(path, "np") as file:
        return str(file.metadata()["fiveshot.pretended"]) == "true"


def test_the_key_and_the_lines_of_curl(pretending: RunningStack, photos: Path, tmp_path: Path) -> None:
    key, lines = blocks("sh")
    script = f"set -euo pipefail\nunset FIVESHOT_API_KEY\n{key}\n{lines}"
    done = finished(["bash", "-c", script], env=environment(pretending), cwd=tmp_path, limit_s=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert _holds_a_lora(tmp_path / "by-curl.safetensors")
    assert [each.suffix for each in tmp_path.iterdir() if "sheet" in each.name] == [".png"]


def test_the_lines_of_python(pretending: RunningStack, photos: Path, tmp_path: Path) -> None:
    (lines,) = blocks("python")
    done = finished([sys.executable, "-c", lines], env=environment(pretending), cwd=tmp_path, limit_s=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert _holds_a_lora(tmp_path / "by-python.safetensors")
    assert (tmp_path / "preview.png").exists()


@pytest.mark.parametrize("language", ["sh", "python", "ts"])
def test_the_page_has_code_in_each_language(language: str) -> None:
    assert blocks(language)
