"""`fiveshot keys …`: the API keys of the local stack's gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from fiveshot.errors import AlreadyExists, InvalidArgument, NotFound

from gateway import api_keys
from gateway.cli import completion, output
from gateway.cli.lookup import no_such
from gateway.cli.names import nearest_id
from gateway.cli.session import Session
from gateway.roles import Role
from gateway.supervisor.folder import LOCAL_KEY_ID, DataFolder

app = typer.Typer(help="API keys of the local stack.", no_args_is_help=True)

_KNOWN = typer.Argument(help="Id of the key.", autocompletion=completion.keys)


@app.command()
def add(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(help="Id of the key: lower-case letters, digits, hyphens.")],
    projects: Annotated[list[str], typer.Option("--for", help="Project the key may access; repeatable; * means all.")],
    role: Annotated[
        Role, typer.Option(help="What it may do: look (reader), change (editor), or all (admin).")
    ] = Role.EDITOR,
    days: Annotated[int, typer.Option(min=0, help="Days until it expires; 0 means never.")] = 0,
) -> None:
    """Create a key and print it once; only its digest is stored."""
    session: Session = ctx.obj
    folder = _folder(session)
    known = api_keys.load(folder.api_keys_file)
    if any(each.id == key for each in known):
        raise AlreadyExists(f"The key '{key}' already exists", remedy="Choose another id, or remove it first.")
    secret = api_keys.new_secret()
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) if days else None
    new = api_keys.ApiKey(key, api_keys.digest(secret), tuple(projects), expires, role)
    try:
        api_keys.check(new)
    except ValueError as error:
        near = nearest_id(key, "key")
        offer = f"Did you mean '{near}'? " if near not in ("", key) else ""
        raise InvalidArgument(str(error), remedy=f"{offer}See `fiveshot keys add --help`.") from error
    api_keys.save(folder.api_keys_file, [*known, new])
    made = {"id": key, "apiKey": secret, "projects": projects, "role": role}
    output.print_json(made) if session.json else output.say(secret)


@app.command()
def rotate(
    ctx: typer.Context,
    key: Annotated[str, _KNOWN],
    overlap: Annotated[float, typer.Option(min=0, help="Hours for which the present secret stays good.")] = 24.0,
) -> None:
    """Give a key a new secret and print it once; its callers have the overlap to change over."""
    session: Session = ctx.obj
    folder = _folder(session)
    path = folder.api_keys_file
    known = api_keys.load(path)
    if not any(each.id == key for each in known):
        raise no_such("key", key, [each.id for each in known], "fiveshot keys list")
    secret = api_keys.new_secret()
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=overlap)
    api_keys.save(path, [api_keys.rotated(each, secret, until) if each.id == key else each for each in known])
    if key == LOCAL_KEY_ID:
        folder.keep_api_key(secret)
    made = {"id": key, "apiKey": secret, "replacedUntil": until.isoformat()}
    output.print_json(made) if session.json else output.say(secret)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the keys, without their secrets."""
    session: Session = ctx.obj
    known = api_keys.load(_folder(session).api_keys_file)
    if session.json:
        output.print_json({"keys": [_facts(each) for each in known]})
        return
    rows = ((each.id, ", ".join(each.projects), each.role, each.expires or "never") for each in known)
    output.table(("key", "projects", "role", "expires"), rows)


@app.command()
def remove(ctx: typer.Context, key: Annotated[str, _KNOWN]) -> None:
    """Revoke a key; it stops working with the next call."""
    session: Session = ctx.obj
    path = _folder(session).api_keys_file
    known = api_keys.load(path)
    left = [each for each in known if each.id != key]
    if len(left) == len(known):
        raise no_such("key", key, [each.id for each in known], "fiveshot keys list")
    api_keys.save(path, left)
    output.print_json({"removed": key}) if session.json else output.say(f"Removed {key}.")


def _facts(key: api_keys.ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "projects": key.projects,
        "role": key.role,
        "expires": key.expires.isoformat() if key.expires else None,
        "replacedUntil": key.replaced.until.isoformat() if key.replaced else None,
    }


def _folder(session: Session) -> DataFolder:
    folder = DataFolder(session.data)
    if not folder.api_keys_file.exists():
        remedy = "Start one with `fiveshot up`, or name its --data."
        raise NotFound(f"There is no stack in {folder.path}", remedy=remedy)
    return folder
