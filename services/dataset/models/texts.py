"""The text that training reads of a picture. This is the only place that adds a trigger word; an engine trains the
text as it is, and at most shuffles its parts or drops it.
"""

from __future__ import annotations

import re
import unicodedata

from services.dataset.models.resources import DatasetFields, ImageFields, TextFrom

SEPARATOR = ", "
_UNSPACED = ("CJK", "HIRAGANA", "IDEOGRAPHIC", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts that set no space between words, as the names of their characters begin."""
_JOINERS = "\u200c\u200d"


def training_text(fields: ImageFields, dataset: DatasetFields) -> str:
    """The final text of a picture: its caption, its tags joined with ", ", or both, as the dataset's text_from says,
    with the dataset's trigger word in it.

    Where there is none of them it is trigger word and subject: `sks gray cat`; without these too it is empty. Applied
    to its own result, as a caption that is trained, the rule changes nothing.
    """
    text, subject = own_text(fields, dataset.text_from), dataset.subject.strip()
    trigger = dataset.trigger_word.strip()
    if not text and subject:
        return subject if not trigger or stands_in(trigger, subject) else f"{trigger} {subject}"
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
            rest = [label for label in labels if not stands_in(label.replace("_", " "), caption)]
            parts = [caption.rstrip(" .,;") if rest else caption, *rest]
            return SEPARATOR.join(part for part in parts if part)
        case TextFrom.CAPTION_OR_TAGS:
            return caption or SEPARATOR.join(labels)


def with_trigger(text: str, trigger_word: str) -> str:
    """The text with the trigger word in front, unless it already stands there (see `stands_in`).

    Applied to its own result it changes nothing.
    """
    trigger = trigger_word.strip()
    if not trigger or stands_in(trigger, text):
        return text
    return f"{trigger}{SEPARATOR}{text}" if text else trigger


def stands_in(word: str, text: str) -> bool:
    """Whether `word` (one or several words) stands in `text` whole, in any case of letters, next to anything.

    Words end as in Unicode's default word boundaries (UAX 29): a letter, a digit and the marks on them belong to one
    word; scripts without spaces end a word at every character but inside a run of katakana. Punctuation, the apostrophe
    and underscore included, always ends one, as it does for tokenizers of text encoders.
    """
    wanted, found = _folded(word).split(), _folded(text)
    if not wanted:
        return False
    pattern = re.compile(r"\s+".join(re.escape(part) for part in wanted))
    match = pattern.search(found)
    while match is not None:
        if _is_boundary(found, match.start()) and _is_boundary(found, match.end()):
            return True
        match = pattern.search(found, match.start() + 1)
    return False


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def _is_boundary(text: str, at: int) -> bool:
    if at in (0, len(text)):
        return True
    before, after = text[at - 1], text[at]
    if unicodedata.category(after).startswith("M"):
        return False
    run = _run(before)
    return not run or run != _run(after)


def _run(character: str) -> str:
    """What a character forms words with; "" for one that stands alone."""
    if character in _JOINERS:
        return "letters"
    if unicodedata.category(character)[0] not in "LMN":
        return ""
    name = unicodedata.name(character, "").removeprefix("HALFWIDTH ")
    if name.startswith("KATAKANA"):
        return "katakana"
    return "" if name.startswith(_UNSPACED) else "letters"
