"""The engine on this machine's device."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from services.trainer.engine.devices import MemoryMeter, device_memory_bytes, device_name, number_formats, use_threads
from services.trainer.engine.drawing import draw
from services.trainer.engine.job import Hooks, TrainJobSpec, TrainResult
from services.trainer.engine.train_loop import train
from services.trainer.engine.try_out import TryOutSpec
from services.trainer.engine.warm import Warm
from services.trainer.recipe.calibration import Measurement
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.worker.engines import Engine, Measure
from services.trainer.worker.measurements import measurement_of
from services.trainer.worker.measuring import RunClock
from services.trainer.worker.probing import Probes
from services.trainer.worker.settings import WorkerSettings
from services.trainer.worker.trainer_client import TrainerClient


class TorchEngine:
    """Implements engines.Engine. device: as in the settings of a worker."""

    pretends = False

    def __init__(self, device: str) -> None:
        self._device = device
        # The base model and the helper process, which the next job takes over.
        self._warm = Warm()
        self.device_name = device_name(device)
        self.device_memory_bytes = device_memory_bytes(device)
        self.mixed_precisions = number_formats(device)
        self.quantizes = find_spec("bitsandbytes") is not None

    def loads(self, model: BaseModel) -> bool:
        """Whether its weights are here, or can be fetched."""
        return model.local_path is None or model.local_path.exists()

    def train(self, spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        """See ``engine.train_loop``."""
        return train(spec, hooks, self._warm)

    def draw(self, spec: TryOutSpec) -> None:
        """See ``engine.drawing``."""
        draw(spec, self._warm)

    def meter(self) -> Measure:
        """The memory in use is counted from now on."""
        memory = MemoryMeter(self._device, held_bytes=self._warm.held_bytes)

        def measured(spec: TrainJobSpec, model: BaseModel, clock: RunClock) -> Measurement | None:
            return measurement_of(spec, model, clock, memory, device=self.device_name)

        return measured

    def probing(
        self, catalogue: Mapping[str, BaseModel], trainer: TrainerClient, folder: Path, stall_s: float
    ) -> Probes:
        """See `probing`."""
        return Probes(catalogue, trainer, folder, self._device, self.device_name, stall_s, self._warm.close)

    def close(self) -> None:
        """Frees the memory, and ends the helper process."""
        self._warm.close()


def engine(settings: WorkerSettings) -> Engine:
    """The engine that the settings ask for."""
    use_threads(settings.threads)
    return TorchEngine(settings.device)
