"""The engine on a thread of its own. What its callbacks say becomes state that the event loop reads."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from services.trainer.engine.job import (
    Command,
    EpochResult,
    Hooks,
    Notice,
    PhaseProgress,
    PreviewImage,
    RunStatus,
    StepMetrics,
    TrainJobSpec,
    TrainResult,
)
from services.trainer.engine.try_out import TryOut
from services.trainer.recipe.phases import Phase
from services.trainer.worker.delivery import kept
from services.trainer.worker.measuring import RunClock, timed
from services.trainer.worker.wire import Metric, Progress

Finished = EpochResult | tuple[PreviewImage, ...]
Train = Callable[[TrainJobSpec, Hooks], TrainResult]


class Dropped(Exception):
    """The run was told to let go in the middle of a long phase."""


class Stalled(Exception):
    """The engine has not said anything for too long; its thread cannot be ended, only its process."""


@dataclass(frozen=True, slots=True)
class Report:
    """What happened since the last report. running: training has begun.

    back_to_step: points of earlier reports with later steps no longer hold; None when they do.
    """

    progress: Progress
    metrics: tuple[Metric, ...]
    running: bool
    notices: tuple[str, ...] = ()
    back_to_step: int | None = None


class TrainingThread:
    """One run of the engine. All methods but the callbacks are for the event loop."""

    def __init__(
        self,
        spec: TrainJobSpec,
        on_finished: Callable[[Finished], None],
        *,
        train: Train,
        clock: RunClock | None = None,
    ) -> None:
        self.clock = clock or RunClock()
        self._train = train
        self._spec = spec
        self._on_finished = on_finished
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._progress = Progress(phase=Phase.STARTING)
        self._metrics: list[Metric] = []
        self._notices: list[str] = []
        self._back_to_step: int | None = None
        self._running = False
        self._heard_at = time.monotonic()
        self._let_go = threading.Event()
        self._stop = threading.Event()
        self._try_out: TryOut | None = None

    async def run(self, *, stall_s: float) -> TrainResult:
        """Trains to the end. Raises what the engine raises, and Stalled after `stall_s` seconds without a callback.

        A run that was told to let go ends as CANCELLED.
        """
        done: asyncio.Future[TrainResult] = self._loop.create_future()
        # A daemon: the process may end without waiting for a computation that nobody wants any more.
        # Its lines in the log belong to the attempt as well.
        work = partial(contextvars.copy_context().run, self._work, done)
        thread = threading.Thread(target=work, name="training", daemon=True)
        thread.start()
        while not done.done():
            silent_s = time.monotonic() - self._heard_at
            if silent_s >= stall_s:
                raise Stalled(f"The engine was silent for {silent_s:.0f} s.")
            await asyncio.wait((done,), timeout=stall_s - silent_s)
        return done.result()

    def let_go(self) -> None:
        """Ends the run at its next step or phase report."""
        self._let_go.set()

    def stop_after_epoch(self) -> None:
        """Ends the run after the epoch at hand."""
        self._stop.set()

    def draw(self, try_out: TryOut) -> None:
        """Has the run draw this after its next step, then go on."""
        with self._lock:
            self._try_out = try_out

    def take_report(self) -> Report:
        """Progress now, and the points since the last call."""
        with self._lock:
            report = Report(
                self._progress, tuple(self._metrics), self._running, tuple(self._notices), self._back_to_step
            )
            self._metrics.clear()
            self._notices.clear()
            self._back_to_step = None
        return report

    def _work(self, done: asyncio.Future[TrainResult]) -> None:
        try:
            result = self._train(self._spec, timed(self._hooks(), self.clock))
        except Dropped:
            self._resolve(done, TrainResult(RunStatus.CANCELLED, self._progress.step, None, None), None)
        except Exception as error:
            self._resolve(done, None, error)
        else:
            self._resolve(done, result, None)

    def _resolve(self, done: asyncio.Future[TrainResult], result: TrainResult | None, error: Exception | None) -> None:
        def settle() -> None:
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            elif result is not None:
                done.set_result(result)

        # With the loop gone there is nobody to tell, and the thread ends here either way.
        with suppress(Dropped):
            self._on_loop(settle)

    def _hooks(self) -> Hooks:
        return Hooks(
            on_phase=self._phase,
            on_step=self._step,
            on_base_previews=self._base_previews,
            on_epoch=self._epoch,
            on_notice=self._notice,
            control=self._control,
            try_out=self._take_try_out,
        )

    def _phase(self, phase: PhaseProgress) -> None:
        text = f"{phase.phase} {phase.done}/{phase.total}" if phase.total > 1 else phase.phase.value
        with self._lock:
            # No step says what is left while an epoch ends.
            now = time.monotonic()
            left = max(0.0, self._progress.eta_seconds - (now - self._heard_at))
            self._heard_at = now
            self._progress = replace(self._progress, phase=text[:100], eta_seconds=left)
        if self._let_go.is_set():
            raise Dropped

    def _step(self, step: StepMetrics) -> None:
        now = datetime.now(UTC)
        values = (
            ("loss", step.loss),
            ("learning_rate", step.learning_rate),
            ("images_per_second", step.images_per_second),
        )
        with self._lock:
            self._heard_at = time.monotonic()
            self._running = True
            self._metrics += [Metric(step.step, step.epoch, key, value, now) for key, value in values]
            self._progress = Progress(
                step=step.step,
                epoch=step.epoch,
                phase=Phase.TRAINING,
                loss=step.loss,
                images_per_second=step.images_per_second,
                eta_seconds=step.eta_seconds,
                learning_rate=step.learning_rate,
            )

    def _base_previews(self, previews: tuple[PreviewImage, ...]) -> None:
        self._on_loop(lambda: self._on_finished(previews))

    def _epoch(self, result: EpochResult) -> None:
        folder: Path = self._spec.output_dir / "to-deliver" / f"epoch-{result.epoch:04d}"
        result = kept(result, folder)
        self._on_loop(lambda: self._on_finished(result))

    def _notice(self, notice: Notice) -> None:
        with self._lock:
            self._heard_at = time.monotonic()
            self._notices.append(notice.text)
            if notice.back_to_step is not None:
                self._back_to_step = notice.back_to_step
                self._metrics = [metric for metric in self._metrics if metric.step <= notice.back_to_step]

    def _control(self) -> Command:
        if self._let_go.is_set():
            return Command.CANCEL
        if self._try_out is not None:
            return Command.DRAW
        return Command.STOP if self._stop.is_set() else Command.CONTINUE

    def _take_try_out(self) -> TryOut | None:
        with self._lock:
            taken, self._try_out = self._try_out, None
        return taken

    def _on_loop(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError as error:
            # The process is ending and its loop is closed: nobody is left to tell.
            raise Dropped from error
