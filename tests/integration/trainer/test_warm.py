"""A job in a process that has just done another gives bitwise the files of a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families import load_family
from services.trainer.engine.job import BaseModelFiles, Command, EpochResult, Hooks, TrainJobSpec
from services.trainer.engine.train_loop import train
from services.trainer.engine.warm import Warm
from tests.fixtures.miniatures import write_stable_diffusion

MakeSpec = Callable[..., TrainJobSpec]
JOBS: dict[str, dict[str, Any]] = {
    "lora": {},
    "dora": {"adapter": "dora", "train_text_encoder": True, "ema_decay": 0.9},
    "lokr": {"adapter": "lokr", "target_modules": "attention", "gradient_checkpointing": True},
    "loha": {"adapter": "loha", "target_modules": "attention_ff", "optimizer": "lion", "learning_rate": 2e-3},
    "again": {},
}


@pytest.fixture
def warm() -> Iterator[Warm]:
    with closing(Warm()) as made:
        yield made


def done(spec: TrainJobSpec, warm: Warm | None = None) -> EpochResult:
    epochs: list[EpochResult] = []
    train(spec, Hooks(on_epoch=epochs.append), warm)
    (epoch,) = epochs
    return epoch


def content(epoch: EpochResult) -> list[bytes]:
    paths = [file.path for file in epoch.artifacts] + [preview.path for preview in epoch.previews]
    return [path.read_bytes() for path in paths]


def test_files_are_those_of_a_cold_start_whatever_the_job_before(make_spec: MakeSpec, warm: Warm) -> None:
    found = set()
    for name, changes in JOBS.items():
        changes = {"num_epochs": 1, **changes}
        cold, hot = done(make_spec("cold", **changes)), done(make_spec(name, **changes), warm)
        assert content(hot) == content(cold), name
        assert hot.evaluation == cold.evaluation
        found.add(warm.held_bytes)
    assert len(found) == 1
    assert found != {0}


def test_what_a_job_gives_back_is_the_model_that_was_loaded(
    make_spec: MakeSpec, base_model: BaseModelFiles, warm: Warm
) -> None:
    done(make_spec(num_epochs=1, **JOBS["dora"]), warm)
    device, dtype = torch.device("cpu"), torch.float32
    fresh, held = load_family(base_model, device, dtype), warm.take(base_model, device, dtype, "none")
    for ours, theirs in zip(held.modules, fresh.modules, strict=True):
        assert [(name, type(module)) for name, module in ours.named_modules()] == [
            (name, type(module)) for name, module in theirs.named_modules()
        ]
        assert not any(weight.requires_grad for weight in ours.parameters())
        assert not any(module.training for module in ours.modules())
        state = theirs.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in ours.state_dict().items())
    # It is lent to one job at a time.
    assert warm.take(base_model, device, dtype, "none") is not held


def test_another_base_model_takes_the_place_of_the_one_before(make_spec: MakeSpec, warm: Warm, tmp_path: Path) -> None:
    done(make_spec(num_epochs=1), warm)
    other = write_stable_diffusion(tmp_path / "other", "epsilon")
    spec = replace(make_spec("other", num_epochs=1), base_model=other)
    assert content(done(spec, warm)) == content(done(replace(spec, output_dir=tmp_path / "cold")))
    with pytest.raises(EngineError, match="cannot train the family"):
        done(replace(spec, base_model=replace(other, family="none")), warm)
    assert warm.held_bytes == 0


def test_a_cancelled_job_leaves_the_model_as_it_was(make_spec: MakeSpec, warm: Warm) -> None:
    spec = make_spec("cancelled", num_epochs=1)
    train(spec, Hooks(control=lambda: Command.CANCEL), warm)
    assert warm.held_bytes
    assert content(done(make_spec("hot", num_epochs=1), warm)) == content(done(make_spec("cold", num_epochs=1)))


def test_a_helper_works_on_one_job_after_the_other_and_ends_with_its_pool(make_spec: MakeSpec) -> None:
    changes, two = {"num_epochs": 1, "batch_size": 3, "num_repeats": 4}, {"processes": 2}
    with closing(Warm()) as warm:
        first = done(make_spec("first", job=two, **changes), warm)
        (helper,) = warm.helpers.waiting
        train(make_spec("cancelled", job=two, **changes), Hooks(control=lambda: Command.CANCEL), warm)
        assert content(done(make_spec("second", job=two, **changes), warm)) == content(first)
        assert warm.helpers.waiting == (helper,)
        assert helper.poll() is None
    assert helper.poll() is not None
