"""`fiveshot console`: an address that signs a browser in to the local stack's console, once."""

from __future__ import annotations

import webbrowser
from datetime import datetime
from typing import Annotated

import typer

from gateway.cli import output
from gateway.cli.session import Session
from gateway.sessions import CODE_MINUTES, SessionFolder
from gateway.supervisor import run
from gateway.supervisor.folder import LOCAL_KEY_ID, DataFolder, StackState
from services.chassis.errors import Unavailable


def console(
    ctx: typer.Context,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    minutes: Annotated[int, typer.Option(min=1, max=24 * 60, help="How long the address is good.")] = CODE_MINUTES,
) -> None:
    """Print an address that opens the console in a browser. It signs in once; the browser stays signed in."""
    session: Session = ctx.obj
    folder = DataFolder(session.data)
    state = run.running_state(folder)
    if state is None or state.state != "ready":
        raise Unavailable(
            f"No stack is running in {folder.path}", reason="NO_SERVER", remedy="Start it with `fiveshot up`."
        )
    address, expires = sign_in_address(folder, state, minutes)
    if session.json:
        output.print_json({"url": address, "expireTime": expires.isoformat()})
    else:
        output.say(address)
    if open_ and not webbrowser.open(address):
        output.say_error("No browser could be opened here; open the address yourself.")


def sign_in_address(folder: DataFolder, state: StackState, minutes: int = CODE_MINUTES) -> tuple[str, datetime]:
    """The address and when it stops working. The code is in the fragment, which browsers keep to themselves."""
    code, expires = SessionFolder(folder.sessions).new_code(LOCAL_KEY_ID, minutes)
    return f"http://{state.server}/#/sign-in/{code}", expires
