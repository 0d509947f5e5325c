"""Whether the numbers of a file are numbers, looked at as its bytes pass."""

from __future__ import annotations

from collections.abc import Sequence

_EXPONENTS = {"F16": (2, 0x7C00), "BF16": (2, 0x7F80), "F32": (4, 0x7F800000), "F64": (8, 0x7FF0000000000000)}
"""Bytes of a number, and the bits that are all set in what is infinite or not a number (IEEE 754)."""

Place = tuple[int, int, str, str]
"""Where a tensor begins and ends in the file, its type and its name."""


class Finite:
    """Told the tensors' places, in their order, and then every byte of the file once."""

    def __init__(self, places: Sequence[Place]) -> None:
        self._places = [place for place in places if place[2] in _EXPONENTS and place[1] > place[0]]
        self._next = 0
        self._at = 0
        self._rest = b""

    def look(self, piece: bytes) -> str | None:
        """The name of a tensor that holds what is no number; None while there is none."""
        import numpy as np

        data, start = self._rest + piece, self._at - len(self._rest)
        self._at += len(piece)
        kept = len(data)
        while self._next < len(self._places) and self._places[self._next][0] < self._at:
            begin, end, kind, name = self._places[self._next]
            width, exponent = _EXPONENTS[kind]
            first, last = max(begin, start) - start, min(end, self._at) - start
            whole = first + (last - first) // width * width
            bits = np.frombuffer(data, f"<u{width}", (whole - first) // width, first)
            if bool(((bits & exponent) == exponent).any()):
                return name
            if end > self._at:
                # The rest of a number that is cut comes with the next piece.
                kept = whole
                break
            self._next += 1
        self._rest = data[kept:]
        return None
