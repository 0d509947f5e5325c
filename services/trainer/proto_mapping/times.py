"""Moments and spans."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp


def to_timestamp(moment: datetime) -> Timestamp:
    """An aware datetime as a proto timestamp."""
    stamp = Timestamp()
    stamp.FromDatetime(moment.astimezone(UTC).replace(tzinfo=None))
    return stamp


def from_timestamp(stamp: Timestamp) -> datetime:
    """A proto timestamp as an aware datetime in UTC."""
    return stamp.ToDatetime(tzinfo=UTC)
