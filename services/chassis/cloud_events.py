"""The form of our events: CloudEvents in binary mode, on the subjects of NATS.

https://github.com/cloudevents/spec, NATS protocol binding.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from services.chassis.names import EVENT_SUBJECTS

SUBJECT_ROOT = EVENT_SUBJECTS

_NOT_IN_TOKEN = re.compile(r"[\s.*>]")


@dataclass(frozen=True)
class BusEvent:
    """An event as a subscriber sees it. sequence: its place in the stream, what a subscriber resumes after.

    time: as its header says it, RFC 3339. traceparent: of what caused it; "" where its publisher does not say.
    """

    sequence: int
    subject: str
    id: str
    type: str
    source: str
    data: bytes
    time: str = ""
    traceparent: str = ""

    @classmethod
    def of(cls, sequence: int, subject: str, headers: Mapping[str, str], data: bytes) -> BusEvent:
        """The event in a message of the stream; what its headers do not say is empty."""
        said = {name: headers.get(f"ce-{name}", "") for name in ("id", "type", "source", "time", "traceparent")}
        return cls(sequence=sequence, subject=subject, data=data, **said)


def event_subject(project: str, collection: str, id: str, type: str) -> str:
    """`fiveshot.events.v1.{project}.{collection}.{id}.{type}`; ValueError for a part that splits the subject."""
    parts = (project, collection, id, type)
    for part in parts:
        if not part or _NOT_IN_TOKEN.search(part):
            raise ValueError(f"not a subject token: {part!r}")
    return ".".join((SUBJECT_ROOT, *parts))


def event_headers(
    *, id: str, type: str, source: str, project: str, time: datetime | None = None, traceparent: str = ""
) -> dict[str, str]:
    """The headers of an event whose data is JSON. The id is also what NATS drops second copies by.

    project: becomes the CloudEvents subject, by which meters tell whose the event is. time: now where it is None.
    """
    when = (time or datetime.now(UTC)).astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {
        "Nats-Msg-Id": id,
        "ce-specversion": "1.0",
        "ce-id": id,
        "ce-type": type,
        "ce-source": source,
        "ce-subject": project,
        "ce-time": when,
        "content-type": "application/json",
        **({"ce-traceparent": traceparent} if traceparent else {}),
    }
