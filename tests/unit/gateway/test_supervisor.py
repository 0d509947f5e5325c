"""The supervisor with tiny child processes: readiness, restarts, orderly end, no orphans, one holder per folder."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from gateway.supervisor import child as child_module
from gateway.supervisor.folder import ChildState, DataFolder, FolderBusyError, StackState
from gateway.supervisor.servers import ServerSpec
from gateway.supervisor.supervisor import Supervisor, end_leftovers
from tests.fixtures.patience import scaled, until, within
from tests.fixtures.processes import child

SLEEPER = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEPER


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "stack")


def describe(folder: DataFolder, name: str, code: str = SLEEPER, stop_timeout_s: float = 5.0) -> ServerSpec:
    mark = folder.sub("run") / name
    return ServerSpec(
        name, (sys.executable, "-S", "-c", code, str(mark)), mark.exists, {}, folder.sub(name),
        stop_timeout_s=stop_timeout_s, leftovers=(mark,),
    )  # fmt: skip


class Log:
    """What the supervisor said, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: str, child: ChildState | None) -> None:
        self.lines.append(f"{child.name} {child.state}" if child else event)


async def test_starts_all_reports_ready_and_stops_in_reverse(folder: DataFolder) -> None:
    log = Log()
    stages = [[describe(folder, "first")], [describe(folder, "second"), describe(folder, "third")]]
    supervisor = Supervisor(folder, stages, server="127.0.0.1:1", listen=log)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.state.state == "ready")
    written = folder.read_state()
    assert written is not None
    assert written.server == "127.0.0.1:1"
    pids = [child.pid for child in written.children.values()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    supervisor.stop()
    assert await running == 0
    assert not any(psutil.pid_exists(pid) for pid in pids)
    # The last are the door: who comes in finds everybody there.
    assert log.lines.index("first ready") < min(log.lines.index("second starting"), log.lines.index("third starting"))
    assert log.lines.index("first stopped") > max(log.lines.index("second stopped"), log.lines.index("third stopped"))
    assert log.lines[-1] == "stopped"
    assert list(folder.sub("run").iterdir()) == []


async def test_a_stack_that_is_stopped_while_it_starts_never_opens_its_door(folder: DataFolder) -> None:
    log = Log()
    never = replace(describe(folder, "never"), ready=lambda: False)
    supervisor = Supervisor(folder, [[never], [describe(folder, "door")]], server="", listen=log)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.state.children["never"].pid != 0)
    supervisor.stop()
    async with within():
        assert await running == 0
    assert "door starting" not in log.lines
    assert log.lines[-1] == "stopped"


async def test_a_child_that_dies_is_restarted_and_said_so(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "FIRST_PAUSE_S", 0.05)
    log = Log()
    supervisor = Supervisor(folder, [[describe(folder, "one")]], server="", listen=log)
    running = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.state.state == "ready")
    state = supervisor.state.children["one"]
    first = state.pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: state.restarts == 1 and state.state == "ready" and state.pid not in (0, first))
    assert "one restarting" in log.lines
    # The mark of the first life is taken away, or the second would pass for ready before it is.
    assert log.lines[-2:] == ["one starting", "one ready"]
    supervisor.stop()
    assert await running == 0


async def test_a_child_that_never_gets_ready_ends_the_start_with_its_log(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child_module, "FIRST_PAUSE_S", 0.01)
    broken = describe(folder, "broken", "raise SystemExit('no such database')")
    supervisor = Supervisor(folder, [[describe(folder, "good")], [broken]], server="", listen=Log())
    async with within():
        assert await supervisor.run() == 1
    assert supervisor.state.state == "failed"
    assert "no such database" in supervisor.state.message
    assert supervisor.state.children["good"].state == "stopped"


async def test_a_child_that_ignores_sigterm_is_killed(folder: DataFolder) -> None:
    supervisor = Supervisor(folder, [[describe(folder, "stubborn", STUBBORN, 0.3)]], server="", listen=Log())
    running = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.state.state == "ready")
    pid = supervisor.state.children["stubborn"].pid
    supervisor.stop()
    async with within():
        assert await running == 0
    assert not psutil.pid_exists(pid)


async def test_a_stop_during_the_start_is_clean(folder: DataFolder) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    never = describe(folder, "never", "import time; time.sleep(600)")
    supervisor = Supervisor(folder, [[never]], server="", listen=Log())
    running = asyncio.create_task(supervisor.run())
    await until(lambda: supervisor.state.children["never"].pid)
    pid = supervisor.state.children["never"].pid
    supervisor.stop()
    async with within():
        assert await running == 0
    assert not psutil.pid_exists(pid)
    gc.collect()
    assert told == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG exists on Linux only")
async def test_kill_9_of_the_supervisor_leaves_no_orphan(folder: DataFolder) -> None:
    program = (
        "import asyncio, sys; from pathlib import Path\n"
        "from gateway.supervisor.folder import DataFolder\n"
        "from gateway.supervisor.supervisor import Supervisor\n"
        "from tests.unit.gateway.test_supervisor import describe\n"
        "folder = DataFolder(Path(sys.argv[1]))\n"
        "specs = [describe(folder, 'a'), describe(folder, 'b')]\n"
        "asyncio.run(Supervisor(folder, [specs], server='', listen=print).run())\n"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'sdk' / 'python' / 'src'}"}
    argv = (sys.executable, "-c", program, folder.path)
    with child(argv, cwd=root, env=environment, stdout=subprocess.DEVNULL) as process:
        await until(lambda: (state := folder.read_state()) is not None and state.state == "ready")
        state = folder.read_state()
        assert state is not None
        pids = [child.pid for child in state.children.values()]
        assert all(psutil.pid_exists(pid) for pid in pids)
        process.kill()
        await until(lambda: not any(_alive(pid) for pid in pids))


async def test_leftovers_of_a_dead_supervisor_are_ended_but_strangers_are_not(folder: DataFolder) -> None:
    mark = folder.sub("run") / "orphan"
    sleeps = (sys.executable, "-S", "-c", "import time; time.sleep(600)")
    with child((sys.executable, "-S", "-c", SLEEPER, mark)) as orphan, child(sleeps) as stranger:
        await until(mark.exists)
        children = {
            "orphan": ChildState("orphan", "ready", orphan.pid),
            "stranger": ChildState("stranger", "ready", stranger.pid),
        }
        folder.write_state(StackState(pid=1, children=children, leftovers=[str(mark)]))
        assert end_leftovers(folder) == ["orphan"]
        assert orphan.wait(timeout=scaled(10)) == -signal.SIGKILL
        assert stranger.poll() is None
        assert not mark.exists()


def test_only_one_holds_a_folder(folder: DataFolder) -> None:
    with folder.held():
        folder.write_state(StackState(pid=4711))
        assert folder.is_held()
        with pytest.raises(FolderBusyError, match="4711"), folder.held():
            pytest.fail("held twice")
    assert not folder.is_held()


def test_credentials_are_made_once_and_for_the_owner_only(folder: DataFolder) -> None:
    made = folder.credentials()
    assert folder.credentials() == made
    assert made.api_key.startswith("fs_")
    for path in (folder.path / "credentials").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    assert made.api_key not in folder.api_keys_file.read_text()


def test_a_folder_of_an_older_release_gets_the_key_of_page_tokens(folder: DataFolder) -> None:
    made = folder.credentials()
    path = folder.path / "credentials" / "stack.json"
    older = {name: value for name, value in asdict(made).items() if name != "page_token_key"}
    path.write_text(json.dumps(older))
    upgraded = folder.credentials()
    assert replace(upgraded, page_token_key=made.page_token_key) == made
    assert len(upgraded.page_token_key) >= 32
    assert folder.credentials() == upgraded
    assert path.stat().st_mode & 0o077 == 0


def test_a_damaged_state_file_counts_as_none(folder: DataFolder) -> None:
    folder.write_state(StackState(pid=1))
    (folder.path / "state.json").write_text('{"pid": ')
    assert folder.read_state() is None


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
