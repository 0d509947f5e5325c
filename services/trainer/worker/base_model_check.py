"""The check of an uploaded base model: it is fetched, loaded, trained for a few steps, and its files are read back."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from services.chassis.errors import Aborted, DeadlineExceeded, DomainError, NotFound, Unavailable
from services.chassis.logging import get_logger
from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import RunStatus
from services.trainer.recipe.catalogue import BaseModel, derived
from services.trainer.worker import metrics
from services.trainer.worker.base_weights import BaseWeights
from services.trainer.worker.engines import Engine
from services.trainer.worker.files import file_error
from services.trainer.worker.trainer_client import TrainerClient
from services.trainer.worker.training import Stalled, TrainingThread
from services.trainer.worker.trial import trial
from services.trainer.worker.wire import CheckTask, JobError, Outcome

STEPS = 4
PREVIEW_STEPS = 2
_OTHERS_MAY_FIT = ("BASE_MODEL_UNSUPPORTED", "BASE_MODEL_INCOMPLETE", "BASE_MODEL_CORRUPT")
"""A base model that does not fit one entry of the catalogue may fit another of its family, with other sizes."""
log = get_logger(__name__)


@dataclass
class CheckAttempt:
    """One try. `release` may be called at any time.

    candidates: entries of the catalogue that it may be made from, the likeliest first.
    """

    task: CheckTask
    candidates: Sequence[BaseModel]
    folder: Path
    trainer: TrainerClient
    weights: BaseWeights
    engine: Engine
    device: str
    stall_s: float
    beat_s: float
    _released: bool = False
    _lost: bool = False
    _thread: TrainingThread | None = None
    _work: asyncio.Task[str] | None = None

    def release(self) -> None:
        """Gives the check back at the next chance."""
        self._released = True
        self._let_go()

    async def run(self) -> None:
        """Checks, and tells the trainer what came of it. Raises Stalled when the engine hangs."""
        name = self.task.own.name
        log.info("check_started", base_model=name, candidates=[each.id for each in self.candidates])
        beat = asyncio.create_task(self._beat())
        stalled: Stalled | None = None
        based_on = ""
        try:
            outcome, error, based_on = await self._outcome()
        except Stalled as found:
            stalled, outcome = found, Outcome.FAILED
            error = JobError("ENGINE_STALLED", str(found), "Upload it again; look at the worker.", True)
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
            await asyncio.to_thread(shutil.rmtree, self.folder, True)
        log.info("check_ended", base_model=name, outcome=str(outcome), reason=error.reason if error else "")
        if outcome is not Outcome.LEASE_LOST:
            try:
                await self.trainer.report_check(self.task, outcome=outcome, error=error, based_on=based_on)
            except DomainError as refused:
                log.warning("check_end_refused", base_model=name, reason=refused.reason)
        if stalled is not None:
            raise stalled

    async def _outcome(self) -> tuple[Outcome, JobError | None, str]:
        self._work = asyncio.create_task(self._check())
        if self._released:
            self._work.cancel()
        try:
            based_on = await self._work
        except asyncio.CancelledError:
            if not (self._released or self._lost):
                raise
            based_on = ""
        except EngineError as error:
            return Outcome.FAILED, JobError(error.reason, error.message, error.remedy, not error.user_error), ""
        except DomainError as error:
            retryable = isinstance(error, Unavailable | DeadlineExceeded)
            return Outcome.FAILED, JobError(error.reason, error.message, error.remedy, retryable), ""
        except (OSError, SafetensorError) as error:
            return Outcome.FAILED, file_error(error), ""
        except Stalled:
            raise
        except Exception as error:
            log.error("check_crashed", base_model=self.task.own.name, exc_info=error)
            remedy = "Upload it again; tell the operator if it persists."
            return Outcome.FAILED, JobError("INTERNAL", "The worker failed unexpectedly.", remedy, True), ""
        if self._lost:
            return Outcome.LEASE_LOST, None, ""
        return (Outcome.SUCCEEDED if based_on else Outcome.RELEASED), None, based_on

    async def _check(self) -> str:
        """Name of the entry that it is made from; "" when it was told to let go."""
        with metrics.spending("downloading"):
            path = await self.weights.fetch(self.task.own, anew=True)
        refused: EngineError | None = None
        for base in self.candidates:
            try:
                return f"baseModels/{base.id}" if await self._fits(base, path) else ""
            except EngineError as error:
                if error.reason not in _OTHERS_MAY_FIT:
                    raise
                refused = refused or error
        raise refused or EngineError(
            "BASE_MODEL_UNSUPPORTED",
            "No base model of this worker's catalogue is of its family.",
            "Tell the operator, who can add one.",
        )

    async def _fits(self, base: BaseModel, path: Path) -> bool:
        """Whether it was trained on to the end. Raises EngineError where it cannot be."""
        model = derived(base, name=self.task.own.name, source=str(path))
        folder = self.folder / base.id
        spec = await asyncio.to_thread(
            trial,
            model,
            self.device,
            folder,
            STEPS,
            device_name=self.engine.device_name,
            memory_bytes=self.engine.device_memory_bytes,
        )
        formats = self.engine.mixed_precisions
        precision = spec.parameters.mixed_precision
        parameters = replace(
            spec.parameters,
            preview_steps=PREVIEW_STEPS,
            mixed_precision=precision if not formats or precision in formats else "no",
        )
        spec = replace(spec, parameters=parameters, sample_base_previews=False)
        self._thread = TrainingThread(spec, lambda _: None, train=self.engine.train)
        if self._released or self._lost:
            return False
        result = await self._thread.run(stall_s=self.stall_s)
        return result.status is RunStatus.COMPLETED

    async def _beat(self) -> None:
        """Signs of life until cancelled."""
        while True:
            await asyncio.sleep(max(self.beat_s, min(1.0, self.task.lease_s / 3)))
            try:
                await self.trainer.report_check(self.task, patience_s=0.0)
            except (Aborted, NotFound):
                self._lost = True
                self._let_go()
                return
            except DomainError as error:
                log.warning("check_unheard", base_model=self.task.own.name, reason=error.reason)

    def _let_go(self) -> None:
        if self._thread is not None:
            self._thread.let_go()
        elif self._work is not None:
            # Still fetching, perhaps from a server that is away: nothing to be kept.
            self._work.cancel()
