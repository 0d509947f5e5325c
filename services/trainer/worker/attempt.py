"""One job from its lease to its end: fetch, train, report, deliver epochs, say how it ended."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path

from opentelemetry.trace import Span, SpanKind
from safetensors import SafetensorError

from services.chassis import tracing
from services.chassis.errors import Aborted, DeadlineExceeded, DomainError, NotFound, Unavailable
from services.chassis.logging import get_logger
from services.chassis.picture_decoding.limits import DecodeLimits
from services.chassis.s3 import ObjectStore
from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import InitialLora, RunStatus, TrainItem, TrainJobSpec
from services.trainer.recipe.advice import offers_of
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.parameter_spec import InvalidParameters
from services.trainer.recipe.parameters import TrainingParameters, resolve
from services.trainer.recipe.phases import Phase
from services.trainer.worker import metrics
from services.trainer.worker.base_weights import BaseWeights
from services.trainer.worker.delivery import Delivery
from services.trainer.worker.engines import Engine, Measure
from services.trainer.worker.files import file_error, files_of
from services.trainer.worker.inputs import Inputs
from services.trainer.worker.lora_files import LoraFiles
from services.trainer.worker.measuring import RunClock
from services.trainer.worker.pictures import SandboxedDecoder, sizes_of
from services.trainer.worker.previews import LivePreviews
from services.trainer.worker.run_parts import RunParts
from services.trainer.worker.small_devices import streamed_blocks
from services.trainer.worker.trainer_client import TrainerClient
from services.trainer.worker.training import Report, Stalled, TrainingThread
from services.trainer.worker.unheard import Unheard
from services.trainer.worker.wire import (
    Assignment,
    Directive,
    JobError,
    Outcome,
    Progress,
    given_parameters,
)

log = get_logger(__name__)

_DISAGREEMENTS = ("EPOCH_OUT_OF_ORDER", "EPOCHS_MISSING", "FILE_MISSING")
"""The trainer lacks what it was given, as after a database's failover; another attempt begins with what it has."""


class _Why(Enum):
    """Why a run was told to let go."""

    PAUSE = auto()
    CANCEL = auto()
    RELEASE = auto()
    LOST = auto()
    UNDELIVERED = auto()


@dataclass(frozen=True, slots=True)
class AttemptSettings:
    """device, cache_dir: for the engine. All else, but decode_limits: seconds."""

    device: str
    cache_dir: Path | None
    stall_s: float
    heartbeat_s: float
    patience_s: float
    asked_wait_s: float
    decode_limits: DecodeLimits


@dataclass
class Attempt:
    """One assignment. `release` may be called at any time, from a signal. weights: of base models of projects."""

    assignment: Assignment
    model: BaseModel
    folder: Path
    trainer: TrainerClient
    inputs: Inputs
    objects: ObjectStore
    settings: AttemptSettings
    engine: Engine
    loras: LoraFiles
    weights: BaseWeights
    _why: _Why | None = None
    _work: asyncio.Task[RunStatus] | None = None
    _thread: TrainingThread | None = None
    _stalled: Stalled | None = None
    _phase: Phase = Phase.DOWNLOADING
    _unheard: Unheard = field(default_factory=Unheard)

    def release(self) -> None:
        """Gives the job back at the next chance."""
        self._drop(_Why.RELEASE)

    async def run(self) -> None:
        """Works on the job until it ends or is dropped, and tells the trainer how.

        Raises Stalled, after that, when the process must end because the engine hangs.
        """
        job, attempt = self.assignment.job, self.assignment.attempt
        known = {
            "fiveshot.training_job": job.name,
            "fiveshot.attempt": attempt,
            "fiveshot.base_model": job.base_model,
            "fiveshot.device": self.settings.device,
        }
        # The call that gave the job is of no trace: it waited for whatever came.
        parent = self.assignment.traceparent
        with tracing.span("attempt", parent=parent, kind=SpanKind.CONSUMER, attributes=known) as span:
            await self._run(span)

    async def _run(self, span: Span) -> None:
        name, attempt = self.assignment.job.name, self.assignment.attempt
        log.info("attempt_started", training_job=name, attempt=attempt)
        beat = asyncio.create_task(self._beat())
        try:
            outcome, error = await self._outcome()
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
            await asyncio.to_thread(shutil.rmtree, self.folder, True)
        reason = error.reason if error else ""
        metrics.ATTEMPTS.labels(outcome.value).inc()
        log.info("attempt_ended", training_job=name, attempt=attempt, outcome=str(outcome), reason=reason)
        span.set_attribute("fiveshot.outcome", outcome.value)
        if error is not None:
            tracing.failed(span, reason)
        if outcome is Outcome.LEASE_LOST:
            return
        await self._tell_the_rest()
        try:
            await self.trainer.complete(self.assignment, outcome, error)
        except DomainError as refused:
            # The lease was lost at the last moment, or the trainer stayed away: the reaper sees to the job.
            log.warning("attempt_end_refused", training_job=name, reason=refused.reason)
        if self._stalled is not None:
            raise self._stalled

    async def _outcome(self) -> tuple[Outcome, JobError | None]:
        self._work = asyncio.create_task(self._train())
        if self._why is not None:
            # Dropped before it began.
            self._work.cancel()
        try:
            status = await self._work
        except asyncio.CancelledError:
            if self._why is None:
                raise
            status = RunStatus.CANCELLED
        except EngineError as error:
            return Outcome.FAILED, JobError(error.reason, error.message, error.remedy, not error.user_error)
        except Stalled as error:
            self._stalled = error
            return Outcome.FAILED, JobError("ENGINE_STALLED", str(error), "Retry the job; look at the worker.", True)
        except InvalidParameters as error:
            remedy = "Start the job again with values that this base model takes."
            return Outcome.FAILED, JobError("PARAMETER_INVALID", str(error), remedy)
        except Aborted:
            return Outcome.LEASE_LOST, None
        except DomainError as error:
            retryable = isinstance(error, Unavailable | DeadlineExceeded) or error.reason in _DISAGREEMENTS
            return Outcome.FAILED, JobError(error.reason, error.message, error.remedy, retryable)
        except (OSError, SafetensorError) as error:
            return Outcome.FAILED, file_error(error)
        except Exception as error:
            log.error("attempt_crashed", training_job=self.assignment.job.name, exc_info=error)
            message = "The worker failed unexpectedly."
            remedy = "Retry the job; tell the operator if it persists."
            return Outcome.FAILED, JobError("INTERNAL", message, remedy, True)
        return self._ending(status), None

    def _ending(self, status: RunStatus) -> Outcome:
        if status in (RunStatus.COMPLETED, RunStatus.STOPPED):
            return Outcome.SUCCEEDED
        endings = {_Why.PAUSE: Outcome.PAUSED, _Why.CANCEL: Outcome.CANCELLED, _Why.LOST: Outcome.LEASE_LOST}
        return endings.get(self._why or _Why.RELEASE, Outcome.RELEASED)

    async def _train(self) -> RunStatus:
        job = self.assignment.job
        parameters = self._parameters()
        with metrics.spending("downloading"), tracing.span("downloading"):
            found = await self.inputs.of_job(job, self.folder / "pictures", masks=parameters.masked_loss)
            resume_from = await self.inputs.checkpoint(self.assignment.checkpoint, self.folder / "resume")
            if self.assignment.own is not None:
                await self.weights.fetch(self.assignment.own)
            initial = await self._initial()
        delivery = Delivery(
            self.assignment,
            self.trainer,
            self.objects,
            patience_s=self.settings.patience_s,
            on_directive=self._obey,
            on_failure=lambda: self._drop(_Why.UNDELIVERED),
        )
        spec = TrainJobSpec(
            base_model=files_of(self.model),
            parameters=parameters,
            items=found.items,
            datasets=found.datasets,
            regularization=found.regularization,
            output_dir=self.folder / "output",
            decode=SandboxedDecoder(self.settings.decode_limits),
            resume_from=resume_from,
            title=job.name.rsplit("/", 1)[1],
            dataset_digest=job.dataset_digest,
            device=self.settings.device,
            cache_dir=self.settings.cache_dir,
            initial_lora=initial,
            sample_base_previews=not job.base_previews,
            streamed_blocks=await asyncio.to_thread(self._streamed, parameters, found.items),
            offers=offers_of(self.model, self.engine.mixed_precisions, quantizes=self.engine.quantizes),
        )
        measure, parts = self.engine.meter(), RunParts(tracing.current())
        clock = self._clock(parameters, parts)
        self._thread = TrainingThread(spec, delivery.put, train=self.engine.train, clock=clock)
        live = asyncio.create_task(self._live(self._thread).run())
        try:
            try:
                result = await self._thread.run(stall_s=self.settings.stall_s)
            finally:
                live.cancel()
                await asyncio.gather(live, return_exceptions=True)
                parts.end()
            await self._tell_what_it_took(spec, measure, self._thread.clock)
            if self._why in (_Why.LOST, _Why.CANCEL):
                return RunStatus.CANCELLED
            self._phase = Phase.STORING
            with metrics.spending("storing"), tracing.span("storing"):
                await delivery.finish()
        finally:
            await delivery.abandon()
        return result.status

    async def _initial(self) -> InitialLora | None:
        job, asked = self.assignment.job, self.assignment.initial
        if not job.initial_lora:
            return None
        path = None
        if asked is not None:
            path = await self.loras.initial(job.initial_lora, asked, self.folder / "initial" / "lora.safetensors")
        return InitialLora(job.initial_lora_digest, path)

    def _streamed(self, parameters: TrainingParameters, items: Sequence[TrainItem]) -> int:
        device, memory = self.engine.device_name, self.engine.device_memory_bytes
        return streamed_blocks(self.model, parameters, sizes_of(items), device=device, memory_bytes=memory)

    def _live(self, thread: TrainingThread) -> LivePreviews:
        return LivePreviews(
            self.assignment,
            self.trainer,
            self.objects,
            self.folder / "asked",
            thread.draw,
            wait_s=self.settings.asked_wait_s,
            patience_s=self.settings.patience_s,
            beat_s=self.settings.heartbeat_s,
        )

    async def _tell_what_it_took(self, spec: TrainJobSpec, measure: Measure, clock: RunClock) -> None:
        # A run that goes on from a checkpoint measures as well as a fresh one.
        measured = await asyncio.to_thread(measure, spec, self.model, clock)
        if measured is not None and self._why is not _Why.LOST:
            await self.trainer.report_measurement(measured)

    def _clock(self, parameters: TrainingParameters, parts: RunParts) -> RunClock:
        steps, images = metrics.STEPS.labels(self.model.entry), metrics.IMAGES.labels(self.model.entry)
        images_of_a_step = parameters.batch_size * parameters.gradient_accumulation_steps

        def on_step() -> None:
            steps.inc()
            images.inc(images_of_a_step)

        def on_spent(part: str, seconds: float) -> None:
            metrics.spent(part, seconds)
            parts.spent(part, seconds)

        return RunClock(on_spent=on_spent, on_step=on_step)

    def _parameters(self) -> TrainingParameters:
        return resolve(self.model.specs, given_parameters(self.assignment.job))

    async def _beat(self) -> None:
        """Reports until cancelled. While the trainer is away the points wait, and the job goes on."""
        loop = asyncio.get_running_loop()
        heard_at = loop.time()
        wanted_s = self.assignment.interval_s
        while True:
            report = self._report()
            try:
                # Two a second for as long as a job takes: each would be a span, and none would tell anything.
                with tracing.unrecorded():
                    directive, wanted_s = await self.trainer.heartbeat(self._unheard.request(self.assignment, report))
                self._obey(directive)
                self._unheard.heard()
                heard_at = loop.time()
            except (Aborted, NotFound):
                self._drop(_Why.LOST)
                return
            except DomainError as error:
                log.warning("heartbeat_unheard", training_job=self.assignment.job.name, reason=error.reason)
                if loop.time() - heard_at > self.settings.patience_s:
                    self._drop(_Why.LOST)
                    return
            await asyncio.sleep(self.assignment.pause_s(self.settings.heartbeat_s, wanted_s))

    async def _tell_the_rest(self) -> None:
        """What happened since the last heartbeat, which no later one brings; a trainer that is away misses it."""
        report = self._report()
        try:
            while self._unheard:
                await self.trainer.heartbeat(self._unheard.request(self.assignment, report))
                self._unheard.heard()
        except DomainError as error:
            log.warning("last_points_unheard", training_job=self.assignment.job.name, reason=error.reason)

    def _report(self) -> Report:
        report = self._thread.take_report() if self._thread else Report(Progress(phase=self._phase), (), False)
        self._unheard.add(report)
        return report

    def _obey(self, directive: Directive) -> None:
        if directive is Directive.PAUSE:
            self._drop(_Why.PAUSE)
        elif directive is Directive.CANCEL:
            self._drop(_Why.CANCEL)
        elif directive is Directive.STOP and self._thread:
            self._thread.stop_after_epoch()

    def _drop(self, why: _Why) -> None:
        # A lost lease or a cancellation outweighs what was asked before; nothing outweighs them.
        if self._why is None or why in (_Why.LOST, _Why.CANCEL):
            self._why = why
        if self._thread:
            self._thread.let_go()
        elif self._work:
            # Still fetching, perhaps from a server that is away: nothing to be kept.
            self._work.cancel()
