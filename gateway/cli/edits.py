"""`fiveshot dataset history` and `undo`: what was changed on a dataset's pictures, and back."""

from __future__ import annotations

from typing import Annotated

import typer
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.errors import NotFound

from gateway.cli import output
from gateway.cli.dataset import PICTURES, Dataset, app
from gateway.cli.session import Session

_METHODS = {
    "EditTags": "tags edited",
    "UpdateImage": "changed one by one",
    "BatchUpdateImages": "changed together",
    "UploadImageMask": "mask uploaded",
    "BatchSetImageMasks": "masks set",
    "UndoEdit": "undone",
}


@app.command(rich_help_panel=PICTURES)
def history(ctx: typer.Context, dataset: Dataset) -> None:
    """List the edits of pictures that can be undone, newest first."""
    session: Session = ctx.obj
    edits = _edits(session, session.name("datasets", dataset))
    if session.json:
        output.print_list("edits", edits)
        return
    rows = (
        (_number(each.name), output.when(each.create_time), each.editor, _said(each),
         ", ".join(each.fields).replace("num_repeats", "repeats"), each.changed_images,
         f"undone by {_number(each.undone_by)}" if each.undone_by else "")
        for each in edits
    )  # fmt: skip
    output.table((">edit", "when", "by", "what", "of", ">pictures", ""), rows)


@app.command(rich_help_panel=PICTURES)
def undo(
    ctx: typer.Context,
    dataset: Dataset,
    edit: Annotated[int | None, typer.Argument(min=1, help="Its number; the newest that stands when left out.")] = None,
    dry_run: Annotated[bool, typer.Option(help="Show what would be undone; change nothing.")] = False,
) -> None:
    """Take back an edit of pictures: tags, crops, masks, captions, repeats."""
    session: Session = ctx.obj
    name = session.name("datasets", dataset)
    kept = _edits(session, name)
    if edit is None:
        standing = [each for each in kept if not each.undone_by and not each.undoes]
        if not standing:
            raise NotFound(
                f"Nothing of {output.short(name)} can be undone", reason="NOTHING_TO_UNDO",
                remedy="Deleted pictures cannot be brought back; upload them again.",
            )  # fmt: skip
        chosen = standing[0].name
    else:
        chosen = f"{name}/edits/{edit}"
        if all(each.name != chosen for each in kept):
            raise NotFound(
                f"{output.short(name)} has no edit {edit} that can be undone", field="edit",
                reason="RESOURCE_NOT_FOUND", remedy="See `fiveshot dataset history`.",
            )  # fmt: skip
    done = session.dataset.UndoEdit(pb.UndoEditRequest(name=chosen, validate_only=dry_run))
    if session.json:
        output.print_json(output.to_json(done))
        return
    fields = ", ".join(done.fields).replace("num_repeats", "repeats")
    count = f"{done.changed_images} picture{'s' if done.changed_images != 1 else ''}"
    done_ = "Would undo" if dry_run else "Undone"
    output.say(f"{done_}: {fields} of {count}, as before edit {_number(chosen)}.")
    if not dry_run:
        output.next_step(session, f"fiveshot dataset undo {output.short(name)} {_number(done.name)}   (to do it again)")


def _edits(session: Session, dataset: str) -> list[dataset_pb2.Edit]:
    return list(session.dataset.ListEdits(pb.ListEditsRequest(parent=dataset)).edits)


def _said(edit: dataset_pb2.Edit) -> str:
    said = _METHODS.get(edit.method, edit.method)
    return f"{said}: {_number(edit.undoes)}" if edit.undoes else said


def _number(name: str) -> str:
    return name.rpartition("/")[2]
