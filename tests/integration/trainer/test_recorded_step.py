"""The recorded step, on a recorder that replays by doing: buffers, gradients and updates must lose nothing."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim import Optimizer

from services.trainer.engine.acceleration import choose_acceleration, kinds_of_passes
from services.trainer.engine.checkpoints import TrainingState
from services.trainer.engine.conditioning import TextConditioner
from services.trainer.engine.families.base import Family
from services.trainer.engine.graph_step import RecordedStep, Recorder, Work
from services.trainer.engine.job import Acceleration, TrainJobSpec
from services.trainer.engine.step import Step
from services.trainer.recipe.buckets import Bucket
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import JobPlan, count_steps
from tests.fixtures.training_jobs import losses_of

MakeSpec = Callable[..., TrainJobSpec]


class Repeating:
    """A recorder as CUDA's is one, for the CPU: recording does nothing, replaying does the work on the same memory."""

    def __init__(self) -> None:
        self.plain = self.recorded = self.replayed = 0

    def prepare(self, optimizer: Optimizer) -> None:
        self.groups = len(optimizer.param_groups)

    def run(self, work: Work) -> Tensor:
        self.plain += 1
        return work()

    def record(self, work: Work) -> Work:
        self.recorded += 1
        place: list[Tensor] = []

        def replay() -> Tensor:
            self.replayed += 1
            result = work()
            place.append(result) if not place else place[0].copy_(result)
            return place[0]

        return replay


class Refusing(Repeating):
    """A recorder of work that cannot be recorded."""

    def record(self, work: Work) -> Work:
        raise RuntimeError("operation not permitted when stream is capturing")


def record_with(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every run of the test a recorded step."""

    def build(
        _: Acceleration,
        family: Family,
        conditioner: TextConditioner,
        parameters: TrainingParameters,
        state: TrainingState,
    ) -> Step:
        return RecordedStep(family, conditioner, parameters, state, recorder)

    monkeypatch.setattr("services.trainer.engine.preparation.build_step", build)


@pytest.mark.parametrize(
    "changes",
    [
        {"train_text_encoder": True, "min_snr_gamma": 5.0, "ema_decay": 0.9},
        {"batch_size": 1, "gradient_accumulation_steps": 3, "shuffle_caption": True, "max_grad_norm": 0.0},
        {"masked_loss": True, "gradient_checkpointing": True, "lr_warmup_steps": 3},
        {"preservation_weight": 2.0, "train_text_encoder": True},
    ],
    ids=["text-encoder", "accumulation", "checkpointing", "preservation"],
)
def test_a_recorded_step_gives_bitwise_the_same_losses(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    changes = {"num_epochs": 1, "num_repeats": 7, **changes}
    plain = make_spec("plain", **changes)
    items = tuple(dataclasses.replace(item, crop=(0.0, 0.25, 0.5, 1.0)) for item in plain.items)
    expected = losses_of(dataclasses.replace(plain, items=items))
    recorder = Repeating()

    record_with(recorder, monkeypatch)
    assert losses_of(make_spec("recorded", job={"items": items}, **changes)) == expected
    assert recorder.replayed > recorder.plain > 0
    # Every kind of pass but those that occurred once, and the update.
    assert 2 <= recorder.recorded <= recorder.plain


def test_what_cannot_be_recorded_is_done_plainly_with_a_warning(
    make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = losses_of(make_spec("plain", num_epochs=1, num_repeats=4))
    record_with(Refusing(), monkeypatch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert losses_of(make_spec("refused", num_epochs=1, num_repeats=4)) == expected
    assert any("cannot be recorded" in str(warning.message) for warning in caught)


@pytest.mark.parametrize(
    ("changes", "steps", "graphs", "compiled"),
    [
        ({}, 10, False, False),
        ({}, 500, True, False),
        ({}, 4000, True, True),
        ({"optimizer": "lion"}, 4000, False, True),
        ({"mixed_precision": "fp16"}, 500, False, False),
        ({"base_quantization": "nf4"}, 4000, False, False),
    ],
)
def test_the_engine_chooses_by_device_and_length(
    parameters: Callable[..., TrainingParameters], changes: dict[str, Any], steps: int, graphs: bool, compiled: bool
) -> None:
    chosen = parameters(batch_size=4, num_epochs=1, **changes)
    plan = JobPlan((Bucket(64, 64, (0,), (steps * 4 - 1,)),), count_steps([steps * 4 - 1], 4, 1, 1), ())
    assert kinds_of_passes(plan, 4, 0.0) == 2
    assert kinds_of_passes(plan, 4, 0.5) == 3, "half of 3 is no whole number"
    found = choose_acceleration(torch.device("cuda"), plan, chosen)
    assert (found.graphs, found.compiled) == (graphs, compiled)
    on_cpu = choose_acceleration(torch.device("cpu"), plan, chosen)
    assert (on_cpu.graphs, on_cpu.compiled) == (False, False)
