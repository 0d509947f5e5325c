"""Recorded and compiled steps compute what plain ones do, twice the same bytes, and resume to them."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from services.trainer.engine.graph_step import CudaGraphs
from services.trainer.engine.job import Acceleration, BaseModelFiles, Command, EpochResult, Hooks, TrainJobSpec
from services.trainer.engine.train_loop import train
from tests.fixtures.miniatures import write_flux, write_sdxl, write_stable_diffusion

MakeSpec = Callable[..., TrainJobSpec]
PLAIN = Acceleration(graphs=False, compiled=False)
GRAPHS = Acceleration(graphs=True, compiled=False)
CASES: dict[str, tuple[Callable[[Path], BaseModelFiles], dict[str, Any]]] = {
    "stable-diffusion": (write_stable_diffusion, {"min_snr_gamma": 5.0, "ema_decay": 0.9}),
    "text-encoder": (write_stable_diffusion, {"train_text_encoder": True}),
    "sdxl-bf16": (write_sdxl, {"mixed_precision": "bf16", "noise_offset": 0.1}),
    "sdxl-accumulation": (write_sdxl, {"gradient_accumulation_steps": 2, "batch_size": 1}),
    "checkpointing": (write_sdxl, {"gradient_checkpointing": True}),
    "flux-bf16": (write_flux, {"mixed_precision": "bf16", "shuffle_caption": True}),
    "dora": (write_stable_diffusion, {"adapter": "dora"}),
}


@pytest.fixture(autouse=True)
def nothing_falls_back() -> Iterator[None]:
    """A part of the step that cannot be recorded warns, which fails the test; torch's own advice does not."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*cannot be recorded.*")
        yield


def run(spec: TrainJobSpec, acceleration: Acceleration) -> tuple[list[float], EpochResult]:
    losses: list[float] = []
    epochs: list[EpochResult] = []
    hooks = Hooks(on_step=lambda metrics: losses.append(metrics.loss), on_epoch=epochs.append)
    train(dataclasses.replace(spec, acceleration=acceleration), hooks)
    return losses, epochs[-1]


def spec_of(make_spec: MakeSpec, folder: Path, case: str, name: str) -> TrainJobSpec:
    write, changes = CASES[case]
    # The same weights every time: the writers seed them.
    job = {"base_model": write(folder / f"base-{name}"), "device": "cuda"}
    return make_spec(name, job=job, num_epochs=1, num_repeats=8, learning_rate=1e-3, **changes)


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_step_equals_a_plain_one(make_spec: MakeSpec, tmp_path: Path, case: str) -> None:
    plain, first = run(spec_of(make_spec, tmp_path, case, "plain"), PLAIN)
    recorded, second = run(spec_of(make_spec, tmp_path, case, "recorded"), GRAPHS)
    assert len(recorded) >= 8
    assert recorded == pytest.approx(plain, rel=1e-4 if "bf16" not in case else 2e-2)
    assert second.evaluation.fit_loss == pytest.approx(first.evaluation.fit_loss, rel=1e-2)


def test_the_same_job_twice_gives_the_same_bytes_and_a_resumed_one_too(make_spec: MakeSpec, tmp_path: Path) -> None:
    shas = []
    for name in ("one", "two"):
        _, result = run(spec_of(make_spec, tmp_path, "sdxl-bf16", name), GRAPHS)
        shas.append([artifact.sha256 for artifact in result.artifacts])
    assert shas[0] == shas[1]
    first = dataclasses.replace(spec_of(make_spec, tmp_path, "sdxl-bf16", "first"), acceleration=GRAPHS)
    polls = iter([Command.CONTINUE] * 4 + [Command.PAUSE])
    paused = train(first, Hooks(control=lambda: next(polls)))
    second = dataclasses.replace(spec_of(make_spec, tmp_path, "sdxl-bf16", "second"), resume_from=paused.checkpoint_dir)
    _, result = run(second, GRAPHS)
    assert [artifact.sha256 for artifact in result.artifacts] == shas[0]


@pytest.mark.parametrize("graphs", [False, True])
def test_compiled_blocks_give_the_same_losses(make_spec: MakeSpec, tmp_path: Path, graphs: bool) -> None:
    plain, _ = run(spec_of(make_spec, tmp_path, "stable-diffusion", "plain"), PLAIN)
    compiled, result = run(
        spec_of(make_spec, tmp_path, "stable-diffusion", "compiled"), Acceleration(graphs=graphs, compiled=True)
    )
    assert compiled == pytest.approx(plain, rel=1e-2)
    assert result.max_reload_difference < 1e-3


@pytest.mark.parametrize("mixed_precision", ["bf16", "fp16"])
def test_half_precision_learns(make_spec: MakeSpec, mixed_precision: str) -> None:
    epochs: list[EpochResult] = []
    spec = make_spec(job={"device": "cuda"}, mixed_precision=mixed_precision, num_epochs=1, num_repeats=12)
    train(spec, Hooks(on_epoch=epochs.append))
    assert epochs[0].evaluation.fit_loss < epochs[0].evaluation.base_fit_loss


def test_a_recording_is_replayed_on_new_values(cuda: torch.device) -> None:
    graphs = CudaGraphs(cuda)
    buffer = torch.ones(4, device=cuda)
    graphs.run(lambda: buffer * 2)
    replay = graphs.record(lambda: buffer * 2)
    buffer.fill_(21.0)
    assert replay().tolist() == [42.0] * 4
