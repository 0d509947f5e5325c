"""A preservation loss holds the model to what its base says without the trigger word."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from services.trainer.engine.job import Command, EpochResult, Hooks, TrainJobSpec
from services.trainer.engine.train_loop import train
from tests.fixtures.training_jobs import losses_of

MakeSpec = Callable[..., TrainJobSpec]
KEPT: dict[str, Any] = {"preservation_weight": 5.0, "preservation_class": "ball", "caption_dropout": 0.0}


def trained(spec: TrainJobSpec, **hooks: Any) -> list[EpochResult]:
    epochs: list[EpochResult] = []
    train(replace(spec, sample_base_previews=False), Hooks(on_epoch=epochs.append, **hooks))
    return epochs


@pytest.mark.parametrize(
    "changes", [{"adapter": "dora", "train_text_encoder": True}, {"gradient_checkpointing": True, "adapter": "lokr"}]
)
def test_what_the_model_draws_elsewhere_moves_less_and_it_learns_all_the_same(
    make_spec: MakeSpec, changes: dict[str, Any]
) -> None:
    changes = {"num_repeats": 6, "preview_steps": 1, **changes, "num_epochs": 1}
    (plain,) = trained(make_spec("plain", **changes, caption_dropout=0.0))
    (kept,) = trained(make_spec("kept", **{**changes, **KEPT}))
    assert kept.evaluation.drift < 0.8 * plain.evaluation.drift
    assert kept.artifacts[0].sha256 != plain.artifacts[0].sha256
    assert kept.max_reload_difference < 1e-3


def test_the_first_step_has_nothing_to_preserve_and_later_ones_do(make_spec: MakeSpec) -> None:
    plain = losses_of(make_spec("plain", num_epochs=1, caption_dropout=0.0))
    kept = losses_of(make_spec("kept", num_epochs=1, **KEPT))
    assert kept[0] == plain[0]
    assert kept[1] > plain[1]


def test_a_paused_job_goes_on_bitwise(make_spec: MakeSpec) -> None:
    kept = {**KEPT, "num_epochs": 1, "preview_steps": 1}
    (whole,) = trained(make_spec("whole", **kept))
    steps = iter([Command.CONTINUE, Command.PAUSE])
    result = train(make_spec("halves", **kept), Hooks(control=lambda: next(steps)))
    (again,) = trained(make_spec("halves", job={"resume_from": result.checkpoint_dir}, **kept))
    assert again.artifacts[0].sha256 == whole.artifacts[0].sha256
