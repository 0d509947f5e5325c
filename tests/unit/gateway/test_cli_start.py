"""What every command pays for before it does anything."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli import output
from gateway.cli.main import app
from tests.fixtures.processes import finished


def test_a_command_starts_without_what_only_few_commands_need() -> None:
    heavy = ("numpy", "torch", "matplotlib", "gateway.supervisor.stack")
    check = f"import sys, gateway.cli.main; print([m for m in {heavy} if m in sys.modules])"
    assert finished((sys.executable, "-c", check), limit_s=60).stdout.strip() == "[]"


JOB_1 = "The job goes on. Follow it: fiveshot train watch job-1. End it: fiveshot train cancel job-1.\n"
LAST = "The job goes on. Follow it: fiveshot train watch. End it: fiveshot train cancel.\n"
NAMELESS = LAST.replace("watch", "watch JOB").replace("cancel", "cancel JOB")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["version"], "Interrupted.\n"), (["train", "start", "cat", "--watch"], "Interrupted.\n"),
        (["train", "watch", "job-1"], JOB_1), (["--server", "train", "train", "watch"], LAST),
        (["train", "watch", "--json", "job-1"], NAMELESS), (["train", "metrics", "job-1", "--follow"], NAMELESS),
        (["tag-jobs", "watch", "job-1"], JOB_1.replace("train", "tag-jobs")),
    ],
)  # fmt: skip
def test_a_ctrl_c_while_the_command_line_is_being_loaded_is_one_line(words: list[str], left: str) -> None:
    program = (
        f"""
words = {words!r}
"""
        + """
import os, signal, sys
class Interrupts:
    def find_spec(self, name, path, target=None):
        if name == "gateway.cli.output":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
sys.argv = ["fiveshot", *words]
from gateway.cli.start import main
main()
"""
    )
    ended = finished((sys.executable, "-c", program), limit_s=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", left)


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
