"""What a worker computes with: the engine itself (`torch_engine`), or one that pretends (`pretending`).

A worker knows no other way to either, so that all else of it, from the lease to the delivery, is the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from services.trainer.engine.job import Hooks, TrainJobSpec, TrainResult
from services.trainer.engine.try_out import TryOutSpec
from services.trainer.recipe.calibration import Measurement
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.worker.measuring import RunClock
from services.trainer.worker.trainer_client import TrainerClient

Measure = Callable[[TrainJobSpec, BaseModel, RunClock], Measurement | None]
"""Called after a run, with the clock that heard of it: what it took, None when that says nothing."""


class Probing(Protocol):
    """Measures base models while there is nothing else to do; see `probing`."""

    def begin(self, base_models: Sequence[str]) -> None:
        """Begins with one of these that was not tried, unless one is at work."""

    async def stop(self) -> None:
        """Ends what is at work, and waits for that."""


class Engine(Protocol):
    """One for the life of a worker. Properties do not change."""

    @property
    def pretends(self) -> bool:
        """Whether it does not train: what comes of it is marked so."""

    @property
    def device_name(self) -> str:
        """What it runs on, as estimates know it."""

    @property
    def device_memory_bytes(self) -> int:
        """All memory of the device; 0 when it cannot say."""

    @property
    def mixed_precisions(self) -> tuple[str, ...]:
        """Number formats that the device computes in; empty for all."""

    @property
    def quantizes(self) -> bool:
        """Whether a quantised base model can be loaded here."""

    def loads(self, model: BaseModel) -> bool:
        """Whether it can train such a base model here."""

    def train(self, spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        """A run, on the thread of the caller. Raises EngineError."""

    def draw(self, spec: TryOutSpec) -> None:
        """Pictures of LoRA files, on the thread of the caller. Raises NotWanted, EngineError."""

    def meter(self) -> Measure:
        """Begins to measure a run; call it right before."""

    def probing(
        self, catalogue: Mapping[str, BaseModel], trainer: TrainerClient, folder: Path, stall_s: float
    ) -> Probing:
        """What to do with idle time."""

    def close(self) -> None:
        """Lets go of what it holds loaded from job to job."""
