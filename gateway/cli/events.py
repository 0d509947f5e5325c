"""`fiveshot events …`: who may read the local stack's events from its NATS server."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from fiveshot.errors import AlreadyExists, InvalidArgument, Unavailable

from gateway import event_accounts
from gateway.cli import output
from gateway.cli.lookup import no_such
from gateway.cli.session import Session
from gateway.supervisor import servers
from gateway.supervisor.folder import LOCAL_PROJECT, ChildState, DataFolder, open_private
from gateway.supervisor.run import running_state

app = typer.Typer(help="Who may read the local stack's events.", no_args_is_help=True)


@app.command()
def credentials(
    ctx: typer.Context,
    consumer: Annotated[str, typer.Argument(help="Id of the consumer: lower-case letters, digits, hyphens.")],
    project: Annotated[str, typer.Option("--for", help="Project whose events it may read.")] = LOCAL_PROJECT,
    file: Annotated[
        Path | None, typer.Option("--output", "-o", help="File for the seed instead of the screen.")
    ] = None,
) -> None:
    """Create read-only credentials for a project's events and print their seed once; the stack must run."""
    session: Session = ctx.obj
    folder, nats = _running(session)
    known = event_accounts.load(folder.event_consumers_file)
    if any(each.id == consumer for each in known):
        raise AlreadyExists(
            f"The consumer '{consumer}' already exists", remedy="Choose another id, or remove it first."
        )
    # A client of NATS takes its time to load, and no other command needs one.
    from gateway import event_consumers

    seed, public_key = event_consumers.new_seed()
    new = event_accounts.Consumer(consumer, project, public_key)
    try:
        event_accounts.check(new)
    except ValueError as error:
        raise InvalidArgument(str(error), remedy="See `fiveshot events credentials --help`.") from error
    _apply(folder, nats, [*known, new])
    url = f"nats://{servers.HOST}:{nats.ports['nats']}"
    password = folder.credentials().nats_password
    try:
        asyncio.run(event_consumers.ensure_stream(url, project, password))
    except Unavailable:
        # Nobody has the seed yet; a second try must not find the id taken.
        _apply(folder, nats, known)
        raise
    if file is not None:
        with open_private(file, "w") as opened:
            opened.write(seed + "\n")
    if session.json:
        output.print_json({"id": consumer, "project": project, "url": url, "seed": seed})
    elif file is not None:
        output.say(f"The seed is in {file}; the events of '{project}' are on {url}.")
    else:
        output.say(seed)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the consumers, without their seeds."""
    session: Session = ctx.obj
    known = event_accounts.load(DataFolder(session.data).event_consumers_file)
    if session.json:
        output.print_json({"consumers": [asdict(each) for each in known]})
        return
    output.table(("consumer", "project", "public key"), ((each.id, each.project, each.public_key) for each in known))


@app.command()
def remove(ctx: typer.Context, consumer: Annotated[str, typer.Argument(help="Id of the consumer.")]) -> None:
    """Withdraw credentials; a connection that uses them is closed. The stack must run."""
    session: Session = ctx.obj
    folder, nats = _running(session)
    known = event_accounts.load(folder.event_consumers_file)
    left = [each for each in known if each.id != consumer]
    if len(left) == len(known):
        raise no_such("consumer", consumer, [each.id for each in known], "fiveshot events list")
    _apply(folder, nats, left)
    output.print_json({"removed": consumer}) if session.json else output.say(f"Removed {consumer}.")


def _running(session: Session) -> tuple[DataFolder, ChildState]:
    folder = DataFolder(session.data)
    state = running_state(folder)
    nats = state.children.get("nats") if state else None
    if nats is None or not nats.pid:
        raise Unavailable(
            f"No NATS server of a stack runs in {folder.path}",
            reason="NO_EVENT_BUS",
            remedy="Start the stack with `fiveshot up`; credentials of your own server come from its operator.",
        )
    return folder, nats


def _apply(folder: DataFolder, nats: ChildState, consumers: list[event_accounts.Consumer]) -> None:
    """Keeps the consumers, and has the running server read them."""
    event_accounts.save(folder.event_consumers_file, consumers)
    servers.configure_nats(folder.sub("nats"), nats.ports["nats"], folder.credentials().nats_password, consumers)
    os.kill(nats.pid, signal.SIGHUP)
