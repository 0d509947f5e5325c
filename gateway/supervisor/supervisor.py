"""Runs a stack of processes as one tree: all start at once, any that dies is restarted, all stop in reverse order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from gateway.supervisor.child import Child
from gateway.supervisor.folder import ChildState, DataFolder, StackState
from gateway.supervisor.servers import ServerSpec

READY_TIMEOUT_S = 120.0

Listener = Callable[[str, ChildState | None], None]


class Supervisor:
    """A stack in a data folder.

    stages: what is started, in groups; they start all at once, but for the last, the door, which waits until all others
    are ready: who comes in finds everybody there. They stop group by group from the last to the first.
    server: host:port of the gateway, for the state file. listen: told of every change, as ("child", its state) or
    (stack state, None).
    """

    def __init__(
        self, folder: DataFolder, stages: Sequence[Sequence[ServerSpec]], *, server: str, listen: Listener
    ) -> None:
        self._folder = folder
        self._listen = listen
        self._stop = asyncio.Event()
        self._stages = [[Child(spec, folder.log(spec.name), self._changed) for spec in stage] for stage in stages]
        self._children = [child for stage in self._stages for child in stage]
        self.state = StackState(
            pid=os.getpid(),
            server=server,
            started=time.time(),
            children={child.spec.name: child.state for child in self._children},
            leftovers=[str(path) for child in self._children for path in child.spec.leftovers],
        )

    async def run(self) -> int:
        """Runs until SIGTERM, SIGINT or `stop`. Returns 0, or 1 when the stack did not come up.

        The caller holds the folder.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._interrupted)
        self._enter("starting")
        others = [child.became_ready for stage in self._stages[:-1] for child in stage]
        lives = [
            asyncio.create_task(child.run(after=others if child in self._stages[-1] else ()), name=child.spec.name)
            for child in self._children
        ]
        stopping = asyncio.create_task(self._stop.wait())
        starting = asyncio.create_task(self._all_ready(lives))
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        problem = starting.result() if starting.done() else ""
        starting.cancel()
        if not problem and not self._stop.is_set():
            self.state.ready_seconds = round(time.time() - self.state.started, 2)
            self._enter("ready")
            await stopping
        stopping.cancel()
        self._enter("stopping", problem)
        await self._stop_all()
        await asyncio.gather(*lives, return_exceptions=True)
        self._enter("failed" if problem else "stopped", problem)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        return 1 if problem else 0

    def stop(self) -> None:
        """Ends the stack; `run` returns when all are gone."""
        self._stop.set()

    async def _all_ready(self, lives: Sequence[asyncio.Task[None]]) -> str:
        """Empty once every process is ready; otherwise why the start is given up."""
        # A task: a gathered future that is cancelled complains to whoever pressed Ctrl-C.
        ready = asyncio.create_task(self._each_ready())
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                # A life ends before stop() only when the process kept dying.
                futures: list[asyncio.Future[Any]] = [ready, *lives]
                await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            late = [child.spec.name for child in self._children if not child.became_ready.is_set()]
            return f"not ready after {READY_TIMEOUT_S:g} s: {', '.join(late)}; see {self._folder.path / 'logs'}"
        finally:
            ready.cancel()
        failed = [child for child in self._children if child.state.state == "failed"]
        if not failed:
            return ""
        first = failed[0]
        log = Path(first.state.log)
        return f"{first.spec.name} {first.state.message}: {last_words(log)} (see {log})"

    async def _each_ready(self) -> None:
        for child in self._children:
            await child.became_ready.wait()

    async def _stop_all(self) -> None:
        for stage in reversed(self._stages):
            await asyncio.gather(*(child.stop() for child in stage))

    def _interrupted(self) -> None:
        """First signal: an orderly end. Second: at once."""
        if self._stop.is_set():
            for child in self._children:
                child.kill()
        self._stop.set()

    def _changed(self, child: ChildState) -> None:
        self._folder.write_state(self.state)
        self._listen("child", child)

    def _enter(self, state: str, message: str = "") -> None:
        self.state.state, self.state.message = state, message
        self._folder.write_state(self.state)
        self._listen(state, None)


def end_leftovers(folder: DataFolder) -> list[str]:
    """Ends processes that a killed supervisor left, and removes their files. Returns their names.

    Call it while holding the folder: then every process of the last state that still lives is an orphan. Process ids
    are reused, so a process counts only when the folder is named in its command line or its environment.
    """
    state = folder.read_state()
    if state is None:
        return []
    ended = []
    for child in state.children.values():
        if child.pid and _belongs(child.pid, folder.path):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            ended.append(child.name)
    for path in state.leftovers:
        Path(path).unlink(missing_ok=True)
    return ended


def last_words(log: Path, since: int = 0) -> str:
    """The last line of a log from byte `since` on that was written for people; JSON lines only if there is no other."""
    if not log.exists():
        return "it left no log"
    with log.open("rb") as file:
        file.seek(since)
        written = file.read().decode("utf-8", errors="replace")
    found = [line.strip() for line in written.splitlines() if line.strip()]
    return next(
        (line for line in reversed(found) if not line.startswith("{")), found[-1] if found else "it said nothing"
    )


def _belongs(pid: int, folder: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return any(str(folder) in text for text in (*process.cmdline(), *process.environ().values()))
    except psutil.Error:
        return False
