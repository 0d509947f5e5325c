"""Edit the tags of many images at once, and count them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.chassis.errors import ResourceExhausted
from services.chassis.listing.memory import matching
from services.chassis.names import check_etag
from services.dataset.models.checks import Texts
from services.dataset.models.edits import Edit
from services.dataset.models.names import DatasetRef
from services.dataset.models.resources import Image
from services.dataset.models.tags import (
    MAX_TAGS,
    AddTag,
    DeduplicateTags,
    PrependTag,
    RemoveTag,
    ReplaceTag,
    TagEdit,
    TagStat,
    edited,
    tag_stats,
)
from services.dataset.ports import Clock, DatasetReader, DatasetStore
from services.dataset.use_cases.edits import naming_editor, record
from services.dataset.use_cases.images import IMAGES, image_filter


@dataclass(frozen=True)
class EditOutcome:
    """How many images matched the filter, and how many of them change. edit: what was done, None if nothing was."""

    matched_images: int
    changed_images: int
    edit: Edit | None = None


class TagVerbs:
    """The verbs on the tags of a dataset."""

    def __init__(self, store: DatasetStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def edit(
        self, ref: DatasetRef, *, filter_text: str, edits: Sequence[TagEdit], validate_only: bool, etag: str = ""
    ) -> EditOutcome:
        """Does the edits in order on all images that match, all or none; with validate_only it only counts.

        etag: the dataset's. Raises NotFound, InvalidArgument, Aborted for an old etag, and
        ResourceExhausted(TOO_MANY_TAGS).
        """
        wanted = image_filter(filter_text)
        checked = checked_edits(edits)
        if validate_only:
            async with self._store.read() as view:
                async with naming_editor(view, ref):
                    check_etag(etag, (await view.dataset(ref)).etag)
                matched = matching(await view.images(ref), wanted, IMAGES)
            return EditOutcome(len(matched), len(self._changed(matched, checked)))
        async with self._store.write() as tx:
            dataset = await tx.lock_dataset(ref)
            async with naming_editor(tx, ref):
                check_etag(etag, dataset.etag)
            matched = matching(await tx.images(ref), wanted, IMAGES)
            changed = self._changed(matched, checked)
            made = await record(tx, ref, changed, "EditTags")
            if made is not None:
                await tx.save_dataset(dataset.touched(self._clock()))
        return EditOutcome(len(matched), len(changed), made)

    async def stats(self, ref: DatasetRef) -> list[TagStat]:
        """How often each label stands in the dataset, most frequent first. Raises NotFound."""
        async with self._store.read() as view:
            return tag_stats([image.fields.tags for image in await _images(view, ref)])

    def _changed(self, matched: Sequence[Image], edits: Sequence[TagEdit]) -> list[tuple[Image, Image]]:
        """The images that the edits change, before and after."""
        now = self._clock()
        changed: list[tuple[Image, Image]] = []
        for image in matched:
            tags = edited(image.fields.tags, edits)
            if len(tags) > max(MAX_TAGS, len(image.fields.tags)):
                raise ResourceExhausted(
                    f"{image.picture.file_name} would have {len(tags)} tags, and {MAX_TAGS} is the limit",
                    field="edits",
                    reason="TOO_MANY_TAGS",
                    remedy="Remove tags first, or narrow the filter.",
                    metadata={"image": image.ref.name},
                )
            updated = image.changed(replace(image.fields, tags=tags), now)
            if updated is not image:
                changed.append((image, updated))
        return changed


async def _images(view: DatasetReader, ref: DatasetRef) -> list[Image]:
    await view.dataset(ref)
    return await view.images(ref)


def checked_edits(edits: Sequence[TagEdit]) -> list[TagEdit]:
    """The edits with tidy labels. Raises InvalidArgument that names every wrong one."""
    texts = Texts()
    checked = [_checked(edit, f"edits[{index}]", texts) for index, edit in enumerate(edits)]
    texts.refuse()
    return checked


def _checked(edit: TagEdit, field: str, texts: Texts) -> TagEdit:
    match edit:
        case AddTag(label):
            return AddTag(texts.label(label, field=f"{field}.add"))
        case PrependTag(label):
            return PrependTag(texts.label(label, field=f"{field}.prepend"))
        case RemoveTag(label):
            return RemoveTag(texts.label(label, field=f"{field}.remove"))
        case ReplaceTag(old_label, new_label):
            return ReplaceTag(
                texts.label(old_label, field=f"{field}.replace.old_label"),
                texts.label(new_label, field=f"{field}.replace.new_label"),
            )
        case DeduplicateTags():
            return edit
