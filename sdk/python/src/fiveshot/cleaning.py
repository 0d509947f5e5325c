"""What a clean-up deletes, or would delete."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from fiveshot.errors import InvalidArgument
from fiveshot.trainer.v1 import training_service_pb2 as training_api

_MOST_DAYS = 3650


@dataclass(frozen=True)
class CleanedUp:
    """One kind of things.

    kind: `epochs`, `unsuccessful-jobs` or `successful-jobs`. size_bytes: of their files. oldest: when the job ended
    that ended first of them; None when there is none. lifetime: from the end of the job on; None for ever. message: as
    the API has it.
    """

    kind: str
    count: int
    size_bytes: int
    oldest: datetime | None
    lifetime: timedelta | None
    message: training_api.CleanUpTrainingJobsResponse.Kind = field(repr=False)


def cleaned_up(kind: training_api.CleanUpTrainingJobsResponse.Kind) -> CleanedUp:
    """A kind of the answer."""
    return CleanedUp(
        kind.kind,
        kind.count,
        kind.size_bytes,
        kind.oldest_time.ToDatetime(UTC) if kind.HasField("oldest_time") else None,
        kind.lifetime.ToTimedelta() if kind.HasField("lifetime") else None,
        kind,
    )


def days(number: float) -> timedelta:
    """So many days. Raises InvalidArgument for what is no time to keep anything."""
    if not (math.isfinite(number) and 0 <= number <= _MOST_DAYS):
        raise InvalidArgument(
            f"{number} is no number of days", field="older_than", remedy=f"Use 0 to {_MOST_DAYS}, such as 7."
        )
    return timedelta(days=number)
