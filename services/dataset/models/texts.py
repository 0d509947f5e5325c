"""The text that training reads of a picture. This is the only place that adds a trigger word; an engine trains the
text as it is, and at most shuffles its parts or drops it.
"""

from __future__ import annotations

from services.chassis.words import has_word
from services.dataset.models.resources import DatasetFields, ImageFields, TextFrom

SEPARATOR = ", "


def training_text(fields: ImageFields, dataset: DatasetFields) -> str:
    """The final text of a picture: its caption, its tags joined with ", ", or both, as the dataset's text_from says,
    with the dataset's trigger word in it.

    Where there is none of them it is trigger word and subject: `sks gray cat`; without these too it is empty. Applied
    to its own result, as a caption that is trained, the rule changes nothing.
    """
    text, subject = own_text(fields, dataset.text_from), dataset.subject.strip()
    trigger = dataset.trigger_word.strip()
    if not text and subject:
        return subject if not trigger or has_word(subject, trigger) else f"{trigger} {subject}"
    return with_trigger(text, trigger)


def own_text(fields: ImageFields, text_from: TextFrom) -> str:
    """The text without a trigger word. Of caption and tags together, tags that stand in the caption are left out."""
    caption, labels = fields.caption.strip(), [tag.label for tag in fields.tags]
    match text_from:
        case TextFrom.CAPTION:
            return caption
        case TextFrom.TAGS:
            return SEPARATOR.join(labels)
        case TextFrom.CAPTION_AND_TAGS:
            rest = [label for label in labels if not has_word(caption, label.replace("_", " "))]
            parts = [caption.rstrip(" .,;") if rest else caption, *rest]
            return SEPARATOR.join(part for part in parts if part)
        case TextFrom.CAPTION_OR_TAGS:
            return caption or SEPARATOR.join(labels)


def with_trigger(text: str, trigger_word: str) -> str:
    """The text with the trigger word in front, unless it already stands there (see `has_word`).

    Applied to its own result it changes nothing.
    """
    trigger = trigger_word.strip()
    if not trigger or has_word(text, trigger):
        return text
    return f"{trigger}{SEPARATOR}{text}" if text else trigger
