"""The time that the parts of a run take, from the engine's own reports: a clock is read once a step and phase."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from services.trainer.engine.job import Command, EpochResult, Hooks, Notice, PhaseProgress
from services.trainer.recipe.phases import Phase

_PARTS: dict[Phase, str] = {
    Phase.ENCODING: "encoding",
    Phase.BASE_PREVIEWS: "sampling",
    Phase.NEUTRAL_PROMPTS: "sampling",
    Phase.PREVIEWS: "sampling",
    Phase.TRAINING: "training",
    Phase.TRY_OUT: "try out",
    Phase.BASE_EVALUATION: "evaluation",
    Phase.EVALUATION: "evaluation",
    Phase.FILES: "epoch end",
    Phase.VERIFICATION: "epoch end",
    Phase.CHECKPOINT: "epoch end",
}
"""What a phase of the engine counts as; any other belongs to the start."""


class RunClock:
    """Seconds of each part of a run, and the phases it went through. Its methods are called on the thread that trains.

    on_spent: hears of the seconds of a part as they are counted. on_step: of each step.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        on_spent: Callable[[str, float], None] = lambda part, seconds: None,
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        self._clock = clock
        self._on_spent = on_spent
        self._on_step = on_step
        self._last = clock()
        self._part = "start"
        self.seconds: dict[str, float] = {}
        self.phases: set[Phase] = set()
        self.steps = 0
        self.epochs = 0
        self.ordinary = True
        """Whether the run took what such a job takes: no second try, no batches in parts."""

    def phase(self, progress: PhaseProgress) -> None:
        """A report that something is done tells of the time before it, one that something begins of what follows.

        Right after a step nothing but the phase can have been at work, whatever it reports.
        """
        part = _PARTS.get(progress.phase, "start")
        self.phases.add(progress.phase)
        self._count(part if progress.done or self._part == "training" else self._part)
        self._part = part

    def step(self) -> None:
        """A step is done. The first one warms caches up and belongs to the start."""
        if self._part == "training":
            self.steps += 1
        self._count(self._part)
        self._part = "training"
        self._on_step()

    def epoch(self) -> None:
        """An epoch is finished with its files."""
        self._count(self._part)
        self._part = "training"
        self.epochs += 1

    def _count(self, part: str) -> None:
        now = self._clock()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._last
        self._on_spent(part, now - self._last)
        self._last = now


def timed(hooks: Hooks, clock: RunClock) -> Hooks:
    """The same callbacks, with a clock that hears of everything first."""

    def on_phase(progress: PhaseProgress) -> None:
        clock.phase(progress)
        hooks.on_phase(progress)

    def on_epoch(result: EpochResult) -> None:
        clock.epoch()
        hooks.on_epoch(result)

    def on_notice(notice: Notice) -> None:
        clock.ordinary = False
        hooks.on_notice(notice)

    def control() -> Command:
        clock.step()
        return hooks.control()

    return replace(hooks, on_phase=on_phase, on_epoch=on_epoch, on_notice=on_notice, control=control)
