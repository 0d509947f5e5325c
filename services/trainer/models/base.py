"""Base models as callers see them, training sets as the trainer needs them, and estimates."""

from __future__ import annotations

from dataclasses import dataclass

from services.trainer.catalogue import BaseModel
from services.trainer.job_plan import PictureSize
from services.trainer.parameters import TrainingParameters


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A base model of the catalogue. available: a worker that was heard of lately can load it."""

    model: BaseModel
    available: bool

    @property
    def name(self) -> str:
        """Resource name."""
        return f"baseModels/{self.model.id}"


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """One picture of a training set. size: with its crop and the set's own repeats. caption: text to train on."""

    size: PictureSize
    caption: str


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a job trains on. version: name of the frozen version, "" when the set was only looked at."""

    version: str
    digest: str
    trigger_word: str
    images: tuple[TrainingImage, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job would do. seconds: None when the workers' speed is not known. memory_bytes: peak on the device."""

    steps_per_epoch: int
    total_steps: int
    seconds: float | None
    memory_bytes: int
    basis: str
    parameters: TrainingParameters
    image_count: int
