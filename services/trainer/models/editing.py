"""What a caller may edit of a job, and what an edit does. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.chassis.names import check_mask
from services.trainer.models.change import Change
from services.trainer.models.events import Updated
from services.trainer.models.job import TrainingJob


@dataclass(frozen=True, slots=True)
class Editable:
    """The fields that an update may change, whatever the job's state."""

    display_name: str
    priority: int
    labels: Mapping[str, str]


FIELDS = tuple(Editable.__dataclass_fields__)


def edited(job: TrainingJob, given: Editable, mask: Sequence[str], now: datetime) -> Change:
    """The job with the fields that the mask names (https://google.aip.dev/134).

    An empty mask names all that are set, `*` names all. Raises InvalidArgument(reason=UPDATE_MASK_INVALID).
    """
    check_mask(mask, FIELDS)
    named = FIELDS if "*" in mask else mask or [name for name in FIELDS if getattr(given, name)]
    values = {name: getattr(given, name) for name in named}
    if all(getattr(job, name) == value for name, value in values.items()):
        return Change(job)
    return Change(replace(job, **values, update_time=now, revision=job.revision + 1), events=(Updated(),))


def check_label_mask(mask: Sequence[str]) -> None:
    """Of an epoch labels alone may change. Raises InvalidArgument(reason=UPDATE_MASK_INVALID)."""
    check_mask(mask, ("labels",), of="an epoch")
