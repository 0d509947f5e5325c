"""A loss that is not a number: back to the last checkpoint, once, at half the learning rate."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from services.trainer.engine.checkpoints import Place, TrainingState
from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import Notice, TrainJobSpec
from services.trainer.recipe.parameters import TrainingParameters

SLOWER = 0.5
"""What the learning rate is multiplied by."""


class NotFinite(Exception):
    """A run met a loss, or a weight, that is not a number.

    Attributes:
        step: whose loss it was; of a weight, the step that spoiled it.
        slowed: the run was already going at a lower rate for that reason.
        checkpoint: the last state that is good, None for the start; ``checkpoint_step`` steps are done there.
    """

    def __init__(
        self, step: int, place: Place, checkpoint: Path | None, checkpoint_step: int, *, weight: bool = False
    ) -> None:
        super().__init__(step)
        self.step = step
        self.weight = weight
        self.slowed = place.rate_factor != 1.0
        self.checkpoint = checkpoint
        self.checkpoint_step = checkpoint_step

    @property
    def final(self) -> bool:
        """Whether a lower rate has been tried, or cannot be: torchrun's processes do not begin anew by themselves."""
        return self.slowed or int(os.environ.get("WORLD_SIZE", "1")) > 1

    def named(self, parameters: TrainingParameters) -> EngineError:
        """The reason for which the run ends."""
        remedy = f"Lower the learning rate, for example to {parameters.learning_rate / 5:.1e}."
        if self.slowed:
            remedy = "Half the learning rate met the same. " + remedy
        if parameters.mixed_precision == "fp16":
            remedy = "Use mixed precision bf16 instead of fp16. " + remedy
        message = f"The loss at step {self.step} is not a number."
        if self.weight:
            message = f"A weight after step {self.step} is not a number."
        return EngineError("LOSS_NOT_FINITE", message, remedy)

    def slower(self, spec: TrainJobSpec) -> tuple[TrainJobSpec, Notice]:
        """The run to do instead, and what the user is told."""
        back = f"to step {self.checkpoint_step}" if self.checkpoint_step else "to its start"
        what = "A weight after" if self.weight else "The loss at"
        text = (
            f"{what} step {self.step} is not a number; training went back {back} and goes on at half the learning rate."
        )
        again = replace(spec, resume_from=self.checkpoint, rate_factor=SLOWER)
        return again, Notice(text, back_to_step=self.checkpoint_step)


def slow_down(state: TrainingState, factor: float) -> None:
    """Multiply the rates of optimizer and schedule, now and for the rest of the job."""
    for group in state.optimizer.param_groups:
        group["lr"] = float(group["lr"]) * factor
        group["initial_lr"] = float(group["initial_lr"]) * factor
    schedule = state.schedule.state_dict()
    rates = {name: [float(rate) * factor for rate in schedule[name]] for name in ("base_lrs", "_last_lr")}
    state.schedule.load_state_dict({**schedule, **rates})


def all_finite(weights: Sequence[nn.Parameter]) -> bool:
    """Whether every weight is a number. Waits for the device."""
    norms = torch._foreach_norm([weight.detach() for weight in weights])
    return math.isfinite(float(torch.stack(list(norms)).sum()))
