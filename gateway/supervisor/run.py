"""Starts, finds and stops a stack on a data folder; what the CLI and the detached process (`__main__`) share."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gateway.supervisor.child import die_with_parent
from gateway.supervisor.folder import PRIVATE_UMASK, DataFolder, FolderBusyError, StackState, open_private
from gateway.supervisor.ports import port_is_free
from gateway.supervisor.servers import DiskFullError
from gateway.supervisor.supervisor import READY_TIMEOUT_S, Listener, Supervisor, end_leftovers, last_words

if TYPE_CHECKING:
    pass

STOP_TIMEOUT_S = 60.0
_POLL_S = 0.1
# Detached supervisors that this process has started, by their process ids: it is the one who must reap them.
_started: dict[int, subprocess.Popen[bytes]] = {}


class StackError(Exception):
    """The stack cannot do what was asked; the text is one for people."""


def run(folder: DataFolder, *, listen: Listener, pretend: bool = False) -> int:
    """Runs a stack in this process until a signal; returns its exit code. Raises StackError, FolderBusyError.

    pretend: its workers only pretend to train.
    """
    # Every command imports this module, and few run a stack: what that needs would be half of their start.
    from gateway.settings import Settings as GatewaySettings
    from gateway.supervisor.stack import Stack
    from gateway.supervisor.stack_settings import StackSettings, UnknownVariable, refuse_unknown
    from services.chassis.setting_loading import wrong_variables

    with _private_files(), folder.held():
        orphans = end_leftovers(folder)
        if orphans:
            listen(f"ended what a killed supervisor had left: {', '.join(orphans)}", None)
        try:
            refuse_unknown(os.environ)
            settings = StackSettings(pretend=True) if pretend else StackSettings()
            _refuse_to_mix(folder, settings.pretend)
            _refuse_a_taken_port(settings.listen)
            stack = Stack(folder, settings)
        except (FileNotFoundError, DiskFullError, UnknownVariable) as error:
            raise StackError(str(error)) from error
        except ValidationError as error:
            # Envoy's configuration is made here, of variables of the gateway too.
            wrong = StackSettings if error.title == StackSettings.__name__ else GatewaySettings
            prefix = str(wrong.model_config["env_prefix"])
            raise StackError("; ".join(wrong_variables(prefix, error, wrong.model_fields))) from error
        return asyncio.run(Supervisor(folder, stack.stages, server=stack.server, listen=listen).run())


@contextmanager
def _private_files() -> Iterator[None]:
    """What the block writes is for its owner only."""
    before = os.umask(PRIVATE_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def detach(folder: DataFolder, *, tied: bool = False, pretend: bool = False) -> StackState:
    """Starts a stack in a process of its own and waits until it is ready. Raises StackError, FolderBusyError.

    tied: the stack stops when this process dies, however it dies. pretend: its workers only pretend to train.
    """
    if folder.is_held():
        state = folder.read_state()
        raise FolderBusyError(folder.path, state.pid if state else 0)
    log = folder.log("supervisor")
    before = log.stat().st_size if log.exists() else 0
    with open_private(log, "ab") as output:
        process = subprocess.Popen(
            (sys.executable, "-P", "-m", "gateway.supervisor", str(folder.path)),
            env=os.environ | ({"FIVESHOT_PRETEND": "true"} if pretend else {}),
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, umask=PRIVATE_UMASK,
            preexec_fn=die_with_parent(signal.SIGTERM) if tied else None,
        )  # fmt: skip
    deadline = time.monotonic() + READY_TIMEOUT_S + 10
    while time.monotonic() < deadline:
        state = folder.read_state()
        if state and state.pid == process.pid and state.state == "ready":
            _started[process.pid] = process
            return state
        if process.poll() is not None:
            message = state.message if state and state.pid == process.pid and state.message else last_words(log, before)
            raise StackError(f"The stack did not start: {message}")
        time.sleep(_POLL_S)
    process.terminate()
    raise StackError(f"The stack did not start in time; see {log}")


def _refuse_to_mix(folder: DataFolder, pretend: bool) -> None:
    """Raises StackError where pretended jobs would come among real ones, or the other way round."""
    if folder.is_for_pretending(pretend) == pretend:
        return
    if pretend:
        raise StackError(f"{folder.path} holds real jobs; give --data a new folder for a stack that pretends")
    raise StackError(
        f"{folder.path} holds a stack that pretends; start it with --pretend, or give --data another folder"
    )


def _refuse_a_taken_port(listen: str) -> None:
    """Raises StackError now rather than after Envoy has tried it several times."""
    from services.chassis.addresses import split_host_port

    if listen:
        host, port = split_host_port(listen)
        if not port_is_free(0, host):
            raise StackError(f"FIVESHOT_LISTEN: {listen} is no address of this machine; use 127.0.0.1 or 0.0.0.0")
        if port and not port_is_free(port, host):
            raise StackError(f"FIVESHOT_LISTEN: the port of {listen} is taken; choose another, or leave it out")


def running_state(folder: DataFolder) -> StackState | None:
    """The state of a stack that lives on the folder now; None when there is none."""
    return folder.read_state() if folder.is_held() else None


def stop(folder: DataFolder) -> bool:
    """Stops the stack on the folder and waits for its end. False when none ran. Raises StackError."""
    state = running_state(folder)
    if state is None:
        with suppress(FolderBusyError), folder.held():
            return bool(end_leftovers(folder))
        return False
    with suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while folder.is_held():
        if time.monotonic() > deadline:
            raise StackError(f"Process {state.pid} did not end within {STOP_TIMEOUT_S:g} s; see {folder.path / 'logs'}")
        time.sleep(_POLL_S)
    if process := _started.pop(state.pid, None):
        process.wait()
    return True
