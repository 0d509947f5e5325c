"""Where a word stands in a text whole. The one rule by which a trigger word is put into a text, found and taken out.

Words end as in Unicode's default word boundaries (https://www.unicode.org/reports/tr29/): a letter, a digit and the
marks on them belong to one word; scripts without spaces end a word at every character but inside a run of katakana.
Punctuation, the apostrophe and underscore included, always ends one, as it does for tokenizers of text encoders.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

_UNSPACED = ("CJK", "HIRAGANA", "IDEOGRAPHIC", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN")
"""Scripts that set no space between words, as the names of their characters begin."""
_JOINERS = "\u200c\u200d"


def composed(text: str) -> str:
    """The text with each letter in one piece with its marks, as tokenizers make it before they look words up."""
    return unicodedata.normalize("NFC", text)


def has_word(text: str, word: str) -> bool:
    """Whether `word`, one or several words, stands in the text whole, in any case of letters, next to anything."""
    return next(places_of(word, composed(text)), None) is not None


def places_of(word: str, text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each place where `word` stands in a composed text; see `has_word`."""
    parts = composed(word).casefold().split()
    if not parts:
        return
    pattern = re.compile(r"\s+".join(re.escape(part) for part in parts))
    folded = text.casefold()
    # A letter may fold into several: ß into ss.
    origin = None if len(folded) == len(text) else [at for at, letter in enumerate(text) for _ in letter.casefold()]
    at = 0
    while (found := pattern.search(folded, at)) is not None:
        whole = _ends_a_word(folded, found.start()) and _ends_a_word(folded, found.end())
        if whole:
            begin, end = found.span()
            yield (begin, end) if origin is None else (origin[begin], origin[end - 1] + 1)
        at = found.end() if whole else found.start() + 1


def _ends_a_word(text: str, at: int) -> bool:
    if at in (0, len(text)):
        return True
    if unicodedata.category(text[at]).startswith("M"):
        return False
    run = _run(text[at - 1])
    return not run or run != _run(text[at])


def _run(letter: str) -> str:
    """What a letter forms words with; "" for one that stands alone."""
    if letter in _JOINERS:
        return "letters"
    if unicodedata.category(letter)[0] not in "LMN":
        return ""
    name = unicodedata.name(letter, "").removeprefix("HALFWIDTH ")
    if name.startswith("KATAKANA"):
        return "katakana"
    return "" if name.startswith(_UNSPACED) else "letters"
