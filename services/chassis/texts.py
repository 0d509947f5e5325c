"""Characters that no text of a caller's may hold, because nobody sees them and something obeys them.

Control characters move a terminal's cursor or end a database's text, marks of direction make `gpj.exe` look like
`exe.jpg`, a carriage return alone lets the end of a line cover its beginning, tag characters spell words that a model
reads and nobody sees, and half of a surrogate pair is no text at all. Joiners, variation selectors, the marks of
right-to-left writing (U+200E, U+200F) and the tags behind a black flag belong to words and emoji and stay.
"""

from __future__ import annotations

import re
import unicodedata

_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_DIRECTIONS = r"\u202a-\u202e\u2066-\u2069"
_UNSEEN = r"\u2028\u2029\u206a-\u206f\ufff9-\ufffb"
_TAG = r"(?<![\U0001F3F4\U000E0020-\U000E007F])[\U000E0000-\U000E007F]"
_HIDDEN = re.compile(rf"[{_CONTROLS}{_DIRECTIONS}{_UNSEEN}\ud800-\udfff]|\r(?!\n)|{_TAG}")
_BREAK = re.compile(r"[\t\n\r]")
_CONTROL = re.compile(rf"[{_CONTROLS}]")
_BLANK = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me"))


def hidden_in(text: str, *, directions: bool = True) -> str:
    """The first such character as people name it, `U+202E`; "" where there is none. Line breaks (`\\n`, `\\r\\n`) and
    tabs are none.

    directions: what was taken by earlier releases, such as marks that turn the reading direction round, counts as well.
    """
    found = (_HIDDEN if directions else _CONTROL).search(text)
    return f"U+{ord(found.group()):04X}" if found else ""


def can_be_seen(text: str) -> bool:
    """Whether anything of the text is seen: U+200B alone, or a mark with no letter below it, is not."""
    return any(unicodedata.category(letter) not in _BLANK for letter in text)


def shown(text: str) -> str:
    """The text with each such character spelt, `\\u001b`, so that it can be sent and printed anywhere."""
    return _HIDDEN.sub(lambda found: _spelt(ord(found.group())), text)


def _spelt(number: int) -> str:
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def line_break_in(text: str) -> str:
    """The first line break or tab of what should be one line, as `hidden_in` names it; "" where there is none."""
    found = _BREAK.search(text)
    return f"U+{ord(found.group()):04X}" if found else ""
