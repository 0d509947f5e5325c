"""`fiveshot taggers`: what can find words for pictures here; those of the local stack can be added and taken away."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Annotated

import typer
from fiveshot.errors import AlreadyExists, InvalidArgument, NotFound
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.tagger.v1 import tagger_service_pb2 as pb

from gateway.cli import output
from gateway.cli.lookup import no_such
from gateway.cli.session import Session
from gateway.supervisor.folder import PRIVATE_UMASK, DataFolder

app = typer.Typer(help="Taggers and captioners.", invoke_without_command=True)

_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_RESERVED = ("default", "measured", "photo", "wd")
_WD, _CAPTIONER = ("model.onnx", "selected_tags.csv"), ("captioner.toml",)


@app.callback()
def taggers(ctx: typer.Context) -> None:
    """List the taggers with what they know; `add` and `remove` change those of the local stack."""
    if ctx.invoked_subcommand is None:
        list_(ctx)


@app.command("list")
def list_(ctx: typer.Context) -> None:
    """List the taggers and captioners with what they know."""
    session: Session = ctx.obj
    answer = session.tagger.ListTaggers(pb.ListTaggersRequest())
    if session.json:
        output.print_json(answer)
        return
    rows = (
        (output.short(each.name), "yes" if each.is_default else "", _writes(each), each.domain, each.model,
         len(each.vocabulary) or "open", each.device, each.fault or each.description)
        for each in answer.taggers
    )  # fmt: skip
    output.table(("tagger", "default", "writes", "domain", "model", ">labels", "device", "what it does"), rows)
    for each in answer.taggers:
        if each.fault:
            output.note(f"{output.short(each.name)} cannot be used: {each.fault}")


@app.command()
def add(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Folder of a WD v3 tagger, or with a captioner.toml.")],
    name: Annotated[str, typer.Option(help="Its name; the folder's own when empty.")] = "",
    force: Annotated[bool, typer.Option(help="Replace the one of this name.")] = False,
) -> None:
    """Add a tagger or captioner to the local stack; it needs no restart."""
    session: Session = ctx.obj
    id = name or folder.resolve().name.lower().replace("_", "-").replace(".", "-")
    _check(folder, id)
    shelf = _shelf(session)
    place, partial = shelf / id, shelf / f".{id}.partial"
    if place.exists() and not force:
        raise AlreadyExists(f"There is a tagger '{id}' already", remedy="Choose another --name, or set --force.")
    # A hidden folder is not looked at: the tagger appears when it is whole.
    shutil.rmtree(partial, ignore_errors=True)
    try:
        shutil.copytree(folder, partial, ignore=shutil.ignore_patterns(".*"))
        _make_private(partial)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if place.exists():
        shutil.rmtree(place)
    partial.rename(place)
    added = {"added": f"taggers/{id}"}
    output.print_json(added) if session.json else output.say(f"Added taggers/{id}.")
    output.next_step(session, "fiveshot taggers")


@app.command()
def remove(ctx: typer.Context, name: Annotated[str, typer.Argument(help="Name of the tagger.")]) -> None:
    """Take an added tagger or captioner away; what it wrote stays."""
    session: Session = ctx.obj
    id = name.removeprefix("taggers/")
    shelf = _shelf(session)
    place = shelf / id
    if not _ID.fullmatch(id) or not place.is_dir():
        raise no_such("tagger that was added here", id, [each.name for each in shelf.glob("[!.]*")], "fiveshot taggers")
    shutil.rmtree(place)
    removed = {"removed": f"taggers/{id}"}
    output.print_json(removed) if session.json else output.say(f"Removed taggers/{id}.")


def _shelf(session: Session) -> Path:
    folder = DataFolder(session.data)
    if not folder.api_keys_file.exists():
        raise NotFound(
            f"There is no stack in {folder.path}",
            remedy="Start one with `fiveshot up`, or give --data. Elsewhere put the folder into TAGGER_TAGGERS_DIR.",
        )
    return folder.taggers


def _check(folder: Path, id: str) -> None:
    if not folder.is_dir():
        raise NotFound(f"There is no folder {folder}", remedy="Check the path.")
    if not _ID.fullmatch(id) or id in _RESERVED:
        raise InvalidArgument(
            f"'{id}' cannot be the name of a tagger", field="name",
            remedy="Give --name of lower-case letters, digits and hyphens that begins with a letter.",
        )  # fmt: skip
    if not any(all((folder / file).is_file() for file in files) for files in (_WD, _CAPTIONER)):
        raise InvalidArgument(
            f"{folder} holds no tagger", field="folder",
            remedy=f"It needs {' and '.join(_WD)}, or {_CAPTIONER[0]}; docs/tagging.md says what stands in them.",
        )  # fmt: skip

    for path in folder.rglob("*"):
        # A pipe or a device would be copied without an end, and a link to a folder may lead back to where it lies.
        if not path.is_file() and (path.is_symlink() or not path.is_dir()):
            raise InvalidArgument(
                f"{path} is neither a file nor a folder", field="folder",
                remedy="Take links to folders, pipes and devices out of it.",
            )  # fmt: skip


def _make_private(folder: Path) -> None:
    """It may hold an API key."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o777 & ~PRIVATE_UMASK)


def _writes(tagger: tagger_pb2.Tagger) -> str:
    if tagger.fault:
        return ""
    return "captions" if tagger.kind == tagger_pb2.Tagger.KIND_CAPTIONS else "tags"
