"""Where a word stands in a text whole, by the rule by which the dataset service puts trigger words into texts.

What is whole follows the default word boundaries of https://www.unicode.org/reports/tr29/, but an underscore ends a
word, and scripts without spaces have a boundary at every character.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_WITHOUT_SPACES = ("CJK", "HIRAGANA", "IDEOGRAPHIC", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""How the names of their characters begin."""
_JOINERS = "\u200c\u200d"


def composed(text: str) -> str:
    """The text with each letter in one piece with its marks, as tokenizers make it before they look words up."""
    return unicodedata.normalize("NFC", text)


def places_of(word: str, text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each place of `word`, one or several words, in a composed text, in any case of letters."""
    parts = composed(word).split()
    if not parts:
        return
    pattern = re.compile(r"\s+".join(re.escape(part) for part in parts), re.IGNORECASE)
    at = 0
    while (found := pattern.search(text, at)) is not None:
        whole = _ends_a_word(text, found.start()) and _ends_a_word(text, found.end())
        if whole:
            yield found.span()
        at = found.end() if whole else found.start() + 1


def has_word(text: str, word: str) -> bool:
    """Whether the word stands in the text."""
    return next(places_of(word, composed(text)), None) is not None


def replaced(text: str, word: str, instead: str) -> str:
    """The composed text with `instead` in each place of the word. Where `instead` follows already, the word goes."""
    text = composed(text)
    pieces, at = [], 0
    for begin, end in places_of(word, text):
        pieces += [text[at:begin], instead]
        rest = text[end:].lstrip()
        first = next(places_of(instead, rest), None)
        at = len(text) - len(rest) + first[1] if first is not None and first[0] == 0 else end
    return "".join([*pieces, text[at:]])


def _ends_a_word(text: str, at: int) -> bool:
    if at in (0, len(text)):
        return True
    if unicodedata.category(text[at]).startswith("M"):
        return False
    kind = _kind(text[at - 1])
    return not kind or kind != _kind(text[at])


def _kind(letter: str) -> str:
    """What a letter makes words with; "" for one that stands for itself."""
    if letter in _JOINERS:
        return "letters"
    if unicodedata.category(letter)[0] not in "LMN":
        return ""
    name = unicodedata.name(letter, "").removeprefix("HALFWIDTH ")
    if name.startswith("KATAKANA"):
        return "katakana"
    return "" if name.startswith(_WITHOUT_SPACES) else "letters"
