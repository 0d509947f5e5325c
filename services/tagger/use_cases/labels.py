"""How labels are compared: case is ignored and an underscore equals a space, except in faces such as `>_<`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_TWO_LETTERS = re.compile(r"[^\W\d_]{2}")
_MAX_FACE = 9


def is_face(label: str) -> bool:
    """Whether the label is an emoticon, whose underscore is a mouth: `^_^`, `o_o`, `||_||`, `<|>_<|>`.

    No list of faces is kept: a short label with an underscore and nowhere two letters in a row is no word.
    """
    return "_" in label and len(label) <= _MAX_FACE and not _TWO_LETTERS.search(label)


def readable(label: str) -> str:
    """The label as people write it: spaces instead of underscores, single and trimmed; faces stay as they are."""
    text = label.strip()
    return text if is_face(text) else " ".join(text.replace("_", " ").split())


def key(label: str) -> str:
    """Equal for labels that mean the same."""
    return readable(label).casefold()


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """A test whether a label fits any pattern; `*` stands for any text, also none.

    A pattern that is itself a face (`*_*`) stands for that face only.
    """
    exact: set[str] = set()
    globs: list[str] = []
    for pattern in patterns:
        if "*" in pattern and not is_face(pattern):
            globs.append(".*".join(re.escape(part) for part in _glob_key(pattern).split("*")))
        else:
            exact.add(key(pattern))
    compiled = re.compile("|".join(f"(?:{glob})" for glob in globs)) if globs else None

    def fits(label: str) -> bool:
        normal = key(label)
        return normal in exact or (compiled is not None and compiled.fullmatch(normal) is not None)

    return fits


def contains_words(longer: str, shorter: str) -> bool:
    """Whether all words of `shorter` stand side by side in `longer`, which has more words."""
    many, few = key(longer).split(), key(shorter).split()
    if len(few) >= len(many):
        return False
    return any(many[start : start + len(few)] == few for start in range(len(many) - len(few) + 1))


def _glob_key(pattern: str) -> str:
    """As `key`, but blanks beside a star stay: `red *` must not fit `redwood`."""
    return re.sub(r"\s+", " ", pattern.replace("_", " ")).casefold()
