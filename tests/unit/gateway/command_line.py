"""Commands in this process, on a data folder."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from gateway.cli.main import app


def run_command(*arguments: str, data: Path) -> Result:
    """What a command of `fiveshot --data DATA …` printed, and its exit code."""
    return CliRunner().invoke(app, ["--data", str(data), *arguments], prog_name="fiveshot")
