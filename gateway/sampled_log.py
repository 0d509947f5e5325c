"""A log of what strangers can cause: a few lines a minute, and how many there were."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

_WINDOW_S = 60.0
_LINES = 10


class SampledLog:
    """Writes the first lines of each minute for each reason; the next minute's first line says how many were left out.

    reasons: a small set of constants, because each is remembered.
    """

    def __init__(
        self, log: structlog.stdlib.BoundLogger, event: str, *, lines: int = _LINES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._log = log
        self._event = event
        self._lines = lines
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}

    def note(self, reason: str, **facts: str) -> None:
        """One more of this reason, with the facts of this one."""
        now = self._clock()
        began, count = self._seen.get(reason, (now, 0))
        left_out = 0
        if now - began >= _WINDOW_S:
            left_out, began, count = max(0, count - self._lines), now, 0
        self._seen[reason] = (began, count + 1)
        if count < self._lines:
            more = {"left_out_before": left_out} if left_out else {}
            self._log.info(self._event, reason=reason, **facts, **more)
