"""The text of one sample: parts of a picture's final text shuffled, or all of it dropped. Nothing is ever added."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass

from services.chassis.words import composed, places_of
from services.trainer.recipe.parameters import TrainingParameters

SEPARATOR = ", "
_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+")
"""As CLIP's tokenizer splits a text before it looks words up: letters, single digits, runs of anything else."""
_LETTERS_A_TOKEN = 8
"""Longer words are seldom in a vocabulary whole."""


@dataclass(frozen=True, slots=True)
class CaptionLengths:
    """Captions of which a base model takes only a part.

    too_long: how many. longest, limit: tokens of a caption, without those that begin and end it; counted as
    ``about_tokens`` does, while the encoder's own tokenizer decides what is cut.
    """

    too_long: int
    longest: int
    limit: int


def caption_lengths(captions: Iterable[str], limit: int) -> CaptionLengths:
    """How many captions are longer than the limit, and the longest."""
    lengths = [about_tokens(caption) for caption in captions]
    return CaptionLengths(sum(length > limit for length in lengths), max(lengths, default=0), limit)


def about_tokens(caption: str) -> int:
    """Tokens of a text, about: the control plane has no base model's vocabulary at hand.

    A letter beyond ASCII counts for itself: scripts without words are spelt in bytes.
    """
    pieces = _PIECES.findall(caption)
    return sum(-(-len(piece) // _LETTERS_A_TOKEN) if piece.isascii() else len(piece) for piece in pieces)


def parts_of(caption: str) -> list[str]:
    """The comma-separated parts of a text, in its order."""
    return [part.strip() for part in caption.split(",") if part.strip()]


def preserved_caption(caption: str, trigger_word: str, instead: str) -> str:
    """A final text without its trigger word, on which the base model is preserved. instead: what stands in its place.

    ``sks dog on a beach`` becomes ``dog on a beach`` with ``dog`` instead as without it.
    """
    if not trigger_word:
        return caption
    return SEPARATOR.join(parts_of(re.sub(r"\s+", " ", _replaced(caption, trigger_word, instead))))


def _replaced(text: str, word: str, instead: str) -> str:
    """The composed text with `instead` in each place of the word. Where `instead` follows already, the word goes."""
    text = composed(text)
    pieces, at = [], 0
    for begin, end in places_of(word, text):
        pieces += [text[at:begin], instead]
        rest = text[end:].lstrip()
        first = next(places_of(instead, rest), None)
        at = len(text) - len(rest) + first[1] if first is not None and first[0] == 0 else end
    return "".join([*pieces, text[at:]])


def sample_caption(caption: str, parameters: TrainingParameters, draw: random.Random) -> str:
    """The caption of one sample: empty with the chance of dropout, else its parts shuffled on request."""
    if draw.random() < parameters.caption_dropout:
        return ""
    if not parameters.shuffle_caption:
        return caption
    parts = parts_of(caption)
    kept, moving = parts[: parameters.keep_tokens], parts[parameters.keep_tokens :]
    draw.shuffle(moving)
    return SEPARATOR.join(kept + moving)
