"""Which worker may take which job: by base model, number format and memory. Pure.

A job needs what its estimate says. A worker takes it when the middle of the estimate fits into what a job may use of
the device's memory, as an estimate does that says FIT_YES or FIT_TIGHT. Where no present worker has so much, the ones
with the most memory try it as long as the lower end of the estimate fits: an estimate that was never measured must not
keep a job waiting for ever. What does not even fit there waits, and says so; a larger worker may come.

What is not known forbids nothing: a job without an estimate goes to any worker, and a worker that does not tell its
memory takes any job.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from services.trainer.models.job import TrainingJob
from services.trainer.recipe.advice import usable_bytes
from services.trainer.recipe.calibration import Range

ROOM_HEAD_START = timedelta(minutes=10)
"""A worker with much memory takes a job that only such workers can take before one of the same project and priority
that others can take as well, if it is at most so much younger. The others will come for that one; beyond this they
seem not to, and age decides, so that neither starves."""

SMALLEST_SHARE = 0.5
"""The lower end of an estimate counts as no less than such a share of its middle."""

_FETCHES = "fetches base models of projects"
_CLASSES_AN_OCTAVE = 4
_LEAST_CLASS_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Room:
    """What a worker may take at the moment, given who else is there.

    bytes: that a job may use of its device; 0 when not known. tries: base models that no present worker has more memory
    for, or None when that holds for all. others: bytes of the roomiest present worker with less, 0 when there is none.
    """

    bytes: int = 0
    tries: tuple[str, ...] | None = None
    others: int = 0

    def takes(self, base_model: str, *, middle: int, low: int) -> bool:
        """Whether a job that needs between `low` and about `middle` bytes may go here; 0 for a job of which nothing is
        known."""
        if not self.bytes or middle <= self.bytes:
            return True
        return low <= self.bytes and (self.tries is None or base_model in self.tries)


@dataclass(frozen=True, slots=True)
class WorkerKind:
    """What a worker can do. base_models, mixed_precisions: empty for all. memory_bytes: 0 when it does not say.

    skill: of its program. takes_own: it fetches base models of projects. None, of workers that an older replica heard,
    forbids nothing.
    """

    device: str
    memory_bytes: int
    base_models: tuple[str, ...] = ()
    mixed_precisions: tuple[str, ...] = ()
    skill: int | None = None
    takes_own: bool | None = None

    @property
    def usable(self) -> int:
        """Bytes that a job may use; 0 when not known."""
        return int(usable_bytes(self.memory_bytes, [self.device])) if self.memory_bytes else 0

    def loads(self, base_model: str) -> bool:
        """Whether it can load the base model."""
        return not self.base_models or base_model in self.base_models

    def computes_in(self, mixed_precision: str) -> bool:
        """Whether its device has the number format; one that is not known forbids nothing."""
        return not mixed_precision or not self.mixed_precisions or mixed_precision in self.mixed_precisions

    def knows(self, skill: int) -> bool:
        """Whether its program can do what needs such a skill."""
        return self.skill is None or self.skill >= skill


@dataclass(frozen=True, slots=True)
class Fleet:
    """The kinds of worker that are there, each once."""

    kinds: Sequence[WorkerKind] = field(default_factory=tuple)

    def room(self, own: WorkerKind) -> Room:
        """What a worker of a kind may take beside the others."""
        if not own.usable:
            return Room()
        larger = [kind for kind in self.kinds if kind.usable > own.usable or not kind.usable]
        others = max((kind.usable for kind in self.kinds if kind.usable < own.usable), default=0)
        if not larger:
            return Room(own.usable, None, others)
        tries = tuple(model for model in own.base_models if not any(kind.loads(model) for kind in larger))
        return Room(own.usable, tries, others)

    def why_nowhere(self, job: TrainingJob) -> str:
        """Why no worker that is there can take the job, a sentence; "" when one can, or when none is there at all."""
        if not self.kinds:
            return ""
        able = [kind for kind in self.kinds if kind.loads(job.loads)]
        if not able:
            return f"No worker that is there can load {job.loads.removeprefix('baseModels/')}."
        if job.entry:
            able = [kind for kind in able if kind.takes_own is not False]
            if not able:
                return f"No worker that is there and can load its kind of model {_FETCHES}."
        if not any(kind.knows(job.needs_skill) for kind in able):
            skill = max(kind.skill or 0 for kind in able)
            return f"It needs a newer worker: those that are there cannot {job.unskilled(skill)}."
        able = [kind for kind in able if kind.knows(job.needs_skill)]
        precision = job.parameters.mixed_precision
        able = [kind for kind in able if kind.computes_in(precision)]
        if not able:
            return f"No worker that is there and can load its base model computes in {precision}."
        if any(not kind.usable or job.memory_low_bytes <= kind.usable for kind in able):
            return ""
        largest = max(able, key=lambda kind: kind.usable)
        return (
            f"It needs about {_gigabytes(job.memory_bytes)} of memory, {_gigabytes(job.memory_low_bytes)} at least. "
            f"The largest worker that is there has {_gigabytes(largest.memory_bytes)}, of which a job may use "
            f"{_gigabytes(largest.usable)}."
        )

    def why_unchecked(self, candidates: Mapping[str, int]) -> str:
        """Why no worker that is there can check an uploaded base model, a sentence; "" when one can, or none is there.

        candidates: entries of the catalogue that it may be made from, with the bytes that loading one needs.
        """
        if not self.kinds or not candidates:
            return ""
        able = [(kind, needs) for name, needs in candidates.items() for kind in self.kinds if kind.loads(name)]
        if not able:
            names = ", ".join(name.removeprefix("baseModels/") for name in candidates)
            return f"No worker that is there can load {names}, which its check needs."
        able = [(kind, needs) for kind, needs in able if kind.takes_own is not False]
        if not able:
            return f"No worker that is there and can load its kind of model {_FETCHES}."
        if any(not kind.usable or needs <= kind.usable for kind, needs in able):
            return ""
        largest = max((kind for kind, _ in able), key=lambda kind: kind.usable)
        least = min(needs for _, needs in able)
        return (
            f"Its check needs about {_gigabytes(least)} of memory. The largest worker that is there has "
            f"{_gigabytes(largest.memory_bytes)}, of which a check may use {_gigabytes(largest.usable)}."
        )

    def limit(self, base_model: str, mixed_precision: str, *, skill: int = 0, own: bool = False) -> float:
        """Bytes up to which the lower end of a job's estimate finds a worker; -1 when none can take any such job.

        skill: that it needs. own: its base model is one of the project's own.
        """
        if not self.kinds:
            return math.inf
        able = [kind for kind in self.kinds if kind.loads(base_model) and kind.computes_in(mixed_precision)]
        able = [kind for kind in able if kind.knows(skill) and not (own and kind.takes_own is False)]
        return max((kind.usable or math.inf for kind in able), default=-1)


def needed(memory: Range) -> tuple[int, int]:
    """Middle and lower end of an estimate, as a job keeps them: bytes."""
    return round(memory.middle), round(max(memory.low, SMALLEST_SHARE * memory.middle))


def memory_class(needs: int) -> int:
    """A number that grows with the bytes that a job needs, four to a doubling; 0 when not known.

    The queue is sorted by it, so that a worker passes over all that is too large for it without looking at each.
    """
    if needs <= 0:
        return 0
    return max(1, 1 + math.floor(_CLASSES_AN_OCTAVE * math.log2(needs / _LEAST_CLASS_BYTES)))


def highest_class(room: Room) -> int:
    """Class of the largest job that may go to such room."""
    tries = room.tries is None or bool(room.tries)
    return memory_class(round(room.bytes / SMALLEST_SHARE) if tries else room.bytes)


ANY_ROOM = Room()
"""Of a worker that does not tell its memory."""


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
