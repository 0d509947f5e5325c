"""Texts that are too long, cut to what is read: tags go first, from the last one on, then the caption's end. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.words import has_word
from services.trainer.models.base import TextSource, TrainingImage
from services.trainer.recipe.captions import about_tokens

_JOINED = ", "
_STOPS = " \t\n,.;:!?、，。；：！？"


@dataclass(frozen=True, slots=True)
class ShorterText:
    """What to change of an image. caption: None for as it is. tags: the places of those that stay; None for all."""

    caption: str | None = None
    tags: tuple[int, ...] | None = None


def shorter_text(image: TrainingImage, limit: int, trigger_word: str = "") -> ShorterText:
    """How the text of an image of a live set comes to about so many tokens or fewer."""
    text, left = image.caption, list(range(len(image.tags)))
    if image.text_source in (TextSource.TAGS, TextSource.CAPTION_AND_TAGS):
        for place in reversed(range(len(image.tags))):
            if about_tokens(text) <= limit:
                break
            rest = _without_last(text, image.tags[place])
            # One that stands in the caption is no part of the end, and takes nothing away.
            if rest is not None:
                text = rest
                left.remove(place)
    tags = tuple(left) if len(left) < len(image.tags) else None
    if about_tokens(text) <= limit or image.text_source is TextSource.TAGS:
        return ShorterText(tags=tags)
    cut = cut_to(text, limit)
    if trigger_word and not has_word(cut, trigger_word):
        # The dataset service puts it in front again.
        cut = cut_to(text, limit - about_tokens(f"{trigger_word}{_JOINED}"))
    return ShorterText(cut, tags)


def cut_to(text: str, limit: int) -> str:
    """The beginning of a text with about so many tokens or fewer, up to the end of a word where it has words."""
    least, most = 0, len(text)
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if about_tokens(text[:middle]) <= limit else (least, middle - 1)
    if least == len(text):
        return text
    end = max((text.rfind(stop, 0, least + 1) for stop in _STOPS), default=-1)
    # A script without spaces has no end of a word to go back to.
    return text[: end if 2 * end > least else least].rstrip(_STOPS)


def _without_last(text: str, label: str) -> str | None:
    """The text without this tag at its end; None where it does not end so."""
    if text == label:
        return ""
    return text.removesuffix(f"{_JOINED}{label}") if text.endswith(f"{_JOINED}{label}") else None
