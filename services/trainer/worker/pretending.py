"""An engine that trains nothing: for tests of programs that call Fiveshot, whose machines have no GPU and no time.

It takes the steps and epochs of the real plan, in seconds, and reports what the real engine would: phases, losses,
files that load, previews, a checkpoint to resume from. All else of the worker is as ever, so that a program meets the
same events, the same files and the same errors. Everything that it makes says that it is pretended. It imports no
torch.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from PIL import Image

from services.trainer.engine.job import (
    Command,
    EpochResult,
    Evaluation,
    Hooks,
    PhaseProgress,
    PreviewImage,
    Recommendation,
    RunStatus,
    StepMetrics,
    TrainJobSpec,
    TrainResult,
)
from services.trainer.engine.try_out import NotWanted, TryOut, TryOutSpec
from services.trainer.recipe.calibration import Measurement
from services.trainer.recipe.catalogue import BaseModel, load_catalogue
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.phases import Phase
from services.trainer.recipe.plan import StepPlan, plan_job
from services.trainer.recipe.prompts import with_prompts
from services.trainer.worker.engines import Engine, Measure
from services.trainer.worker.measuring import RunClock
from services.trainer.worker.pictures import sizes_of
from services.trainer.worker.pretended_files import contact_sheet, draw_cells, lora_files, previews
from services.trainer.worker.settings import WorkerSettings
from services.trainer.worker.trainer_client import TrainerClient

DEVICE = "pretended"
REASON = "Pretended: nothing was trained, so no epoch is better than another."
_STATE = "pretended.json"
_THUMBNAIL = 128
# Sleeping for less costs more than it takes.
_SHORTEST_SLEEP_S = 0.02


@dataclass
class _Run:
    """Where a run is. rows: labels and previews of the contact sheet."""

    spec: TrainJobSpec
    parameters: TrainingParameters
    plan: StepPlan
    photos: list[Image.Image]
    evaluations: list[Evaluation] = field(default_factory=list)
    epoch: int = 0
    rows: list[tuple[str, Sequence[Path]]] = field(default_factory=list)
    checkpoint: Path | None = None

    @property
    def step(self) -> int:
        """Optimizer steps up to the last finished epoch."""
        return self.epoch * self.plan.steps_per_epoch

    @property
    def recommendation(self) -> Recommendation | None:
        """The last epoch, since any would do."""
        return Recommendation(self.epoch, REASON) if self.epoch else None


class PretendedEngine:
    """Implements engines.Engine. seconds: that the steps of a job take."""

    pretends = True
    device_name = DEVICE
    # It takes part in no judgement of what fits a device.
    device_memory_bytes = 0
    mixed_precisions = ()
    quantizes = True

    def __init__(self, catalogue: Mapping[str, BaseModel], seconds: float) -> None:
        self._catalogue = catalogue
        self._seconds = seconds

    def loads(self, model: BaseModel) -> bool:
        """Any: it reads no weights."""
        return True

    def train(self, spec: TrainJobSpec, hooks: Hooks) -> TrainResult:
        """See ``engine.train_loop``. Raises EngineError PHOTO_UNREADABLE as the real engine does."""
        run = self._begin(spec, hooks)
        if spec.sample_base_previews:
            hooks.on_phase(PhaseProgress(Phase.BASE_PREVIEWS, 0, 1))
            hooks.on_base_previews(self._previews(run, 0))
        stopping = False
        while run.epoch < run.plan.num_epochs and not stopping:
            losses: list[float] = []
            began = time.monotonic()
            for step in range(run.step + 1, run.step + run.plan.steps_per_epoch + 1):
                losses.append(self._step(run, step, hooks))
                command = hooks.control()
                if command is Command.CANCEL:
                    return self._result(run, RunStatus.CANCELLED)
                stopping = stopping or command is Command.STOP
                if command is Command.DRAW and (asked := hooks.try_out()) is not None:
                    self._draw(asked, step)
            hooks.on_epoch(self._finish_epoch(run, losses, time.monotonic() - began, hooks))
        early = run.epoch < run.plan.num_epochs
        return self._result(run, RunStatus.STOPPED if early else RunStatus.COMPLETED)

    def draw(self, spec: TryOutSpec) -> None:
        """Coloured squares that say what they are. Raises NotWanted."""
        for start in range(len(spec.try_out.cells)):
            draw_cells(spec.try_out, spec.try_out.cells[start : start + 1], 0)

    def meter(self) -> Measure:
        """What it takes says nothing of real runs."""

        def unmeasured(spec: TrainJobSpec, model: BaseModel, clock: RunClock) -> Measurement | None:
            return None

        return unmeasured

    def probing(
        self, catalogue: Mapping[str, BaseModel], trainer: TrainerClient, folder: Path, stall_s: float
    ) -> _NoProbes:
        """There is nothing to measure."""
        return _NoProbes()

    def close(self) -> None:
        """It holds nothing."""

    def _begin(self, spec: TrainJobSpec, hooks: Hooks) -> _Run:
        hooks.on_phase(PhaseProgress(Phase.LOADING, 0, 0))
        model = self._catalogue[spec.base_model.entry or spec.base_model.id]
        plan = plan_job(sizes_of(spec.items), spec.parameters, model.pixel_multiple).steps
        photos = []
        for number, item in enumerate(spec.items):
            hooks.on_phase(PhaseProgress(Phase.READING, number, len(spec.items)))
            picture, _ = spec.decode(item.image_path.read_bytes(), _THUMBNAIL, item.name)
            picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
            photos.append(picture)
        captions = [item.caption for item in spec.items]
        run = _Run(
            spec, with_prompts(spec.parameters, (), captions, neutral=spec.base_model.neutral_prompts), plan, photos
        )
        if spec.resume_from is not None:
            state = json.loads((spec.resume_from / _STATE).read_text(encoding="utf-8"))
            run.epoch = state["epoch"]
            run.evaluations = [Evaluation(**each) for each in state["evaluations"]]
            run.checkpoint = spec.resume_from
        return run

    def _step(self, run: _Run, step: int, hooks: Hooks) -> float:
        """Takes its share of the time; returns a loss that falls as one does."""
        total = run.plan.total_steps
        pause = self._seconds / total
        # Several steps sleep together where each would be shorter than a sleep can be.
        together = max(1, math.ceil(_SHORTEST_SLEEP_S / pause)) if pause else 0
        if together and step % together == 0:
            time.sleep(pause * together)
        noise = random.Random(f"{run.parameters.seed}/{step}").uniform(0.9, 1.1)
        loss = (0.05 + 0.3 * math.exp(-2.0 * step / total)) * noise
        samples = run.parameters.batch_size * run.parameters.gradient_accumulation_steps
        hooks.on_step(
            StepMetrics(
                step=step,
                total_steps=total,
                epoch=run.epoch + 1,
                loss=loss,
                learning_rate=run.parameters.learning_rate,
                images_per_second=samples / pause if pause else 0.0,
                eta_seconds=(total - step) * pause,
            )
        )
        return loss

    @staticmethod
    def _draw(asked: TryOut, step: int) -> None:
        try:
            draw_cells(asked, asked.cells, step)
        except (NotWanted, OSError) as error:
            asked.on_end(error)
        else:
            asked.on_end(None)

    def _finish_epoch(self, run: _Run, losses: Sequence[float], seconds: float, hooks: Hooks) -> EpochResult:
        run.epoch += 1
        folder = self._folder(run)
        hooks.on_phase(PhaseProgress(Phase.PREVIEWS, 0, 1))
        drawn = self._previews(run, run.epoch)
        hooks.on_phase(PhaseProgress(Phase.FILES, 0, 1))
        mean = sum(losses) / len(losses)
        run.evaluations.append(Evaluation(mean, 0.4, None, None, drift=0.0, memorisation=0.0))
        run.checkpoint = folder / "checkpoint"
        run.checkpoint.mkdir()
        state = {"epoch": run.epoch, "evaluations": [asdict(each) for each in run.evaluations]}
        (run.checkpoint / _STATE).write_text(json.dumps(state), encoding="utf-8")
        recommendation = run.recommendation
        assert recommendation is not None
        return EpochResult(
            epoch=run.epoch,
            step=run.step,
            mean_loss=mean,
            artifacts=lora_files(run.spec, run.epoch, run.step, folder),
            previews=drawn,
            checkpoint_dir=run.checkpoint,
            evaluation=run.evaluations[-1],
            max_reload_difference=0.0,
            recommendation=recommendation,
            contact_sheet=contact_sheet(run.photos, run.rows, folder),
            train_seconds=seconds,
        )

    def _previews(self, run: _Run, epoch: int) -> tuple[PreviewImage, ...]:
        drawn = previews(run.parameters, epoch, self._folder(run, epoch))
        run.rows.append((f"epoch {epoch}" if epoch else "base", [each.path for each in drawn]))
        return drawn

    @staticmethod
    def _folder(run: _Run, epoch: int | None = None) -> Path:
        folder = run.spec.output_dir / f"epoch-{run.epoch if epoch is None else epoch:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @staticmethod
    def _result(run: _Run, status: RunStatus) -> TrainResult:
        return TrainResult(status, run.step, run.checkpoint, run.recommendation, tuple(run.evaluations))


class _NoProbes:
    """Implements engines.Probing."""

    def begin(self, base_models: Sequence[str]) -> None:
        """Nothing."""

    async def stop(self) -> None:
        """Nothing."""


def engine(settings: WorkerSettings) -> Engine:
    """The engine that the settings ask for."""
    return PretendedEngine(load_catalogue(settings.catalogue), settings.pretend_seconds)
