"""What an audit says of the pictures and texts of a job, and the one call that mends each finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from services.trainer.recipe.buckets import Crop


class Severity(StrEnum):
    """NOTICE: worth knowing. ATTENTION: the model will learn it. BLOCKING: a training is wasted on it."""

    NOTICE = "notice"
    ATTENTION = "attention"
    BLOCKING = "blocking"


class Verdict(StrEnum):
    """What all findings come to; never a score."""

    READY = "ready"
    NEEDS_ATTENTION = "needs_attention"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class DeleteImages:
    """Takes pictures out of the set."""

    images: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetCrops:
    """Sets the crop of each picture."""

    crops: tuple[tuple[str, Crop], ...]


@dataclass(frozen=True, slots=True)
class CropToSubjects:
    """Has the pictures cropped to their subjects, in one of the shapes (width, height)."""

    images: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class ShortenTexts:
    """Sets captions and tags by image. captions: only of those that change. tags: as `TrainingImage.stored_tags`."""

    captions: Mapping[str, str]
    tags: Mapping[str, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class CountBoth:
    """Has captions count, and tags where there is no caption."""


@dataclass(frozen=True, slots=True)
class RemoveTags:
    """Removes labels from all pictures."""

    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetTriggerWord:
    """Changes the dataset's trigger word."""

    word: str


@dataclass(frozen=True, slots=True)
class TagPictures:
    """Has pictures tagged that have no tag yet."""


Fix = DeleteImages | SetCrops | CropToSubjects | ShortenTexts | CountBoth | RemoveTags | SetTriggerWord | TagPictures


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. kind: stable, such as `bars`. images: names; empty where it concerns the whole set.

    message: what is wrong. remedy: what to do. fix: the call that does it, None where only the person can.
    """

    kind: str
    severity: Severity
    message: str
    remedy: str
    images: tuple[str, ...] = ()
    fix: Fix | None = None


@dataclass(frozen=True, slots=True)
class Audit:
    """The findings on a dataset as a job would train it. dataset: its name, without a version."""

    dataset: str
    image_count: int
    findings: tuple[Finding, ...]

    @property
    def verdict(self) -> Verdict:
        """What they come to."""
        severities = {finding.severity for finding in self.findings}
        if Severity.BLOCKING in severities:
            return Verdict.BLOCKED
        return Verdict.NEEDS_ATTENTION if Severity.ATTENTION in severities else Verdict.READY
