"""What a test starts is ended with it, also when it times out, and a run that leaves something behind fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.fixtures import session_end
from tests.fixtures.patience import scaled, until_blocking
from tests.fixtures.processes import child, finished, kill_group, popen

ROOT = Path(__file__).parents[3]
# As torchrun does: the one that works is in a session of its own, where no signal to a group reaches it.
PROGRAM = """
import subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"], start_new_session=True)
open(sys.argv[1], "w").write(f"{worker.pid} ")
time.sleep(600)
"""
HANGS = """
import sys
import threading
from pathlib import Path
import pytest
from tests.fixtures.processes import finished

@pytest.mark.timeout(3)
def test_hangs():
    finished([sys.executable, "-S", {program!r}, {pid_file!r}])
"""
FORGETS = """
import subprocess, sys

def test_forgets():
    subprocess.Popen([sys.executable, "-S", {program!r}, {pid_file!r}], start_new_session=True)
"""


@pytest.fixture
def pid_file(tmp_path: Path) -> Path:
    return tmp_path / "pid"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def _started(pid_file: Path) -> int:
    """The process in a session of its own, once it runs."""
    until_blocking(lambda: pid_file.exists() and pid_file.read_text().endswith(" "), what="the worker to start")
    return int(pid_file.read_text())


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _pytest(folder: Path, source: str, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A run of its own over one test; `more` are options."""
    test = folder / "test_it.py"
    test.write_text(source)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return finished(
        [sys.executable, "-m", "pytest", "-p", session_end.__name__, "--rootdir", ROOT, "-c", ROOT / "pyproject.toml",
         "-p", "no:cacheprovider", test, *more],
        cwd=ROOT, env={**inherited, **variables},
    )  # fmt: skip


def test_a_child_ends_with_its_block_and_takes_along_what_left_its_group(program: Path, pid_file: Path) -> None:
    with child([sys.executable, "-S", program, pid_file]) as process:
        worker = _started(pid_file)
        assert _runs(worker)
    assert process.returncode == -signal.SIGKILL
    assert not _runs(worker)


def test_a_test_that_times_out_leaves_nothing(tmp_path: Path, program: Path, pid_file: Path) -> None:
    done = _pytest(tmp_path, HANGS.format(program=str(program), pid_file=str(pid_file)))
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "Timeout" in done.stdout, done.stdout
    # Its own helper ended it: there was nothing left for the end of the session.
    assert "left running" not in done.stdout
    assert not _runs(_started(pid_file))


@pytest.mark.parametrize("how", [(), ("-n", "1")], ids=["one process", "xdist"])
def test_a_run_that_leaves_a_process_behind_fails_and_ends_it(
    tmp_path: Path, program: Path, pid_file: Path, how: tuple[str, ...]
) -> None:
    waits = f"    import time, pathlib\n    while not pathlib.Path({str(pid_file)!r}).exists(): time.sleep(0.01)\n"
    source = FORGETS.format(program=str(program), pid_file=str(pid_file)) + waits
    # Python warns of the process that nobody waits for; here that is the subject.
    unraisable = "ignore::pytest.PytestUnraisableExceptionWarning"
    with child([sys.executable, "-S", "-c", "import time; time.sleep(600)"]) as ours:
        done = _pytest(tmp_path, source, "-W", "ignore::ResourceWarning", "-W", unraisable, *how)
        assert ours.poll() is None, "what the run around it had started is not its own to end"
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert f"left running, now ended: {sys.executable} -S {program}" in done.stdout
    assert not _runs(_started(pid_file))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG exists on Linux only")
def test_a_child_does_not_outlive_a_killed_run(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    starts = (
        "import os, sys, time\n"
        "from tests.fixtures.processes import popen\n"
        "made = popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)'])\n"
        "open(sys.argv[1], 'w').write(f'{made.pid} ')\n"
        "time.sleep(600)\n"
    )
    run = popen(
        [sys.executable, "-c", starts, mark], cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        inner = _started(mark)
        run.kill()
        run.wait()
        until_blocking(lambda: not _runs(inner), what="the child to end")
    finally:
        kill_group(run)


def test_patience_scales_every_limit_and_is_hidden_from_what_tests_start(tmp_path: Path) -> None:
    source = (
        "import os\n"
        "from tests.fixtures import patience\n\n"
        "def test_it(request):\n"
        "    assert patience.scaled(2.0) == 5.0\n"
        "    assert request.config.option.timeout == 750\n"
        "    assert not any(name.startswith('FIVESHOT_') for name in os.environ)\n"
    )
    done = _pytest(tmp_path, source, "-n", "1", FIVESHOT_TEST_PATIENCE="2.5", TEST_PATIENCE="1")
    assert "1 passed" in done.stdout, done.stdout


def test_what_a_thread_started_outlives_the_thread() -> None:
    started: list[subprocess.Popen[bytes]] = []
    thread = threading.Thread(
        target=lambda: started.append(popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    )
    thread.start()
    thread.join()
    task = Path(f"/proc/self/task/{thread.native_id}")
    until_blocking(lambda: not task.exists(), what="the thread to be gone")
    (process,) = started
    try:
        assert process.communicate(b"alive", timeout=scaled(30))[0] == b"alive"
    finally:
        kill_group(process)
