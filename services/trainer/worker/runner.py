"""One job after the other: ask, work, ask again."""

from __future__ import annotations

import asyncio
import math
import re
import shutil
from collections.abc import Callable, Mapping

from services.chassis import tracing
from services.chassis.disk import check_room
from services.chassis.errors import DomainError, Unavailable
from services.chassis.grpc_client import channel
from services.chassis.logging import get_logger
from services.chassis.patience import patiently
from services.chassis.s3 import ObjectStore
from services.trainer.recipe.catalogue import BaseModel, derived
from services.trainer.recipe.families import families
from services.trainer.worker import metrics
from services.trainer.worker.attempt import Attempt, AttemptSettings
from services.trainer.worker.base_model_check import CheckAttempt
from services.trainer.worker.base_weights import BaseWeights, Own
from services.trainer.worker.engines import Engine
from services.trainer.worker.inputs import Inputs
from services.trainer.worker.latent_cache import trim
from services.trainer.worker.lora_files import LoraFiles
from services.trainer.worker.previews import PreviewAttempt, PreviewDelivery
from services.trainer.worker.settings import WorkerSettings
from services.trainer.worker.trainer_client import NoJob, TrainerClient
from services.trainer.worker.wire import Assignment, CheckTask, PreviewTask

log = get_logger(__name__)

_TIDY_S = 3600.0


class Worker:
    """Takes one job after the other."""

    def __init__(
        self,
        settings: WorkerSettings,
        catalogue: Mapping[str, BaseModel],
        *,
        engine: Engine,
        trainer: TrainerClient | None = None,
        begin: Callable[..., Attempt] = Attempt,
    ) -> None:
        """trainer: in place of the one that the settings name. begin: makes the attempt at a job."""
        self._settings = settings
        self._catalogue = catalogue
        self._objects = ObjectStore(settings)
        self._trainer_channel = channel(settings.trainer_target, settings)
        self._dataset_channel = channel(settings.dataset_target, settings)
        self._registry_channel = channel(settings.registry_target, settings)
        patience_s = settings.outage_patience_seconds
        self._engine = engine
        self._begin = begin
        self._trainer = trainer or TrainerClient(
            self._trainer_channel,
            worker_id=settings.worker_id,
            device=engine.device_name,
            device_memory_bytes=engine.device_memory_bytes,
            families=tuple(families()),
            mixed_precisions=engine.mixed_precisions,
            pretends=engine.pretends,
            takes_own=settings.base_model_cache_mib > 0,
            patience_s=patience_s,
        )
        self._lora_files = LoraFiles(self._registry_channel, self._objects, patience_s=patience_s)
        self._inputs = Inputs(self._dataset_channel, self._objects, patience_s=patience_s)
        self._cache = settings.scratch_dir / "latents"
        self._warm = ""
        self._tidied_at = -math.inf
        self._drew = False
        self._folder = settings.scratch_dir / re.sub(r"[^A-Za-z0-9_.-]", "_", settings.worker_id)
        self._weights = BaseWeights(
            self._objects,
            settings.scratch_dir / "base-models",
            self._folder / "base-model.partial",
            limit_mib=settings.base_model_cache_mib,
            room_mib=settings.scratch_room_mib,
            patience_s=patience_s,
        )
        self._probes = engine.probing(catalogue, self._trainer, self._folder / "probe", settings.stall_seconds)

    async def run(self) -> None:
        """Works until it is cancelled, and gives a job at hand back, or until it has idled for as long as it may."""
        metrics.state("idle")
        # What lies there is left from a process that died.
        await asyncio.to_thread(shutil.rmtree, self._folder, True)
        try:
            idle_since = asyncio.get_running_loop().time()
            while True:
                with metrics.spending("idle"):
                    found = await self._next()
                self._drew = isinstance(found, PreviewTask | CheckTask)
                if isinstance(found, PreviewTask):
                    await self._draw(found)
                    idle_since = asyncio.get_running_loop().time()
                elif isinstance(found, CheckTask):
                    await self._check(found)
                    idle_since = asyncio.get_running_loop().time()
                elif isinstance(found, Assignment):
                    await self._work_on(found)
                    idle_since = asyncio.get_running_loop().time()
                elif self._idled(idle_since):
                    return
                else:
                    await self._tidy()
                    if self._settings.probe:
                        self._probes.begin(found.unmeasured)
        finally:
            await self._probes.stop()
            await asyncio.to_thread(self._engine.close)
            await self._trainer_channel.close(None)
            await self._dataset_channel.close(None)
            await self._registry_channel.close(None)
            self._objects.close()

    def _idled(self, since: float) -> bool:
        limit_s = self._settings.idle_exit_seconds
        return limit_s > 0 and asyncio.get_running_loop().time() - since >= limit_s

    async def _next(self) -> Assignment | PreviewTask | CheckTask | NoJob:
        models = [f"baseModels/{model.id}" for model in self._catalogue.values() if self._engine.loads(model)]
        if not models:
            log.warning("no_base_model_here", catalogue=str(self._settings.catalogue))
            await asyncio.sleep(10.0)
            return NoJob()
        wait_s = self._settings.acquire_wait_seconds
        try:
            # Before the trainer gives it a job that would fail.
            self._settings.scratch_dir.mkdir(parents=True, exist_ok=True)
            check_room(self._settings.scratch_dir, self._settings.scratch_room_mib)
        except Unavailable as error:
            log.warning("no_room_for_a_job", folder=str(self._settings.scratch_dir), message=error.message)
            await asyncio.sleep(10.0)
            return NoJob()
        try:
            # Most of these calls wait in vain, and one that does not belongs to the trace of the job that it brings.
            with tracing.unrecorded():
                return await patiently(
                    lambda: self._trainer.acquire(models, warm=self._warm, wait_s=wait_s, drew=self._drew),
                    what="trainer",
                    patience_s=None,
                )
        except DomainError as error:
            log.error("acquire_refused", reason=error.reason, message=error.message)
        await asyncio.sleep(1.0)
        return NoJob()

    async def _work_on(self, assignment: Assignment) -> None:
        # Its weights are in the machine's memory from now on: the next job on it need not wait for a disk.
        self._warm = assignment.job.base_model
        attempt = self._begin(
            assignment,
            self._model(assignment.job.base_model, assignment.own),
            self._folder / f"{assignment.job.name.rsplit('/', 1)[1]}-{assignment.attempt}",
            self._trainer,
            self._inputs,
            self._objects,
            AttemptSettings(
                device=self._settings.device,
                cache_dir=self._cache if self._settings.latent_cache_mib else None,
                stall_s=self._settings.stall_seconds,
                heartbeat_s=self._settings.heartbeat_seconds,
                patience_s=self._settings.outage_patience_seconds,
                asked_wait_s=self._settings.acquire_wait_seconds,
                decode_limits=self._settings.decode_limits,
            ),
            self._engine,
            self._lora_files,
            self._weights,
        )
        await self._shielded(attempt)

    async def _draw(self, task: PreviewTask) -> None:
        name, settings = task.request.name.rsplit("/", 1)[1], self._settings
        self._warm = task.request.base_model
        delivery = PreviewDelivery(
            task,
            self._folder / name,
            self._trainer,
            self._objects,
            settings.outage_patience_seconds,
            settings.heartbeat_seconds,
        )
        model = self._model(task.request.base_model, task.own)
        attempt = PreviewAttempt(
            delivery, model, self._lora_files, self._engine, settings.device, settings.stall_seconds, self._weights
        )
        await self._shielded(attempt)

    async def _check(self, task: CheckTask) -> None:
        found = [self._catalogue.get(name.removeprefix("baseModels/")) for name in task.candidates]
        attempt = CheckAttempt(
            task,
            [model for model in found if model is not None],
            self._folder / "check",
            self._trainer,
            self._weights,
            self._engine,
            self._settings.device,
            self._settings.stall_seconds,
            self._settings.heartbeat_seconds,
        )
        await self._shielded(attempt)

    def _model(self, name: str, own: Own | None) -> BaseModel:
        """Of the catalogue, or made from one of it with a project's own weights, which are fetched later."""
        if own is None:
            return self._catalogue[name.removeprefix("baseModels/")]
        base = self._catalogue[own.based_on.removeprefix("baseModels/")]
        return derived(base, name=own.name, source=str(self._weights.place(own)))

    async def _shielded(self, attempt: Attempt | PreviewAttempt | CheckAttempt) -> None:
        task = asyncio.create_task(self._run(attempt))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            # From the lease on, only the attempt's own end gives the job back to the trainer.
            attempt.release()
            await task
            raise

    async def _tidy(self) -> None:
        """What was kept of photos goes in time also where no other job comes."""
        now = asyncio.get_running_loop().time()
        if now - self._tidied_at >= _TIDY_S:
            self._tidied_at = now
            await asyncio.to_thread(self._trim)

    def _trim(self) -> None:
        trim(self._cache, self._settings.latent_cache_mib, days=self._settings.latent_cache_days)

    async def _run(self, attempt: Attempt | PreviewAttempt | CheckAttempt) -> None:
        await self._probes.stop()
        metrics.state("busy")
        await asyncio.to_thread(self._trim)
        try:
            await attempt.run()
        finally:
            metrics.state("idle")
