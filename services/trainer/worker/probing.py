"""Probes of a base model that no such device has run yet, so that the first estimate has something to rest on.

A probe is two short runs of the engine on pictures of noise, with the base model's own settings and with single
pictures. It happens only while the worker has nothing to do, once for a device and base model, and ends at its next
step when a job comes: what it costs users is at most that step.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy
from PIL import Image

from services.chassis.errors import DomainError
from services.chassis.logging import get_logger
from services.trainer.engine.devices import MemoryMeter, free_unused_memory
from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import RunStatus, TrainItem, TrainJobSpec
from services.trainer.engine.train_loop import train
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.parameters import TrainingParameters, resolve
from services.trainer.worker import metrics
from services.trainer.worker.files import files_of
from services.trainer.worker.measurements import measurement_of
from services.trainer.worker.pictures import decode_original
from services.trainer.worker.trainer_client import TrainerClient
from services.trainer.worker.training import Stalled, TrainingThread

STEPS = 6
"""Optimizer steps of each run; the first one only warms caches up."""

PREVIEW_STEPS = 4
PICTURES = 2
log = get_logger(__name__)


@dataclass
class Probes:
    """At most one probe at a time, and each base model at most once in the life of a worker.

    release: lets go of what jobs have left loaded, which a probe would count as its own.
    """

    catalogue: Mapping[str, BaseModel]
    trainer: TrainerClient
    folder: Path
    device: str
    device_name: str
    stall_s: float
    release: Callable[[], None] = lambda: None
    _tried: set[str] = field(default_factory=set)
    _task: asyncio.Task[None] | None = None
    _thread: TrainingThread | None = None
    _stopping: bool = False

    def begin(self, base_models: Sequence[str]) -> None:
        """Starts a probe of the first of some base models that this worker has not tried, unless one is running."""
        if self._task is not None and not self._task.done():
            return
        name = next((one for one in base_models if one not in self._tried), None)
        model = self.catalogue.get(name.removeprefix("baseModels/")) if name else None
        if name is None or model is None:
            return
        self._tried.add(name)
        self._stopping = False
        self._task = asyncio.create_task(self._probe(model))

    async def stop(self) -> None:
        """Ends a running probe at its next step and waits for that; what it had measured is dropped."""
        task, self._task = self._task, None
        if task is None or task.done():
            return
        self._stopping = True
        if self._thread is not None:
            self._thread.let_go()
        await task

    async def _probe(self, model: BaseModel) -> None:
        metrics.state("probing")
        log.info("probe_started", base_model=model.id, device=self.device_name)
        try:
            runs = 0
            for batch_size in _batch_sizes(model):
                if self._stopping or not await self._run(model, batch_size):
                    break
                runs += 1
            log.info("probe_ended", base_model=model.id, runs=runs, stopped=self._stopping)
        except (EngineError, DomainError) as error:
            # The next job will say it to a user; here it only means that there is nothing to measure.
            log.warning("probe_failed", base_model=model.id, reason=error.reason)
        except (OSError, Stalled) as error:
            log.warning("probe_failed", base_model=model.id, reason=type(error).__name__)
        finally:
            self._thread = None
            metrics.state("idle")
            await asyncio.to_thread(shutil.rmtree, self.folder, True)
            free_unused_memory()

    async def _run(self, model: BaseModel, batch_size: int) -> bool:
        """Whether the run came to its end."""
        spec = await asyncio.to_thread(probe_spec, model, batch_size, self.folder, self.device)
        await asyncio.to_thread(self.release)
        memory = MemoryMeter(self.device)
        self._thread = TrainingThread(spec, lambda _: None, train=train)
        if self._stopping:
            return False
        result = await self._thread.run(stall_s=self.stall_s)
        if result.status is not RunStatus.COMPLETED:
            return False
        measured = await asyncio.to_thread(
            measurement_of, spec, model, self._thread.clock, memory, device=self.device_name, probe=True
        )
        if measured is not None:
            await self.trainer.report_measurement(measured)
        return True


def probe_spec(model: BaseModel, batch_size: int, folder: Path, device: str) -> TrainJobSpec:
    """A run of a few steps on pictures of noise, which are drawn into the folder."""
    side = model.resolution
    folder = folder / f"batch-{batch_size}"
    folder.mkdir(parents=True, exist_ok=True)
    draw = numpy.random.default_rng(0)
    items = []
    for number in range(PICTURES):
        path = folder / f"{number}.png"
        Image.fromarray(draw.integers(0, 256, (side, side, 3), numpy.uint8)).save(path)
        items.append(TrainItem(path, f"a picture of noise, number {number}", repeats=STEPS * batch_size // PICTURES))
    return TrainJobSpec(
        base_model=files_of(model),
        parameters=_parameters(model, batch_size),
        items=tuple(items),
        output_dir=folder / "output",
        decode=decode_original,
        title="probe",
        device=device,
        processes=1,
        sample_base_previews=False,
    )


def _parameters(model: BaseModel, batch_size: int) -> TrainingParameters:
    """The base model's own, but for lengths. Nobody asked for these, so the model's limits do not apply to them."""
    return replace(
        resolve(model.specs, {}),
        num_epochs=1,
        num_repeats=1,
        batch_size=batch_size,
        gradient_accumulation_steps=1,
        crop_variants=1,
        preview_steps=PREVIEW_STEPS,
    )


def _batch_sizes(model: BaseModel) -> list[int]:
    own = resolve(model.specs, {}).batch_size
    return [1, own] if own > 1 else [1]
