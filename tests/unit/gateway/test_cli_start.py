"""What every command pays for before it does anything."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli import output
from gateway.cli.main import app
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


def test_a_ctrl_c_before_a_command_has_begun_or_after_it_has_ended_is_one_line() -> None:
    for moment in ("raise KeyboardInterrupt", "atexit.register(os.kill, os.getpid(), signal.SIGINT)"):
        program = f"""
import atexit, os, signal
import gateway.cli.main
def run():
    {moment}
gateway.cli.main.main = run
from gateway.cli.start import main
main()
"""
        ended = finished((sys.executable, "-c", program), limit_s=60)
        assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")


def test_the_script_is_the_one_that_knows_what_to_do_then() -> None:
    settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    assert settings["project"]["scripts"]["fiveshot"] == "gateway.cli.start:main"


def test_a_folder_that_cannot_be_written_is_said_before_anything_is_started(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = CliRunner().invoke(app, ["demo", "--output", str(tmp_path / "file" / "out")], prog_name="fiveshot")
    assert (done.exit_code, len(done.output.splitlines())) == (output.FAILED, 1)
    assert done.stderr.endswith("Check the path. [SYSTEM]\n")
