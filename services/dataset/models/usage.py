"""What a project uses of this service. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ProjectUsage:
    """images: of its datasets now. stored_bytes: of all pictures that its datasets or their versions hold, each picture
    once, thumbnails included, and of all masks, also those that an edit keeps so that it can be undone."""

    datasets: int = 0
    images: int = 0
    stored_bytes: int = 0


def hour_of(moment: datetime) -> datetime:
    """The beginning of its hour."""
    return moment.replace(minute=0, second=0, microsecond=0)
