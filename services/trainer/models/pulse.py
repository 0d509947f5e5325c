"""How often workers report: as often as a replica can bear. Pure.

A report costs a replica one to two milliseconds of processor time, whoever sends it. Few workers report twice a second,
which makes a smooth progress bar; with many the pauses grow, so that together they send no more than a replica takes.
"""

from __future__ import annotations

from datetime import datetime, timedelta

SHORTEST = timedelta(milliseconds=500)
"""Progress is told no more often anyway."""
SHARE_OF_LEASE = 3
"""So many reports fall into a lease at the least: two may be lost, and the job is still its worker's."""
SHORTEST_LEASE = SHORTEST * SHARE_OF_LEASE
WINDOW = timedelta(seconds=15)
"""Of two such windows the fuller says how many workers report here; none is longer silent than that while it works."""


class Pulse:
    """Counts the workers that report to this replica, and says how long each should wait before its next report.

    most_per_second: reports that the replica should get of all of them together.
    """

    def __init__(self, lease: timedelta, *, most_per_second: float) -> None:
        self._longest = max(SHORTEST, min(WINDOW, lease / SHARE_OF_LEASE))
        self._most_per_second = most_per_second
        self._begun: datetime | None = None
        self._before: set[str] = set()
        self._now: set[str] = set()

    def beat(self, token: str, now: datetime) -> timedelta:
        """Takes note of a worker by the token of its lease; the pause that it should make."""
        if self._begun is None or not timedelta() <= now - self._begun < WINDOW:
            passed_over = self._begun is None or now - self._begun >= 2 * WINDOW
            self._before = set() if passed_over else self._now
            self._begun, self._now = now, set()
        self._now.add(token)
        return self.interval

    @property
    def workers(self) -> int:
        """Those that report here."""
        return max(len(self._before), len(self._now))

    @property
    def interval(self) -> timedelta:
        """Between two reports of one worker."""
        wanted = timedelta(seconds=self.workers / self._most_per_second)
        return min(max(wanted, SHORTEST), self._longest)
