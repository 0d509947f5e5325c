"""The parts of a run as spans of its attempt: start, encoding, training, sampling, evaluation, epoch end.

A run counts its time step by step; what belongs to one part without a break becomes one span, so that an epoch has a
handful of them and not one a step.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from services.chassis import tracing

_SHORTEST = timedelta(milliseconds=1)


class RunParts:
    """Told of time as it is counted, on the thread that trains. parent: traceparent of the attempt."""

    def __init__(self, parent: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._parent = parent
        self._clock = clock
        self._part = ""
        self._since = self._until = clock()

    def spent(self, part: str, seconds: float) -> None:
        """Takes the time of a part that ends now."""
        until = self._clock()
        if part != self._part:
            self.end()
            self._part, self._since = part, until - timedelta(seconds=seconds)
        self._until = until

    def end(self) -> None:
        """Records the part at hand; nothing more of it comes."""
        if self._part and self._until - self._since >= _SHORTEST:
            tracing.passed(self._part, parent=self._parent, since=self._since, until=self._until)
        self._part = ""
