"""Keep what each change of images was, tell who made it, and take it back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from services.chassis import request_context
from services.chassis.errors import Aborted, FailedPrecondition
from services.dataset.models.edits import KEPT_EDITS, Edit, change_of, changed_fields, overtaken, restored
from services.dataset.models.names import DatasetRef, EditRef, ImageRef
from services.dataset.models.resources import Image
from services.dataset.ports import Clock, DatasetReader, DatasetStore, DatasetWriter

_METHOD = "UndoEdit"


async def record(
    tx: DatasetWriter, ref: DatasetRef, changes: Sequence[tuple[Image, Image]], method: str, *, undoes: int = 0
) -> Edit | None:
    """Saves images as they are after a change, with the edit that this was; None when nothing changed.

    Calls of one job, which have its request id in common, are one edit. The dataset is locked and is saved by the
    caller.
    """
    real = [(before, after) for before, after in changes if after is not before]
    if not real:
        return None
    for _, after in real:
        await tx.save_image(after)
    # What a tagger saw in a picture is no edit.
    found = [change for change in (change_of(before, after) for before, after in real) if change.after]
    if not found:
        return None
    caller = request_context.current()
    last = await tx.newest_edit(ref)
    if last is not None and _goes_on(last, method, caller.request_id, {change.image for change in found}, undoes):
        edit = last.extended(found)
        await tx.save_edit(edit)
    else:
        edit = Edit(
            ref=EditRef(ref, last.ref.number + 1 if last else 1),
            method=method,
            editor=caller.principal,
            request_id=caller.request_id,
            fields=changed_fields([name for change in found for name in change.after]),
            changed_images=len(found),
            create_time=real[0][1].update_time,
            undoes=undoes,
            images=tuple(change.image for change in found),
        )
        await tx.add_edit(edit)
    await tx.add_changes(edit.ref, found)
    await tx.thin_edits(ref, keep=KEPT_EDITS)
    return edit


@asynccontextmanager
async def naming_editor(view: DatasetReader, image: ImageRef | DatasetRef) -> AsyncIterator[None]:
    """Adds to an ABORTED of the block who changed what last."""
    try:
        yield
    except Aborted as error:
        ref = image if isinstance(image, DatasetRef) else image.dataset
        found = [edit for edit in await view.edits(ref) if isinstance(image, DatasetRef) or image.image in edit.images]
        if not found:
            raise
        facts = {**error.facts(), "metadata": {**error.metadata, **_metadata(found[0])}}
        # The same error, but for what it says.
        raise error.__class__(f"{error.message}: {_told(found[0])}", **facts) from error


class EditVerbs:
    """ListEdits and UndoEdit."""

    def __init__(self, store: DatasetStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def list(self, ref: DatasetRef) -> list[Edit]:
        """The edits that are kept, newest first. Raises NotFound."""
        async with self._store.read() as view:
            await view.dataset(ref)
            return await view.edits(ref)

    async def undo(self, ref: EditRef, *, validate_only: bool) -> Edit:
        """Takes an edit back; the edit that this is, or the one it would take back with validate_only.

        Raises NotFound, FailedPrecondition(EDIT_UNDONE, EDIT_IMAGES_GONE), and Aborted(EDIT_OVERTAKEN) when what it
        changed was changed since: nothing is taken back then.
        """
        async with self._store.write() as tx:
            dataset = await tx.lock_dataset(ref.dataset)
            edit = await tx.edit(ref)
            if edit.undone_by:
                by = EditRef(ref.dataset, edit.undone_by)
                raise FailedPrecondition(
                    f"This edit was undone already, by edit {edit.undone_by}",
                    field="name",
                    reason="EDIT_UNDONE",
                    remedy="To do it again, undo that one.",
                    metadata={"undone_by": by.name},
                )
            images = {image.ref.image: image for image in await tx.images(ref.dataset)}
            changes = [change for change in await tx.changes(ref) if change.image in images]
            if not changes:
                raise FailedPrecondition(
                    "None of the images of this edit is there any more",
                    field="name",
                    reason="EDIT_IMAGES_GONE",
                    remedy="A deleted image cannot be brought back; upload it again.",
                )
            for change in changes:
                names = overtaken(images[change.image], change)
                if names:
                    raise await _overtaken(tx, edit, images[change.image], names)
            if validate_only:
                return edit
            now = self._clock()
            pairs = [(images[change.image], restored(images[change.image], change, now)) for change in changes]
            undo = await record(tx, ref.dataset, pairs, _METHOD, undoes=ref.number)
            assert undo is not None, "an edit changed something"
            await tx.mark_undone(ref, undo.ref.number)
            await tx.save_dataset(dataset.touched(now))
        return undo


def _goes_on(last: Edit, method: str, request_id: str, images: set[str], undoes: int) -> bool:
    same = bool(request_id) and (last.request_id, last.method) == (request_id, method)
    return same and not undoes and not last.undone_by and not images & set(last.images)


async def _overtaken(view: DatasetReader, edit: Edit, image: Image, names: Sequence[str]) -> Aborted:
    later = [
        other for other in await view.edits(edit.ref.dataset)
        if other.ref.number > edit.ref.number and image.ref.image in other.images and set(names) & set(other.fields)
    ]  # fmt: skip
    what = f"{_listed(names)} of {image.picture.file_name}"
    who = f": {_told(later[0])}" if later else ""
    return Aborted(
        f"The edit cannot be undone, because the {what} changed since{who}",
        field="name",
        reason="EDIT_OVERTAKEN",
        remedy="Undo the later edits first, newest first, or set the fields yourself.",
        metadata={"image": image.ref.name, **(_metadata(later[0]) if later else {})},
    )


def _told(edit: Edit) -> str:
    moment = edit.create_time.strftime("%Y-%m-%d %H:%M:%S UTC")
    count = f"{edit.changed_images} image{'s' if edit.changed_images > 1 else ''}"
    return f"{edit.editor or 'somebody'} changed {_listed(edit.fields)} of {count} at {moment} (edit {edit.ref.number})"


def _listed(names: Sequence[str]) -> str:
    words = [name.replace("num_repeats", "repeats") for name in names]
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _metadata(edit: Edit) -> dict[str, str]:
    return {"edit": edit.ref.name, "editor": edit.editor}
