"""Predictions meet the tags that an image has. A manual tag always wins and keeps its place. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.tagger.models.pictures import Score
from services.tagger.models.tags import MAX_TAGS_PER_IMAGE, ImageRecord, Tag, TagMode, TagOptions, TagSource
from services.tagger.use_cases.labels import key


@dataclass(frozen=True)
class Merge:
    """The tags that an image should have, and what differs from those it has, as labels in order."""

    tags: tuple[Tag, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: bool


def to_skip(existing: Sequence[Tag], mode: TagMode) -> bool:
    """Whether the mode leaves an image with these tags alone, so that its pixels need not be read."""
    return mode == TagMode.SKIP and bool(existing)


def keeps_caption(record: ImageRecord, mode: TagMode) -> bool:
    """Whether the mode leaves the image's caption alone. A person's caption is always left alone."""
    return bool(record.caption) and (mode != TagMode.OVERWRITE_AUTO or record.caption_origin is None)


def merge(existing: Sequence[Tag], scores: Sequence[Score], options: TagOptions, words: Sequence[str] = ()) -> Merge:
    """Existing tags and predictions as one list: leading labels, then what stays in its order, then what is new.

    scores: what `predictions` kept, best first. words: of the dataset, its trigger word and subject; used
    when the options ask for them. Leading labels are manual tags and move to the front when they stand elsewhere. At
    most MAX_TAGS_PER_IMAGE tags result; the weakest new ones give way.
    """
    if to_skip(existing, options.mode):
        return Merge(tuple(existing), (), (), False)
    new = {key(score.label): _tag(score) for score in scores}
    leading = _leading(existing, options, words)
    led = {key(tag.label) for tag in leading}
    staying = [tag for tag in _staying(existing, new, options.mode) if key(tag.label) not in led]
    taken = led | {key(tag.label) for tag in staying}
    room = max(0, MAX_TAGS_PER_IMAGE - len(leading) - len(staying))
    appended = [tag for label, tag in new.items() if label not in taken][:room]
    tags = (*leading, *staying, *appended)
    before = {key(tag.label) for tag in existing}
    after = {key(tag.label) for tag in tags}
    return Merge(
        tags=tags,
        added=tuple(tag.label for tag in tags if key(tag.label) not in before),
        removed=tuple(tag.label for tag in existing if key(tag.label) not in after),
        changed=tags != tuple(existing),
    )


def _leading(existing: Sequence[Tag], options: TagOptions, words: Sequence[str]) -> list[Tag]:
    labels = [*(words if options.prepend_trigger_word else ()), *options.prepend]
    manual = {key(tag.label): tag for tag in existing if tag.source == TagSource.MANUAL}
    # A person's own spelling of a leading label is kept.
    return list({key(label): manual.get(key(label), Tag(label)) for label in labels}.values())


def _staying(existing: Sequence[Tag], new: dict[str, Tag], mode: TagMode) -> list[Tag]:
    if mode != TagMode.OVERWRITE_AUTO:
        return list(existing)
    staying: list[Tag] = []
    for tag in existing:
        fresh = new.get(key(tag.label))
        if tag.source == TagSource.MANUAL:
            staying.append(tag)
        elif fresh is not None:
            # Found again: its place stays, its score is today's.
            staying.append(replace(fresh, label=tag.label))
    return staying


def _tag(score: Score) -> Tag:
    return Tag(
        label=score.label,
        source=TagSource.MEASURED if score.measured else TagSource.AUTO,
        # Stored as a 32-bit float: rounded, a score that was read back equals the one that is computed again.
        score=round(score.score, 4),
        tagger=score.tagger,
        model_sha256=score.model_sha256,
        category=score.category,
    )
