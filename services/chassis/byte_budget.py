"""A budget of bytes in flight: for a whole process, and within it for each project.

What callers send is held in memory until it is stored; without a budget a burst from one of them takes all of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from services.chassis import telemetry
from services.chassis.errors import QuotaViolation, ResourceExhausted

REFUSALS = telemetry.counter(
    "fiveshot_in_flight_refusals_total", "Calls refused for the bytes in flight, by whose budget they met.", ("budget",)
)
for _whose in ("project", "service"):
    REFUSALS.labels(_whose)
IN_FLIGHT = telemetry.gauge("fiveshot_in_flight_bytes", "Bytes of callers that are held in memory now.")
_RETRY_AFTER_S = 1.0
MIB = 1024 * 1024


@dataclass
class Held:
    """What one call holds. It grows with the call and is given back at its end."""

    _budget: ByteBudget
    _project: str
    size: int = 0

    def at_least(self, size: int) -> None:
        """Makes it hold `size` bytes or more. Raises ResourceExhausted(BYTES_IN_FLIGHT), and holds what it held."""
        if size > self.size:
            self._budget._take(self._project, size - self.size)
            self.size = size


class ByteBudget:
    """total: bytes for all callers. per_project: bytes for each project, at most `total`. For one event loop."""

    def __init__(self, *, total: int, per_project: int) -> None:
        self._total = total
        self._per_project = min(per_project, total)
        self._used: Counter[str] = Counter()
        self._in_all = 0

    @property
    def in_flight(self) -> int:
        """Bytes held now."""
        return self._in_all

    @contextmanager
    def holding(self, project: str) -> Iterator[Held]:
        """The bytes of one call; nothing yet."""
        held = Held(self, project)
        try:
            yield held
        finally:
            self._in_all -= held.size
            IN_FLIGHT.dec(held.size)
            self._used[project] -= held.size
            if not self._used[project]:
                del self._used[project]

    def _take(self, project: str, size: int) -> None:
        if self._used[project] + size > self._per_project:
            raise _used_up(f"projects/{project}", "project", self._used[project], self._per_project)
        if self._in_all + size > self._total:
            # How much others send is none of this caller's business.
            raise _used_up("process", "service", None, self._total)
        self._used[project] += size
        self._in_all += size
        IN_FLIGHT.inc(size)


def _used_up(subject: str, whose: str, used: int | None, limit: int) -> ResourceExhausted:
    REFUSALS.labels(whose).inc()
    use = "" if used is None else f", {used / MIB:.1f} MiB of them in use"
    return ResourceExhausted(
        f"Too much is being sent to this {whose} at once: {limit / MIB:g} MiB may be in flight{use}",
        reason="BYTES_IN_FLIGHT",
        remedy="Send fewer pictures at a time, and this one again in a moment.",
        metadata={"limit_bytes": str(limit)},
        retry_after_s=_RETRY_AFTER_S,
        quotas=[QuotaViolation(subject, f"bytes in flight: {limit} allowed{use}")],
    )
