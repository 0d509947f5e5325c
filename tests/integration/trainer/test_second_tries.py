"""A run that helps itself: back from a loss that is not a number, smaller parts where memory is short."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families.stable_diffusion import StableDiffusion
from services.trainer.engine.job import (
    Acceleration,
    Command,
    EpochResult,
    Hooks,
    Notice,
    RunStatus,
    StepMetrics,
    TrainJobSpec,
    TrainResult,
)
from services.trainer.engine.train_loop import train
from tests.integration.trainer.test_recorded_step import Repeating

MakeSpec = Callable[..., TrainJobSpec]


class Told:
    """What a run reports."""

    def __init__(self, pause_after: int = 0) -> None:
        self.steps: list[StepMetrics] = []
        self.epochs: list[EpochResult] = []
        self.notices: list[Notice] = []
        self.base_previews = 0
        self._polls = 0
        self._pause_after = pause_after

    def train(self, spec: TrainJobSpec) -> TrainResult:
        return train(
            spec,
            Hooks(
                on_step=self.steps.append,
                on_epoch=self.epochs.append,
                on_notice=self.notices.append,
                on_base_previews=self._on_base_previews,
                control=self._control,
            ),
        )

    @property
    def texts(self) -> list[str]:
        return [notice.text for notice in self.notices]

    def _on_base_previews(self, _: object) -> None:
        self.base_previews += 1

    def _control(self) -> Command:
        self._polls += 1
        return Command.PAUSE if self._polls == self._pause_after else Command.CONTINUE


@contextmanager
def spoiled_after(*updates: int) -> Iterator[None]:
    """Weights that are no numbers after these updates, counted over all tries."""
    count = itertools.count(1)

    def spoil(optimizer: Optimizer, _arguments: Any, _keywords: Any) -> None:
        if next(count) in updates:
            for group in optimizer.param_groups:
                for weight in group["params"]:
                    weight.data.fill_(math.nan)

    handle = register_optimizer_step_post_hook(spoil)
    try:
        yield
    finally:
        handle.remove()


def steps_of_an_epoch(make_spec: MakeSpec) -> int:
    told = Told()
    told.train(make_spec("plain", num_epochs=1))
    return len(told.steps)


def test_a_spoiled_run_goes_back_to_its_last_epoch_at_half_the_rate(make_spec: MakeSpec) -> None:
    per_epoch = steps_of_an_epoch(make_spec)
    plain, told = Told(), Told()
    plain.train(make_spec("whole", num_epochs=3, lr_scheduler="cosine"))
    with spoiled_after(per_epoch + 1):
        result = told.train(make_spec("spoiled", num_epochs=3, lr_scheduler="cosine"))
    assert result.status is RunStatus.COMPLETED
    assert [done.epoch for done in told.epochs] == [1, 2, 3]
    assert all(math.isfinite(metrics.loss) for metrics in told.steps)
    assert told.notices == [
        Notice(
            f"The loss at step {per_epoch + 2} is not a number; training went back to step {per_epoch} and goes on at "
            "half the learning rate.",
            back_to_step=per_epoch,
        )
    ]
    # The last report of a step is the one that counts.
    rates = {metrics.step: metrics.learning_rate for metrics in told.steps}
    for metrics in plain.steps:
        factor = 1.0 if metrics.step <= per_epoch else 0.5
        assert rates[metrics.step] == pytest.approx(metrics.learning_rate * factor), metrics.step
    assert told.base_previews == 1


def test_a_first_epoch_begins_anew_and_a_second_time_ends_the_run_also_after_a_resume(make_spec: MakeSpec) -> None:
    told = Told(pause_after=5)
    with spoiled_after(2):
        paused = told.train(make_spec(num_epochs=3))
    assert paused.status is RunStatus.PAUSED
    assert [(notice.back_to_step, "to its start" in notice.text) for notice in told.notices] == [(0, True)]
    assert paused.checkpoint_dir is not None
    again = Told()
    with spoiled_after(1), pytest.raises(EngineError, match="Lower the learning rate") as caught:
        again.train(make_spec("again", num_epochs=3, job={"resume_from": paused.checkpoint_dir}))
    assert caught.value.reason == "LOSS_NOT_FINITE"
    assert again.notices == []
    assert "Half the learning rate met the same" in caught.value.remedy


def test_weights_that_the_last_step_of_an_epoch_spoils_never_reach_its_files(make_spec: MakeSpec) -> None:
    per_epoch = steps_of_an_epoch(make_spec)
    told = Told()
    with spoiled_after(per_epoch):
        told.train(make_spec("last", num_epochs=1))
    assert told.texts == [
        f"A weight after step {per_epoch} is not a number; training went back to its start and goes on at half the "
        "learning rate."
    ]
    assert [math.isfinite(done.evaluation.fit_loss) for done in told.epochs] == [True]


def test_two_processes_go_back_together(make_spec: MakeSpec) -> None:
    told = Told()
    with spoiled_after(2):
        result = told.train(make_spec(num_epochs=1, job={"processes": 2, "sample_base_previews": False}))
    assert result.status is RunStatus.COMPLETED
    assert len(told.notices) == 1


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """A device with memory for so many trained samples at once, and the samples of each prediction that fitted."""

    def limited(samples: int) -> list[int]:
        sizes: list[int] = []
        predict = StableDiffusion.predict

        def measured(family: StableDiffusion, noisy: torch.Tensor, *rest: Any) -> torch.Tensor:
            if torch.is_grad_enabled():
                if len(noisy) > samples:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                sizes.append(len(noisy))
            return predict(family, noisy, *rest)

        monkeypatch.setattr(StableDiffusion, "predict", measured)
        return sizes

    return limited


@pytest.mark.parametrize("more", [{}, {"train_text_encoder": True, "preservation_weight": 1.0}])
def test_a_batch_that_does_not_fit_is_computed_in_parts_with_the_same_result(
    make_spec: MakeSpec, room: Callable[[int], list[int]], more: dict[str, Any]
) -> None:
    changes = {"batch_size": 4, "num_repeats": 4, "aspect_buckets": False, **more}
    whole, split = Told(), Told()
    whole.train(make_spec("whole", **changes))
    sizes = room(1)
    result = split.train(make_spec("split", **changes))
    assert set(sizes) == {1}
    assert [metrics.step for metrics in split.steps] == [metrics.step for metrics in whole.steps]
    # The weights of the first step are the same; later ones differ by what rounding makes of them.
    assert split.steps[0].loss == pytest.approx(whole.steps[0].loss, rel=1e-6)
    assert [one.loss for one in split.steps] == pytest.approx([one.loss for one in whole.steps], rel=2e-3)
    assert [text.partition("computed in ")[2].partition(";")[0] for text in split.texts] == [
        "parts of 2 pictures",
        "single pictures",
    ]
    counts = [samples_seen(told.epochs[-1].checkpoint_dir) for told in (whole, split)]
    assert counts[0] == counts[1]
    resumed = Told()
    assert result.checkpoint_dir is not None
    resumed.train(make_spec("resumed", **changes, num_epochs=3, job={"resume_from": result.checkpoint_dir}))
    assert resumed.texts == split.texts[-1:]


def samples_seen(checkpoint: Path) -> list[list[float]]:
    """Of each epoch, how often each picture was counted."""
    epochs = json.loads((checkpoint / "state.json").read_text())["progress"]["picture_losses"]
    return [[sum(level[0] for level in picture) for picture in epoch] for epoch in epochs]


def test_checkpoints_of_an_ordinary_run_say_nothing_of_second_tries(make_spec: MakeSpec) -> None:
    told = Told()
    told.train(make_spec(num_epochs=1))
    progress = json.loads((told.epochs[0].checkpoint_dir / "state.json").read_text())["progress"]
    assert not {"rate_factor", "micro_batch"} & progress.keys()


def test_a_recorded_step_gives_its_recordings_up(
    make_spec: MakeSpec, room: Callable[[int], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Repeating()
    monkeypatch.setattr("services.trainer.engine.acceleration.CudaGraphs", lambda _: recorder)
    changes = {"batch_size": 4, "num_repeats": 4, "aspect_buckets": False, "num_epochs": 1}
    whole, split = Told(), Told()
    whole.train(make_spec("whole", **changes))
    sizes = room(2)
    graphs = Acceleration(graphs=True, compiled=False)
    split.train(dataclasses.replace(make_spec("split", **changes), acceleration=graphs))
    assert set(sizes) == {2}
    assert recorder.replayed == 0
    assert [one.loss for one in split.steps] == pytest.approx([one.loss for one in whole.steps], rel=2e-3)
