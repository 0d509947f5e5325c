"""Labels and their provenance, and the edits that people make to many images at once.

Labels are kept as they were typed and compared without regard to case, with underscore equal to space: `Red_Hat` and
`red hat` are one label. A label that a person adds, prepends or puts in another's place is manual from then on, also
where a tagger had found it before.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

MAX_TAGS = 200


class TagSource(StrEnum):
    """Where a tag comes from."""

    MANUAL = "manual"
    AUTO = "auto"
    MEASURED = "measured"


@dataclass(frozen=True)
class Tag:
    """One label. score: 0 to 1, 0 for manual tags. tagger, model_sha256: what predicted it, empty for manual tags."""

    label: str
    source: TagSource = TagSource.MANUAL
    score: float = 0.0
    tagger: str = ""
    model_sha256: str = ""
    category: str = ""


@dataclass(frozen=True)
class AddTag:
    """Put the label last, unless it is there."""

    label: str


@dataclass(frozen=True)
class PrependTag:
    """Put the label first; it moves there if it stands elsewhere."""

    label: str


@dataclass(frozen=True)
class RemoveTag:
    """Take the label away."""

    label: str


@dataclass(frozen=True)
class ReplaceTag:
    """Put one label in the place of another; where both stood, one is left, in the earlier place."""

    old_label: str
    new_label: str


@dataclass(frozen=True)
class DeduplicateTags:
    """Of labels that are alike keep the first; if a person typed one of them, what is kept is manual."""


TagEdit = AddTag | PrependTag | RemoveTag | ReplaceTag | DeduplicateTags


@dataclass(frozen=True)
class TagStat:
    """How often a label stands in a dataset, under its most frequent spelling."""

    label: str
    image_count: int
    manual_count: int


def normal_label(label: str) -> str:
    """What two labels have in common when they are the same one."""
    return " ".join(unicodedata.normalize("NFC", label).replace("_", " ").casefold().split())


def alike(left: str, right: str) -> bool:
    """Whether two spellings are one label."""
    return normal_label(left) == normal_label(right)


def edited(tags: Sequence[Tag], edits: Iterable[TagEdit]) -> tuple[Tag, ...]:
    """The tags after all edits, done in order."""
    result = tuple(tags)
    for edit in edits:
        result = _edited_once(result, edit)
    return result


def tag_stats(images: Iterable[Sequence[Tag]]) -> list[TagStat]:
    """Counts labels over the images' tags: most frequent first, then by alphabet. An image counts a label once."""
    spellings: defaultdict[str, Counter[str]] = defaultdict(Counter)
    having: Counter[str] = Counter()
    manual: Counter[str] = Counter()
    for tags in images:
        for tag in tags:
            spellings[normal_label(tag.label)][tag.label] += 1
        having.update({normal_label(tag.label) for tag in tags})
        manual.update({normal_label(tag.label) for tag in tags if tag.source is TagSource.MANUAL})
    stats = [TagStat(_most_frequent(spelt), having[key], manual[key]) for key, spelt in spellings.items()]
    return sorted(stats, key=lambda stat: (-stat.image_count, normal_label(stat.label)))


def _most_frequent(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda label: (-spellings[label], label))


def _edited_once(tags: tuple[Tag, ...], edit: TagEdit) -> tuple[Tag, ...]:
    match edit:
        case AddTag(label):
            return _added(tags, label)
        case PrependTag(label):
            return (Tag(label), *_without(tags, label))
        case RemoveTag(label):
            return _without(tags, label)
        case ReplaceTag(old_label, new_label):
            return _replaced(tags, old_label, new_label)
        case DeduplicateTags():
            return _deduplicated(tags)


def _added(tags: tuple[Tag, ...], label: str) -> tuple[Tag, ...]:
    if not any(alike(tag.label, label) for tag in tags):
        return (*tags, Tag(label))
    return tuple(
        Tag(tag.label) if alike(tag.label, label) and tag.source is not TagSource.MANUAL else tag for tag in tags
    )


def _without(tags: tuple[Tag, ...], label: str) -> tuple[Tag, ...]:
    return tuple(tag for tag in tags if not alike(tag.label, label))


def _replaced(tags: tuple[Tag, ...], old_label: str, new_label: str) -> tuple[Tag, ...]:
    if not any(alike(tag.label, old_label) for tag in tags):
        return tags
    result: list[Tag] = []
    placed = False
    for tag in tags:
        if not alike(tag.label, old_label) and not alike(tag.label, new_label):
            result.append(tag)
        elif not placed:
            result.append(Tag(new_label))
            placed = True
    return tuple(result)


def _deduplicated(tags: tuple[Tag, ...]) -> tuple[Tag, ...]:
    kept: dict[str, Tag] = {}
    for tag in tags:
        first = kept.setdefault(normal_label(tag.label), tag)
        if tag.source is TagSource.MANUAL and first.source is not TagSource.MANUAL:
            kept[normal_label(tag.label)] = tag
    return tuple(kept.values())
