"""One supervised process: started, watched until it is ready, restarted with growing pauses when it dies, stopped."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from gateway.supervisor.folder import PRIVATE_UMASK, ChildState, open_private
from gateway.supervisor.servers import ServerSpec
from services.chassis.signals import Interrupted, unless

POLL_S = 0.05
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
# A process that lived so long has recovered; the next death starts with the shortest pause again.
STEADY_S = 60.0
# Deaths before it was ready for the first time; after so many the start of the stack is given up.
MAX_EARLY_DEATHS = 3
_LOG_LIMIT_BYTES = 20 * 1024 * 1024
_PR_SET_PDEATHSIG = 1

Notify = Callable[[ChildState], None]


class Child:
    """Keeps the process of a spec alive. `notify` is called after every change of `state`."""

    def __init__(self, spec: ServerSpec, log: Path, notify: Notify) -> None:
        self.spec = spec
        self.state = ChildState(spec.name, ports=dict(spec.ports), log=str(log))
        self.became_ready = asyncio.Event()
        self._log = log
        self._notify = notify
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    async def run(self, after: Sequence[asyncio.Event] = ()) -> None:
        """Runs until `stop`, or until it has died too often before it was ever ready (state `failed`). after: it starts
        once all of these are set."""
        with suppress(Interrupted):
            await unless(self._stopping, _all_set(after))
        pause, deaths = FIRST_PAUSE_S, 0
        while not self._stopping.is_set():
            began = time.monotonic()
            code = await self._live()
            if self._stopping.is_set():
                break
            if not self.became_ready.is_set():
                deaths += 1
                if deaths >= MAX_EARLY_DEATHS:
                    self._set("failed", f"{ending(code)}, {deaths} times, without becoming ready")
                    return
            if time.monotonic() - began >= STEADY_S:
                pause = FIRST_PAUSE_S
            self.state.restarts += 1
            self._set("restarting", f"{ending(code)}; starts again in {pause:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)
        self._set("stopped", "")

    async def stop(self) -> None:
        """Asks the process to end, and ends it with its whole group when it does not do so in time."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self.spec.stop_timeout_s)
        except TimeoutError:
            self._set("stopping", f"did not end within {self.spec.stop_timeout_s:g} s and is killed")
        # The process is gone or about to be; what it left behind in its group goes in any case.
        _signal_group(process.pid, signal.SIGKILL)
        await process.wait()
        self._remove_leftovers()

    def kill(self) -> None:
        """Ends the group at once."""
        self._stopping.set()
        if self._process is not None:
            _signal_group(self._process.pid, signal.SIGKILL)

    async def _live(self) -> int:
        """One life of the process; returns its exit code."""
        self.spec.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What an earlier life left, such as its port file, would pass for a sign of this one.
        self._remove_leftovers()
        _rotate(self._log)
        with open_private(self._log, "ab") as output:
            process = await asyncio.create_subprocess_exec(
                *self.spec.argv,
                env={**os.environ, **self.spec.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=PRIVATE_UMASK,
                preexec_fn=die_with_parent(),
            )
        self._process = process
        self.state.pid = process.pid
        self._set("starting", "")
        if self._stopping.is_set():
            _signal_group(process.pid, signal.SIGKILL)
        watching = asyncio.create_task(self._watch_ready())
        code = await process.wait()
        watching.cancel()
        self.state.pid = 0
        return code

    def _remove_leftovers(self) -> None:
        for path in self.spec.leftovers:
            path.unlink(missing_ok=True)

    async def _watch_ready(self) -> None:
        while not await asyncio.to_thread(self.spec.ready):  # noqa: ASYNC110  (another process cannot set our events)
            await asyncio.sleep(POLL_S)
        self.became_ready.set()
        self._set("ready", "")

    def _set(self, state: str, message: str) -> None:
        self.state.state, self.state.message = state, message
        self._notify(self.state)


async def _all_set(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        await event.wait()


def ending(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        with suppress(ValueError):
            return f"was killed by {signal.Signals(-code).name}"
    return f"ended with code {code}"


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """A `preexec_fn` by which the kernel sends the child a signal when this process dies, even by kill -9. Linux only.

    Elsewhere the next `up` or `down` on the folder ends what a dead supervisor left. SIGKILL for the processes of a
    stack, because nobody would be left to insist; each of them keeps through that what it has confirmed.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc, parent = ctypes.CDLL(None, use_errno=True), os.getpid()

    def before_exec() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        # The parent may have died before the line above.
        if os.getppid() != parent:
            os._exit(1)

    return before_exec


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _rotate(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_LIMIT_BYTES:
        log.replace(log.with_name(log.name + ".1"))
