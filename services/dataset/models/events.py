"""What happened to a dataset. Each is stored in the transaction of the change that it tells of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from services.dataset.models.resources import Dataset, DatasetVersion

MOST_IMAGES = 500
"""Images that one event names."""


@dataclass(frozen=True)
class Created:
    """The dataset as it was created."""

    dataset: Dataset


@dataclass(frozen=True)
class Updated:
    """Fields of the dataset's own changed. dataset: after it."""

    dataset: Dataset


@dataclass(frozen=True)
class Deleted:
    """It went, with so many images and versions."""

    image_count: int
    version_count: int


class ImageChange(StrEnum):
    """What became of an image."""

    ADDED = "added"
    UPDATED = "updated"
    DELETED = "deleted"


@dataclass(frozen=True)
class ImagesChanged:
    """The same happened to several images within some seconds. images: ids. image_count: of the dataset, when told."""

    change: ImageChange
    images: tuple[str, ...]
    image_count: int


@dataclass(frozen=True)
class VersionCreated:
    """A version was frozen."""

    version: DatasetVersion


@dataclass(frozen=True)
class VersionUpdated:
    """Labels of a version changed. version: after it."""

    version: DatasetVersion


@dataclass(frozen=True)
class VersionDeleted:
    """A version went. version: its name."""

    version: str


DatasetEvent = Created | Updated | Deleted | ImagesChanged | VersionCreated | VersionUpdated | VersionDeleted


def images_changed(noted: Iterable[tuple[str, ImageChange]], image_count: int) -> list[ImagesChanged]:
    """The events for what was noted of images, in order: one for each kind of change.

    What an image went through meanwhile counts as one change, and one that came and went is none. Images that came are
    told first, those that went last.
    """
    first: dict[str, ImageChange] = {}
    last: dict[str, ImageChange] = {}
    for image, change in noted:
        first.setdefault(image, change)
        last[image] = change
    ids: dict[ImageChange, list[str]] = {change: [] for change in ImageChange}
    for image, before in first.items():
        came, went = before is ImageChange.ADDED, last[image] is ImageChange.DELETED
        if not (came and went):
            ids[ImageChange.DELETED if went else before].append(image)
    return [
        ImagesChanged(change, tuple(found[start : start + MOST_IMAGES]), image_count)
        for change, found in ids.items()
        for start in range(0, len(found), MOST_IMAGES)
    ]
