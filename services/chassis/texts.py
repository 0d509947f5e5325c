"""Characters that no text of a caller's may hold, because nobody sees them and something obeys them.

Control characters move a terminal's cursor or end a database's text, marks of direction make `gpj.exe` look like
`exe.jpg`, and half of a surrogate pair is no text at all. Joiners, variation selectors and the marks of right-to-left
writing (U+200E, U+200F) belong to words and emoji and stay.
"""

from __future__ import annotations

import re
import unicodedata

_CONTROLS = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
_DIRECTIONS = r"\u202a-\u202e\u2066-\u2069"
_HIDDEN = re.compile(rf"[{_CONTROLS}{_DIRECTIONS}\ud800-\udfff]")
_CONTROL = re.compile(rf"[{_CONTROLS}]")
_BLANK = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp", "Mn", "Me"))


def hidden_in(text: str, *, directions: bool = True) -> str:
    """The first such character as people name it, `U+202E`; "" where there is none. Line breaks and tabs are none.

    directions: marks that turn the reading direction round count as well.
    """
    found = (_HIDDEN if directions else _CONTROL).search(text)
    return f"U+{ord(found.group()):04X}" if found else ""


def can_be_seen(text: str) -> bool:
    """Whether anything of the text is seen: U+200B alone, or a mark with no letter below it, is not."""
    return any(unicodedata.category(letter) not in _BLANK for letter in text)


def shown(text: str) -> str:
    """The text with each such character spelt, `\\u001b`, so that it can be sent and printed anywhere."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)
