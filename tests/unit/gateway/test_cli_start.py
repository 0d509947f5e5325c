"""What every command pays for before it does anything."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from tests.fixtures.processes import finished


def test_a_command_starts_without_what_only_few_commands_need() -> None:
    heavy = ("numpy", "torch", "matplotlib", "gateway.supervisor.stack")
    check = f"import sys, gateway.cli.main; print([m for m in {heavy} if m in sys.modules])"
    assert finished((sys.executable, "-c", check), limit_s=60).stdout.strip() == "[]"


def test_a_ctrl_c_while_the_command_line_is_being_loaded_is_one_line() -> None:
    program = """
import os, signal, sys
class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "gateway.cli.output":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
sys.argv = ["fiveshot", "version"]
from gateway.cli.start import main
main()
"""
    ended = finished((sys.executable, "-c", program), limit_s=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")


def test_the_script_is_the_one_that_knows_what_to_do_then() -> None:
    settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    assert settings["project"]["scripts"]["fiveshot"] == "gateway.cli.start:main"
