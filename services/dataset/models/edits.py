"""An edit: what one call changed of a dataset's images, kept so that it can be taken back. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.dataset.models.names import EditRef
from services.dataset.models.resources import CaptionOrigin, Crop, Image, ImageFields, Mask
from services.dataset.models.tags import Tag

KEPT_EDITS = 20
"""Of several images, and as many of one: a person's small corrections do not push the large ones out."""
Value = str | int | tuple[Tag, ...] | Crop | Mask | CaptionOrigin | Mapping[str, str] | None
_SEEN = ("text_areas", "features")
FIELDS = (*(name for name in ImageFields.__dataclass_fields__ if name not in _SEEN), "mask")
"""What an edit can change. What was seen in a picture is not taken back."""


@dataclass(frozen=True)
class ImageChange:
    """What an edit changed of one image. image: its id. before, after: the values of the changed fields by name."""

    image: str
    before: Mapping[str, Value]
    after: Mapping[str, Value]


@dataclass(frozen=True)
class Edit:
    """One call's changes. editor: who called. request_id: of the call; a job's calls have one in common.

    fields: that it changed, of any image. images: ids of its images that are still there. changed_images: how many it
    changed. undoes: number of the edit that it took back. undone_by: number of the edit that took it back; both 0
    where there is none.
    """

    ref: EditRef
    method: str
    editor: str
    request_id: str
    fields: tuple[str, ...]
    changed_images: int
    create_time: datetime
    undoes: int = 0
    undone_by: int = 0
    images: tuple[str, ...] = ()

    def extended(self, changes: Sequence[ImageChange]) -> Edit:
        """After further changes of the same work."""
        return replace(
            self,
            fields=changed_fields([*self.fields, *(name for change in changes for name in change.after)]),
            changed_images=self.changed_images + len(changes),
            images=(*self.images, *(change.image for change in changes)),
        )


def change_of(before: Image, after: Image) -> ImageChange:
    """What differs between two states of an image."""
    was, now = _values(before), _values(after)
    names = [name for name in FIELDS if was[name] != now[name]]
    return ImageChange(before.ref.image, {name: was[name] for name in names}, {name: now[name] for name in names})


def restored(image: Image, change: ImageChange, now: datetime) -> Image:
    """The image with the changed fields as they were before. It must be one that `overtaken` finds nothing in."""
    plain = {name: value for name, value in change.before.items() if name != "mask"}
    fields = replace(image.fields, **plain)  # type: ignore[arg-type]
    mask = change.before.get("mask", image.mask)
    assert mask is None or isinstance(mask, Mask)
    both = image.changed(fields, now).masked(mask, now)
    return replace(both, revision=min(both.revision, image.revision + 1))


def overtaken(image: Image, change: ImageChange) -> list[str]:
    """The changed fields that are not any more as the edit left them."""
    values = _values(image)
    return [name for name, value in change.after.items() if values[name] != value]


def changed_fields(names: Sequence[str]) -> tuple[str, ...]:
    """Each once, in the order of an image's fields."""
    return tuple(name for name in FIELDS if name in names)


def _values(image: Image) -> dict[str, Value]:
    values = {**vars(image.fields), "mask": image.mask}
    return {name: values[name] for name in FIELDS}
