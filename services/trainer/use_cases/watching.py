"""WatchTrainingJob: a snapshot, the events after it, and on live until the job has ended.

The event log numbers a job's events without gaps, and a resume token holds the number seen last; so a client that
reconnects misses nothing and sees nothing twice, whichever replica answers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from services.chassis.errors import InvalidArgument
from services.chassis.signals import Signals, wait
from services.trainer.models.events import StoredEvent
from services.trainer.models.job import TERMINAL
from services.trainer.ports import JobStore
from services.trainer.use_cases.reading import JobReading, JobView

LOOK_AGAIN_S = 1.0
"""Changes that another process made are seen after at most so long."""
SHARED_LOOK_AGAIN_S = 10.0
"""The same while other processes tell of their changes, one of which may get lost."""
_BATCH = 200


@dataclass(frozen=True, slots=True)
class WatchItem:
    """A message: the job as it was at the start, or an event. token: resumes after this message."""

    token: str
    snapshot: JobView | None = None
    event: StoredEvent | None = None


class JobWatch:
    """Follows jobs."""

    def __init__(self, store: JobStore, signals: Signals, reading: JobReading) -> None:
        self._store = store
        self._signals = signals
        self._reading = reading

    async def watch(self, name: str, resume_token: str = "", *, from_start: bool = False) -> AsyncIterator[WatchItem]:
        """Everything after the token, or from the first event, or a snapshot and what follows.

        NotFound; InvalidArgument for the token.
        """
        if resume_token and from_start:
            raise InvalidArgument(
                "A watch begins either at its token or at the start",
                field="from_start",
                reason="WATCH_START_AMBIGUOUS",
                remedy="Leave resume_token empty, or from_start false.",
            )
        job, newest = await self._store.snapshot(name)
        seen = _sequence(resume_token, name, newest) if resume_token else 0 if from_start else newest
        if not resume_token and not from_start:
            yield WatchItem(_token(name, seen), snapshot=await self._reading.view(job))
        while True:
            changed = self._signals.next(name)
            # Of thousands who look, few find something new; so they ask for what costs least.
            state, newest = await self._store.standing(name)
            if newest > seen:
                for event in await self._store.events(name, after=seen, limit=_BATCH):
                    seen = event.sequence
                    yield WatchItem(_token(name, seen), event=event)
                if seen != newest:
                    continue
            # Not trusted from the events: a retry may have followed the end.
            if state in TERMINAL:
                return
            await wait(changed, SHARED_LOOK_AGAIN_S if self._signals.shared else LOOK_AGAIN_S)


def _token(name: str, sequence: int) -> str:
    return base64.urlsafe_b64encode(f"1.{sequence}.{_mark(name)}".encode()).decode().rstrip("=")


def _sequence(token: str, name: str, newest: int) -> int:
    """The number in a token of this job."""
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise _wrong_token("The resume token is damaged") from error
    found = re.fullmatch(r"1\.([0-9]{1,18})\.([0-9a-f]{8})", text)
    if not found:
        raise _wrong_token("The resume token is damaged")
    if found.group(2) != _mark(name):
        raise _wrong_token("The resume token belongs to another job")
    sequence = int(found.group(1))
    if sequence > newest:
        raise _wrong_token("The resume token is ahead of the job's events")
    return sequence


def _mark(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _wrong_token(message: str) -> InvalidArgument:
    return InvalidArgument(
        message,
        field="resume_token",
        reason="RESUME_TOKEN_INVALID",
        remedy="Watch without a token to begin with a snapshot.",
    )
