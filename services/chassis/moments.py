"""Times and durations in a message that are none: out of range, or with nanoseconds that make no sense."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

_TIMES = "must be a time of the years 1 to 9999, with 0 to 999,999,999 nanoseconds"
_DURATIONS = "must be a duration of at most 10,000 years, with nanoseconds of the same sign below a second"
# google/protobuf/timestamp.proto and duration.proto: what their seconds may be.
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
_LONGEST_SECONDS = 315_576_000_000
_NANOS = 1_000_000_000


def impossible_moments(message: Message, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Path and fault of each google.protobuf.Timestamp and Duration in the message, nested or not, that is invalid."""
    if not _may_hold(message.DESCRIPTOR):
        return
    for field, value in message.ListFields():
        entry = field.message_type
        if entry is None or not _holds(field):
            continue
        path = f"{prefix}{field.name}"
        if entry.GetOptions().map_entry:
            found = [(f"{path}[{key}]", item) for key, item in value.items()]
        elif field.is_repeated:
            found = [(f"{path}[{place}]", item) for place, item in enumerate(value)]
        else:
            found = [(path, value)]
        for place, item in found:
            if isinstance(item, Timestamp):
                if not (_FIRST_SECOND <= item.seconds <= _LAST_SECOND and 0 <= item.nanos < _NANOS):
                    yield place, _TIMES
            elif isinstance(item, Duration):
                same = item.seconds == 0 or item.nanos == 0 or (item.seconds > 0) is (item.nanos > 0)
                if not (abs(item.seconds) <= _LONGEST_SECONDS and abs(item.nanos) < _NANOS and same):
                    yield place, _DURATIONS
            else:
                yield from impossible_moments(item, f"{place}.")


def _holds(field: FieldDescriptor) -> bool:
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        entry = entry.fields_by_name["value"].message_type
    return entry is not None and (_is_moment(entry) or _may_hold(entry))


def _is_moment(kind: Descriptor) -> bool:
    return kind.full_name in (Timestamp.DESCRIPTOR.full_name, Duration.DESCRIPTOR.full_name)


@cache
def _may_hold(kind: Descriptor) -> bool:
    """Whether a message of this kind can have one in it: most have none, and need no look."""
    seen, waiting = {kind.full_name}, [kind]
    while waiting:
        for field in waiting.pop().fields:
            inner = field.message_type
            if inner is None or inner.full_name in seen:
                continue
            if _is_moment(inner):
                return True
            seen.add(inner.full_name)
            waiting.append(inner)
    return False
