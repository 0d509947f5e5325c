"""Preview requests on a worker: fetched, drawn on a thread, stored picture by picture, reported.

`PreviewAttempt` draws files between two jobs, `LivePreviews` the job at hand between two of its steps.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from fiveshot.trainer.v1 import preview_request_pb2
from PIL import Image
from safetensors import SafetensorError

from services.chassis.errors import Aborted, DeadlineExceeded, DomainError, NotFound, Unavailable
from services.chassis.logging import get_logger
from services.chassis.s3 import ObjectStore
from services.trainer.engine.errors import EngineError
from services.trainer.engine.try_out import DrawnPicture, NotWanted, TryOut, TryOutSpec
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.parameters import resolve
from services.trainer.recipe.plan import PictureSize
from services.trainer.worker import metrics
from services.trainer.worker.base_weights import BaseWeights
from services.trainer.worker.delivery import store_file
from services.trainer.worker.engines import Engine
from services.trainer.worker.files import file_error, files_of
from services.trainer.worker.lora_files import LoraFiles
from services.trainer.worker.small_devices import streamed_blocks
from services.trainer.worker.trainer_client import TrainerClient
from services.trainer.worker.training import Stalled
from services.trainer.worker.wire import Assignment, JobError, Outcome, PreviewTask

log = get_logger(__name__)
_INTERNAL = JobError("INTERNAL", "The worker failed unexpectedly.", "Ask again; tell the operator if it persists.")


class Lost(Exception):
    """Nobody wants the request any more."""


@dataclass
class PreviewDelivery:
    """Pictures of one try on their way: into the object store, then to the trainer. For the event loop.

    `try_out` may be drawn on another thread; `wanted` turns False there once the trainer says so, or `drop` is called.
    """

    task: PreviewTask
    folder: Path
    trainer: TrainerClient
    objects: ObjectStore
    patience_s: float
    beat_s: float
    _dropped: threading.Event = field(default_factory=threading.Event)
    _heard_at: float = field(default_factory=time.monotonic)
    _queue: asyncio.Queue[Sequence[DrawnPicture] | None] = field(default_factory=asyncio.Queue)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _lost: bool = False

    @property
    def silent_s(self) -> float:
        """Seconds since the drawing last asked whether it is wanted."""
        return time.monotonic() - self._heard_at

    def try_out(self, on_end: Callable[[Exception | None], None] = lambda _: None) -> TryOut:
        """What the engine is to draw."""
        self._heard_at = time.monotonic()
        asked = self.task.request
        return TryOut(
            cells=self.task.cells,
            negative_prompt=asked.negative_prompt,
            width=asked.width,
            height=asked.height,
            steps=asked.steps,
            guidance=asked.guidance,
            folder=self.folder / "cells",
            on_pictures=lambda drawn: self._from_thread(lambda: self._queue.put_nowait(drawn)),
            wanted=self._wanted,
            on_end=on_end,
        )

    def drop(self) -> None:
        """Ends the drawing at its next solver step."""
        self._dropped.set()

    def finish(self) -> None:
        """No more pictures come."""
        self._queue.put_nowait(None)

    async def run(self) -> None:
        """Delivers until `finish`, with signs of life between. Raises Lost, and what stopped a delivery."""
        try:
            while True:
                drawn: Sequence[DrawnPicture] | None = ()
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.beat_s):
                        drawn = await self._queue.get()
                if drawn is None:
                    return
                cells = [await self._stored(picture) for picture in drawn]
                # Pictures are worth waiting for; a sign of life comes again by itself.
                await self._report(cells)
        except (Aborted, NotFound) as error:
            raise Lost from error
        finally:
            self.drop()

    async def _report(self, cells: Sequence[preview_request_pb2.PreviewCell]) -> None:
        try:
            await self.trainer.report_previews(self.task, cells, patience_s=None if cells else 0.0)
        except (Unavailable, DeadlineExceeded):
            if cells:
                raise

    async def _stored(self, picture: DrawnPicture) -> preview_request_pb2.PreviewCell:
        cell = picture.cell
        key = f"{self.task.prefix}{picture.path.name}"
        file = await store_file(self.objects, picture.path, cell.file_id, key, "image/png", patience_s=self.patience_s)
        with Image.open(picture.path) as opened:
            width, height = opened.size
        return preview_request_pb2.PreviewCell(
            index=cell.index, width=width, height=height, file=file, step=picture.step
        )

    def _wanted(self) -> bool:
        self._heard_at = time.monotonic()
        return not self._dropped.is_set()

    def _from_thread(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError as error:
            # The process is ending and its loop is closed.
            raise NotWanted from error


@dataclass
class PreviewAttempt:
    """One try at a request between two jobs. `release` may be called at any time."""

    delivery: PreviewDelivery
    model: BaseModel
    files: LoraFiles
    engine: Engine
    device: str
    stall_s: float
    base_weights: BaseWeights | None = None
    _released: bool = False

    def release(self) -> None:
        """Gives the request back at the next chance."""
        self._released = True
        self.delivery.drop()

    async def run(self) -> None:
        """Draws until it is done or dropped, and tells the trainer how it ended. Raises Stalled."""
        task = self.delivery.task
        log.info("previews_started", preview_request=task.request.name, cells=len(task.cells))
        stalled: Stalled | None = None
        try:
            outcome, error = await self._outcome()
        except Stalled as found:
            stalled, outcome = found, Outcome.FAILED
            error = JobError("ENGINE_STALLED", str(found), "Ask again; look at the worker.", True)
        finally:
            await asyncio.to_thread(shutil.rmtree, self.delivery.folder, True)
        log.info("previews_ended", preview_request=task.request.name, outcome=str(outcome))
        if outcome is not Outcome.LEASE_LOST:
            await tell_end(self.delivery, outcome, error)
        if stalled is not None:
            raise stalled

    async def _outcome(self) -> tuple[Outcome, JobError | None]:
        delivering = asyncio.create_task(self.delivery.run())
        try:
            try:
                with metrics.spending("downloading"):
                    weights = await self.files.of(self.delivery.task, self.delivery.folder / "weights")
                    if self.delivery.task.own is not None and self.base_weights is not None:
                        await self.base_weights.fetch(self.delivery.task.own)
                with metrics.spending("try out"):
                    await self._draw(weights)
            finally:
                self.delivery.finish()
            await delivering
        except Exception as error:
            if not delivering.done():
                await asyncio.gather(delivering, return_exceptions=True)
            lost = delivering.exception() if delivering.done() and not delivering.cancelled() else None
            if isinstance(lost, Lost) or isinstance(error, Lost):
                return Outcome.LEASE_LOST, None
            if isinstance(error, Stalled):
                raise
            return ending(lost if isinstance(error, NotWanted) and lost else error, released=self._released)
        return Outcome.SUCCEEDED, None

    async def _draw(self, weights: dict[str, Path]) -> None:
        """Draws on a thread. Raises what the engine raises, and Stalled."""
        defaults = resolve(self.model.specs, {})
        square = PictureSize(self.model.resolution, self.model.resolution)
        spec = TryOutSpec(
            self.delivery.try_out(),
            files_of(self.model),
            weights,
            defaults.mixed_precision,
            defaults.base_quantization,
            self.device,
            # As a job with the model's own settings would: drawing alone needs less.
            streamed_blocks(
                self.model,
                defaults,
                [square],
                device=self.engine.device_name,
                memory_bytes=self.engine.device_memory_bytes,
            ),
        )
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        def settle(error: Exception | None) -> None:
            if not done.done():
                done.set_exception(error) if error is not None else done.set_result(None)

        def work() -> None:
            found: Exception | None = None
            try:
                self.engine.draw(spec)
            except Exception as error:
                found = error
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, found)

        # A daemon: the process may end without waiting for a computation that nobody wants any more.
        threading.Thread(target=work, name="drawing", daemon=True).start()
        while not done.done():
            silent_s = self.delivery.silent_s
            if silent_s >= self.stall_s:
                raise Stalled(f"The engine was silent for {silent_s:.0f} s.")
            await asyncio.wait((done,), timeout=self.stall_s - silent_s)
        done.result()


def ending(error: BaseException, *, released: bool) -> tuple[Outcome, JobError | None]:
    """How a try ended by an error, as the trainer is told."""
    match error:
        case NotWanted():
            return (Outcome.RELEASED, None) if released else (Outcome.LEASE_LOST, None)
        case EngineError():
            return Outcome.FAILED, JobError(error.reason, error.message, error.remedy, not error.user_error)
        case DomainError():
            retryable = isinstance(error, Unavailable | DeadlineExceeded)
            return Outcome.FAILED, JobError(error.reason, error.message, error.remedy, retryable)
        case OSError() | SafetensorError():
            return Outcome.FAILED, file_error(error)
    log.error("previews_crashed", exc_info=error)
    return Outcome.FAILED, replace(_INTERNAL, retryable=True)


async def tell_end(delivery: PreviewDelivery, outcome: Outcome, error: JobError | None) -> None:
    """Ends the try; a trainer that does not hear it sees to the request by its lease."""
    try:
        await delivery.trainer.report_previews(delivery.task, outcome=outcome, error=error)
    except DomainError as refused:
        log.warning("previews_end_refused", preview_request=delivery.task.request.name, reason=refused.reason)


@dataclass
class LivePreviews:
    """Requests for the job at hand as it stands now, one after the other, beside its training.

    ask: hands a try-out to the thread that trains.
    """

    assignment: Assignment
    trainer: TrainerClient
    objects: ObjectStore
    folder: Path
    ask: Callable[[TryOut], None]
    wait_s: float
    patience_s: float
    beat_s: float

    async def run(self) -> None:
        """Runs until it is cancelled; a request that is not drawn by then is given back."""
        while True:
            try:
                task = await self.trainer.acquire_previews(self.assignment, wait_s=self.wait_s)
            except (Aborted, NotFound):
                return
            except DomainError as error:
                log.warning("previews_not_asked_for", reason=error.reason)
                await asyncio.sleep(self.wait_s)
                continue
            if task is not None:
                await self._draw(task)

    async def _draw(self, task: PreviewTask) -> None:
        folder = self.folder / task.request.name.rsplit("/", 1)[1]
        delivery = PreviewDelivery(task, folder, self.trainer, self.objects, self.patience_s, self.beat_s)
        loop = asyncio.get_running_loop()
        ends: asyncio.Future[Exception | None] = loop.create_future()

        def settle(error: Exception | None) -> None:
            if not ends.done():
                ends.set_result(error)

        def on_end(error: Exception | None) -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, error)

        delivering = asyncio.create_task(delivery.run())
        try:
            self.ask(delivery.try_out(on_end))
            await asyncio.wait((ends, delivering), return_when=asyncio.FIRST_COMPLETED)
            error: BaseException | None = None
            if ends.done():
                error = ends.result()
                delivery.finish()
            await asyncio.wait((delivering,))
            error = delivering.exception() or error
            if isinstance(error, Lost):
                return
            outcome, told = (Outcome.SUCCEEDED, None) if error is None else ending(error, released=False)
            if outcome is not Outcome.LEASE_LOST:
                await tell_end(delivery, outcome, told)
        except asyncio.CancelledError:
            delivery.drop()
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)
            await tell_end(delivery, Outcome.RELEASED, None)
            raise
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)
