"""`fiveshot up`, `down`, `status`: the embedded stack as one tree."""

from __future__ import annotations

import asyncio
import shlex
import time
from dataclasses import asdict
from typing import Annotated

import psutil
import typer
from fiveshot.connection import default_data_folder

from gateway.cli import output
from gateway.cli.console import sign_in_address
from gateway.cli.session import Session
from gateway.sessions import CODE_MINUTES
from gateway.supervisor import run
from gateway.supervisor.folder import ChildState, DataFolder, StackState


def up(
    ctx: typer.Context,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once it is ready.")] = False,
    pretend: Annotated[
        bool,
        typer.Option("--pretend", help="Only pretend to train, in seconds, for tests of programs; in a new --data."),
    ] = False,
) -> None:
    """Start the embedded stack: storage, events, services, a worker and the gateway. Ctrl-C stops it."""
    session: Session = ctx.obj
    folder = DataFolder(session.data)
    if detach:
        options = "" if session.data == default_data_folder() else f" --data {shlex.quote(str(session.data))}"
        left = f"The stack goes on starting. See: fiveshot{options} status. Stop it: fiveshot{options} down."
        with output.explained(left):
            state = run.detach(folder, pretend=pretend)
        output.print_json(_as_json(state)) if session.json else _tell_ready(folder, state)
        return
    code = run.run(folder, listen=_Listener(folder, session.json), pretend=pretend)
    raise typer.Exit(output.FAILED if code else output.OK)


def down(ctx: typer.Context) -> None:
    """Stop the stack on the data folder."""
    session: Session = ctx.obj
    stopped = run.stop(DataFolder(session.data))
    if session.json:
        output.print_json({"stopped": stopped})
    else:
        output.say("Stopped." if stopped else f"No stack is running in {session.data}.")


def status(ctx: typer.Context) -> None:
    """Show running processes, ports, memory and what is wrong; exit code 5 when nothing runs, 1 when it is not well."""
    from gateway.supervisor import stack_problems

    session: Session = ctx.obj
    folder = DataFolder(session.data)
    state = run.running_state(folder)
    problems = asyncio.run(stack_problems.problems(folder, state)) if state else []
    if session.json:
        stopped = {"state": "stopped", "data": str(folder.path)}
        output.print_json({**_as_json(state), "problems": problems} if state else stopped)
    elif state is None:
        output.say(f"No stack is running in {folder.path}. Start it with `fiveshot up`.")
    else:
        _tell(folder, state)
        for problem in problems:
            output.say_error(problem)
    if state is None:
        raise typer.Exit(output.UNREACHABLE)
    if problems:
        raise typer.Exit(output.FAILED)


class _Listener:
    """Prints what the supervisor says while it runs in this terminal."""

    def __init__(self, folder: DataFolder, as_json: bool) -> None:
        self._folder = folder
        self._json = as_json
        self._ready = False

    def __call__(self, event: str, child: ChildState | None) -> None:
        if self._json:
            output.print_json_line({"event": event, **({"child": asdict(child)} if child else {})})
        elif child is None:
            self._stack(event)
        elif child.state in ("restarting", "failed") or child.message:
            output.err.print(f"{child.name} {child.message or child.state}", markup=False)
        elif child.state == "ready" and child.restarts:
            output.err.print(f"{child.name} is back", markup=False)

    def _stack(self, event: str) -> None:
        state = self._folder.read_state()
        if event == "ready" and state:
            _tell_ready(self._folder, state)
        elif event == "failed" and state:
            output.say_error(state.message)
        elif event in ("starting", "stopping"):
            output.err.print(f"{event} …")
        else:
            output.err.print(event, markup=False)


def _tell_ready(folder: DataFolder, state: StackState) -> None:
    output.say(f"Ready after {state.ready_seconds:.1f} s on {state.server}, data in {folder.path}.")
    output.say(f"API key: {folder.credentials().api_key} (project {state.project}); this CLI already uses it.")
    address, _ = sign_in_address(folder, state)
    output.say(f"Console: {address} (once, within {CODE_MINUTES} minutes; `fiveshot console` prints another)")


def _tell(folder: DataFolder, state: StackState) -> None:
    memory = {name: _resident(child.pid) for name, child in state.children.items()}
    output.facts(
        [
            ("state", state.state), ("server", state.server), ("data", folder.path), ("process", state.pid),
            ("up for", output.duration(time.time() - state.started)),
            ("ready after", output.duration(state.ready_seconds)),
            ("memory", output.size(sum(memory.values()) + _resident(state.pid))),
        ]
    )  # fmt: skip
    rows = (
        (child.name, child.state, child.pid or "", child.restarts, next(iter(child.ports.values()), ""),
         output.size(memory[child.name]), child.message)
        for child in state.children.values()
    )  # fmt: skip
    output.table(("process", "state", ">pid", ">restarts", ">port", ">memory", ""), rows)


def _as_json(state: StackState) -> dict[str, object]:
    document = asdict(state)
    for child in document["children"].values():
        child["memory_bytes"] = _resident(child["pid"])
    return document


def _resident(pid: int) -> int:
    """Bytes in memory; 0 when the process is gone."""
    if not pid:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
