"""A finished epoch: its files in the object store, its previews and what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.chassis.names import etag_of

ARTIFACT_FORMS = ("kohya", "diffusers", "peft")
"""File ids of the LoRA's forms; every other file of an epoch is a picture."""


@dataclass(frozen=True, slots=True)
class EpochFile:
    """A file that a worker stored. size_bytes: exact. sha256: hex. object_key: in the trainer's bucket."""

    file_id: str
    file_name: str
    content_type: str
    size_bytes: int
    sha256: str
    object_key: str


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture sampled with one of the job's prompts. width, height: pixels. sha256: of the PNG, hex."""

    file_id: str
    prompt: str
    seed: int
    width: int
    height: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Measured on fixed noise and timesteps; lower losses fit better, drift and memorisation are costs.

    photo_error, unseen_error: what is left of the base model's error, 1 for the base model; None of older workers.
    """

    fit_loss: float
    held_out_loss: float | None
    drift: float
    memorisation: float
    moved_loss: float | None = None
    photo_error: float | None = None
    unseen_error: float | None = None


@dataclass(frozen=True, slots=True)
class Epoch:
    """An epoch that can be saved. number: from 1; 0 holds the base model's own previews.

    step: optimizer steps at its end. loss: mean over the epoch. checkpoint: files to resume from. pretended: comes from
    a worker that only pretends to train. labels: the caller's own.
    """

    job: str
    number: int
    attempt: int
    step: int
    loss: float
    files: tuple[EpochFile, ...]
    previews: tuple[Preview, ...]
    evaluation: Evaluation | None
    reload_difference: float
    train_seconds: float
    checkpoint: tuple[EpochFile, ...]
    create_time: datetime
    pretended: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Resource name."""
        return f"{self.job}/epochs/{self.number}"

    @property
    def etag(self) -> str:
        """Changes with its labels, and differs from that of another epoch of this name, such as a deleted one's."""
        return etag_of(self.name, self.attempt, self.create_time.isoformat(), *sorted(self.labels.items()))

    @property
    def artifacts(self) -> tuple[EpochFile, ...]:
        """The LoRA in its forms."""
        return tuple(file for file in self.files if file.file_id in ARTIFACT_FORMS)

    @property
    def pictures(self) -> tuple[EpochFile, ...]:
        """The previews, and the contact sheet where a worker drew one."""
        return tuple(file for file in self.files if file.file_id not in ARTIFACT_FORMS)


@dataclass(frozen=True, slots=True)
class Metric:
    """One measured point. step: from 1. key: `loss`, `learning_rate` or `images_per_second`."""

    step: int
    epoch: int
    key: str
    value: float
    create_time: datetime


def first_steps(points: Sequence[Metric], limit: int) -> list[Metric]:
    """The points of the first `limit` steps; the points are in order of their steps."""
    steps = sorted({point.step for point in points})[:limit]
    return [point for point in points if steps and point.step <= steps[-1]]
