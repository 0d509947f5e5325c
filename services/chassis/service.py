"""The life of a process: settings, logging, build, prepare, serve, drain, close. Every `app.py` is a `build` for `run`.

    def build(settings: Settings) -> Service: …

    def main() -> NoReturn:
        run("dataset", Settings, build)

A server that a process needs and that is not there at start is waited for, `start_patience_s` seconds at most; then the
process ends with exit code 1, so that whoever started it sees it and starts it again.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, TypeVar

from services.chassis import logging, telemetry, tracing
from services.chassis.audit.calls import Auditing
from services.chassis.errors import DomainError
from services.chassis.further_checks import NONE, FurtherChecks
from services.chassis.grpc_server import Register, RunningServer, start_server
from services.chassis.listening import check_addresses
from services.chassis.needs import Need, Task
from services.chassis.patience import patiently
from services.chassis.release import release
from services.chassis.setting_loading import WrongSetting, load, refuse
from services.chassis.settings import BaseServiceSettings
from services.chassis.signals import Interrupted, unless

if TYPE_CHECKING:
    # It needs the object store's library, which not every image has.
    from services.chassis.file_check import FileCheck

log = logging.get_logger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_LAST_THREADS_S = 3.0
_GARBAGE = 10_000
"""Objects more than have gone, after which Python searches the youngest for garbage; 700 by default."""

SettingsT = TypeVar("SettingsT", bound=BaseServiceSettings)


@dataclass(frozen=True)
class Service:
    """What a process is made of. Building it contacts nobody.

    register: adds the servicers. names: their full names. reflected, bare, often, further: see `start_server`. needs:
    servers without which the process can do nothing; they are prepared in this order before the port opens, and health
    follows them. background: run until the end. audit: records the calls. files: what `check-files` compares. close:
    lets go of what is not a need, in this order, before the needs.
    """

    register: Register
    names: Sequence[str] = ()
    reflected: Sequence[str] = ()
    needs: Sequence[Need] = ()
    background: Sequence[Task] = ()
    bare: bool = False
    close: Sequence[Task] = ()
    audit: Auditing | None = None
    often: Sequence[str] = ()
    files: FileCheck | None = None
    further: FurtherChecks = NONE

    async def prepare(self, patience_s: float) -> None:
        """Prepares what is needed. Raises Unavailable when it stays away for `patience_s` seconds."""
        for need in self.needs:
            await patiently(need.prepare, what=need.name, patience_s=patience_s)

    async def migrate(self, patience_s: float) -> None:
        """Brings the database up to date and does nothing else. Raises as `prepare` does."""
        for need in self.needs:
            if need.migrate is not None:
                await patiently(need.migrate, what=need.name, patience_s=patience_s)
                log.info("migrated", need=need.name, release=release())

    def start(self, settings: BaseServiceSettings) -> AbstractAsyncContextManager[RunningServer]:
        """Serves inside the block. Nothing listens before, so that nobody meets half a service."""
        return start_server(
            settings,
            self.register,
            service_names=self.names,
            reflected=self.reflected,
            needs=self.needs,
            background=(*self.background, *((self.audit.run,) if self.audit else ())),
            bare=self.bare,
            audit=self.audit,
            often=self.often,
            further=self.further,
        )

    async def end(self) -> None:
        """Closes everything."""
        if self.audit is not None:
            await self.audit.close()
        for close in (*self.close, *(need.close for need in self.needs)):
            await close()


@asynccontextmanager
async def serving(settings: BaseServiceSettings, service: Service) -> AsyncIterator[RunningServer]:
    """The whole life of a service around the block, without the signals of a process. Raises Unavailable, OSError,
    WrongSetting."""
    try:
        await service.prepare(settings.start_patience_s)
        async with service.start(settings) as running:
            yield running
    finally:
        await service.end()


def run(
    name: str,
    settings_class: type[SettingsT],
    build: Callable[[SettingsT], Service],
    arguments: Sequence[str] | None = None,
) -> NoReturn:
    """The process: reads the settings, builds the service, serves until SIGTERM or SIGINT, and exits.

    name: of the service, for logs and traces. arguments: of the command line; `migrate` migrates the database and ends,
    for a Job that runs before the new replicas start; `check-files` compares the bucket with the database, see
    `file_check.py`, and ends. Exit code 0 after a signal; 1 when the service could not start
    (what it needs stayed away, the port is taken), a background task crashed, or a signal came before `migrate` or
    `check-files` had done its work, with the reason in the log; 2 when the settings are wrong, with a line for each on
    stderr.
    """
    does = "serves, migrates its database, or checks its files"
    parser = argparse.ArgumentParser(prog=name, description=f"Fiveshot {release()}: {does}.")
    parser.add_argument("task", nargs="?", choices=("serve", "migrate", "check-files"), default="serve")
    parser.add_argument("--version", action="version", version=release())
    task = parser.parse_args(arguments).task
    settings = load(settings_class)
    logging.configure(settings, service=name)
    telemetry.BUILD.labels(name, release()).set(1)
    end_tracing = tracing.configure(settings, service=name)
    code = asyncio.run(_whole_life(settings, build, task))
    # The loop has given the signals back. Whoever repeats one has been obeyed already: what is left takes a moment.
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if end_tracing is not None:
        end_tracing()
    # At its end Python searches all objects for garbage, which takes over a second with torch. What lives now needs no
    # search, for the process ends; handlers of the exit still run.
    gc.freeze()
    sys.exit(code)


async def _whole_life(settings: SettingsT, build: Callable[[SettingsT], Service], task: str) -> int:
    code = 1
    try:
        code = await _life(settings, build, task)
        return code
    finally:
        # Python waits for its threads. One that hangs, in a request to a store that went silent, would hold up the end
        # until somebody kills the process.
        last = threading.Timer(_LAST_THREADS_S, _abandon_threads, (code,))
        last.daemon = True
        last.start()


def _abandon_threads(code: int) -> None:
    log.warning("threads_abandoned", after_s=_LAST_THREADS_S, reason="they wait for a server that does not answer")
    os._exit(code)


async def _life(settings: SettingsT, build: Callable[[SettingsT], Service], task: str) -> int:
    stop = asyncio.Event()
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        if task == "serve":
            check_addresses(settings)
        service = build(settings)
    except WrongSetting as error:
        return refuse(settings, error)
    try:
        if task == "migrate":
            await unless(stop, service.migrate(settings.start_patience_s))
            return 0
        if task == "check-files":
            return await unless(stop, _checked(service))
        await unless(stop, service.prepare(settings.start_patience_s))
        async with service.start(settings) as running:
            return await _served(settings, running, stop)
    except Interrupted:
        if task == "serve":
            return 0
        # Who started it, such as a Job, must not take it for done.
        log.error("interrupted", task=task, remedy="run it again")
        return 1
    except WrongSetting as error:
        return refuse(settings, error)
    except (DomainError, OSError) as error:
        log.error("start_failed", error=str(error))
        return 1
    finally:
        await service.end()


async def _checked(service: Service) -> int:
    if service.files is None:
        print("This process names no files in the object store", file=sys.stderr)
        return 2
    return 0 if await service.files.run(print) else 1


async def _served(settings: BaseServiceSettings, running: RunningServer, stop: asyncio.Event) -> int:
    # What the process is made of stays; to search it for garbage again and again is a tenth of what a small call costs.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((stopping, running.failed), return_when=asyncio.FIRST_COMPLETED)
        crashed = running.failed.done()
        log.info("server_draining", grace_s=settings.shutdown_grace_s, crashed=crashed)
        return 1 if crashed else 0
    finally:
        stopping.cancel()
