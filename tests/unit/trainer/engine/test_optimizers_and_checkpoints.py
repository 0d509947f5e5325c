"""Every offered optimizer takes steps and continues from a checkpoint as if nothing had happened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import nn

from services.trainer.engine.checkpoints import Place, TrainingState, load_checkpoint, save_checkpoint
from services.trainer.engine.errors import EngineError
from services.trainer.engine.identity import PARAMETERS_FREE_TO_CHANGE, PARAMETERS_SINCE_ADDED
from services.trainer.engine.job import Hooks, TrainJobSpec
from services.trainer.engine.json_text import to_json
from services.trainer.engine.lora import RunningAverage
from services.trainer.engine.optimizers import build_optimizer, build_schedule, set_mode
from services.trainer.engine.precision import gradient_scaler
from services.trainer.engine.preparation import prepare
from services.trainer.engine.processes import Processes
from services.trainer.engine.warm import Warm
from services.trainer.recipe.parameter_spec import InvalidParameters
from services.trainer.recipe.parameters import DEFAULT_SPECS, TrainingParameters, resolve
from services.trainer.recipe.sharing import samples_of

Make = Callable[..., TrainingParameters]
CPU = torch.device("cpu")


def new_state(parameters: TrainingParameters) -> tuple[TrainingState, RunningAverage]:
    torch.manual_seed(0)
    weights = {"unet.a": nn.Parameter(torch.randn(6, 4)), "text_encoder.b": nn.Parameter(torch.randn(5))}
    average = RunningAverage(weights, parameters.ema_decay)
    optimizer = build_optimizer(weights, "unet", parameters)
    schedule = build_schedule(optimizer, parameters, 20)
    set_mode(optimizer, training=True)
    return TrainingState(weights, average.averages, optimizer, schedule, gradient_scaler(CPU, "no")), average


def advance(state: TrainingState, average: RunningAverage, first: int, last: int) -> None:
    for step in range(first, last):
        for number, weight in enumerate(state.weights.values()):
            generator = torch.Generator().manual_seed(step * 10 + number)
            weight.grad = weight.detach() + 0.1 * torch.randn(weight.shape, generator=generator)
        state.optimizer.step()
        state.schedule.step()
        average.update(step + 1)


SPECS = {spec.name: spec for spec in DEFAULT_SPECS}
PAIRS = [
    (optimizer, schedule)
    for optimizer in SPECS["optimizer"].choices
    for schedule in SPECS["lr_scheduler"].choices
    # Its library is not installed where tests run, and the worker says so; see below.
    if optimizer != "adamw8bit"
]


@pytest.mark.parametrize(("optimizer", "schedule"), PAIRS)
def test_every_pair_of_optimizer_and_schedule_is_refused_at_once_or_continues_from_a_checkpoint_bitwise(
    tmp_path: Path, optimizer: str, schedule: str
) -> None:
    given = {"optimizer": optimizer, "lr_scheduler": schedule, "lr_warmup_steps": 3, "ema_decay": 0.9}
    if optimizer == "schedule_free" and not schedule.startswith("constant"):
        with pytest.raises(InvalidParameters, match="lr_scheduler"):
            resolve(DEFAULT_SPECS, given)
        return
    chosen = resolve(DEFAULT_SPECS, given)
    whole, whole_average = new_state(chosen)
    start = {key: weight.detach().clone() for key, weight in whole.weights.items()}
    advance(whole, whole_average, 0, 8)
    assert all(not torch.equal(weight, start[key]) for key, weight in whole.weights.items())

    first, first_average = new_state(chosen)
    advance(first, first_average, 0, 5)
    save_checkpoint(tmp_path / "c", Place("job", step=5, losses=[0.1, 0.30000000000000004]), first)
    second, second_average = new_state(chosen)
    place = load_checkpoint(tmp_path / "c", "job", second)
    advance(second, second_average, 5, 8)
    assert (place.step, place.losses) == (5, [0.1, 0.30000000000000004])
    for key, weight in whole.weights.items():
        assert torch.equal(weight, second.weights[key]), key
        assert torch.equal(whole.averages[key], second.averages[key]), key
    assert whole.schedule.get_last_lr() == second.schedule.get_last_lr()


def test_a_checkpoint_from_before_the_schedules_had_parameters_fits_a_job_of_that_time(
    make_spec: Callable[..., TrainJobSpec],
) -> None:
    spec = make_spec(job={"sample_base_previews": False}, lr_num_cycles=1, lr_power=1.0)
    run = prepare(spec, Hooks(), Processes(), Warm())
    since = (*PARAMETERS_FREE_TO_CHANGE, *PARAMETERS_SINCE_ADDED)
    then = {name: value for name, value in asdict(spec.parameters).items() if name not in since}
    items = [
        # At that time the worker multiplied a picture's own repeats by the job's before the engine saw them.
        (hashlib.sha256(item.image_path.read_bytes()).hexdigest(), item.caption, samples, item.crop)
        for item in spec.items
        for samples in [samples_of(item.repeats, spec.parameters)]
    ]
    text = to_json([run.facts.base_digest, then, items])
    assert run.facts.session == hashlib.sha256(text.encode()).hexdigest()[:16]


STEPS = 12


def rates(parameters: Make, name: str, optimizer: str = "adamw", **changes: object) -> list[float]:
    """The learning rate of every step of a job, as a share of the chosen one."""
    chosen = parameters(optimizer=optimizer, lr_scheduler=name, learning_rate=1e-3, **changes)
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    built = build_optimizer({"unet.a": weight}, "unet", chosen)
    schedule = build_schedule(built, chosen, STEPS)
    found = []
    for _ in range(STEPS):
        found.append(built.param_groups[0]["lr"] / 1e-3)
        weight.grad = torch.ones(2, 2)
        built.step()
        schedule.step()
    return found


def test_every_schedule_goes_its_own_way(parameters: Make) -> None:
    names = ["constant", "linear", "cosine", "cosine_with_restarts", "polynomial"]
    ways = {name: tuple(rates(parameters, name)) for name in names}
    assert len(set(ways.values())) == len(names)
    assert rates(parameters, "cosine_with_restarts", lr_num_cycles=1) == pytest.approx(ways["cosine"])
    assert rates(parameters, "polynomial", lr_power=1.0) == pytest.approx(ways["linear"])
    for name in ("constant", "linear", "cosine"):
        assert tuple(rates(parameters, name, lr_num_cycles=7, lr_power=3.0)) == ways[name]


@pytest.mark.parametrize("cycles", [2, 3, 4])
def test_restarts_begin_anew_as_often_as_asked(parameters: Make, cycles: int) -> None:
    found = rates(parameters, "cosine_with_restarts", lr_num_cycles=cycles)
    starts = [step for step, rate in enumerate(found) if rate == pytest.approx(1.0)]
    assert starts == [number * STEPS // cycles for number in range(cycles)]


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "lion"])
def test_a_polynomial_falls_with_its_power_after_the_warmup(parameters: Make, optimizer: str) -> None:
    found = rates(parameters, "polynomial", optimizer, lr_power=2.0, lr_warmup_steps=2)
    expected = [0.0, 0.5, *((1.0 - step / 10) ** 2 for step in range(10))]
    assert found == pytest.approx(expected)


def test_text_encoders_have_their_own_learning_rate(parameters: Make) -> None:
    state, _ = new_state(parameters(learning_rate=1e-3, text_encoder_learning_rate=1e-5, lr_scheduler="constant"))
    assert [group["lr"] for group in state.optimizer.param_groups] == [1e-3, 1e-5]


def test_a_missing_library_is_named_with_a_way_out(parameters: Make) -> None:
    with pytest.raises(EngineError, match="bitsandbytes") as caught:
        new_state(parameters(optimizer="adamw8bit"))
    assert caught.value.reason == "OPTIMIZER_UNAVAILABLE"


def test_evaluations_of_an_earlier_workers_checkpoint_are_still_read(parameters: Make, tmp_path: Path) -> None:
    state, _ = new_state(parameters())
    earlier = {"fit_loss": 0.3, "holdout_loss": 0.4, "base_holdout_loss": 0.5}
    save_checkpoint(tmp_path / "c", Place("job", epoch=1, evaluations=[earlier]), state)
    found = load_checkpoint(tmp_path / "c", "job", state).evaluations
    assert found == [{"fit_loss": 0.3, "held_out_loss": 0.4, "base_held_out_loss": 0.5}]


def test_an_interrupted_write_leaves_the_old_checkpoint(
    parameters: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, _ = new_state(parameters())
    save_checkpoint(tmp_path / "c", Place("job", step=1), state)

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("services.trainer.engine.checkpoints.json.dump", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path / "c", Place("job", step=2), state)
    assert load_checkpoint(tmp_path / "c", "job", state).step == 1


def test_the_running_average_is_exported_and_taken_out_again(parameters: Make) -> None:
    weights = {"unet.a": nn.Parameter(torch.zeros(3))}
    average = RunningAverage(weights, 0.5)
    weights["unet.a"].data.fill_(1.0)
    average.update(100)
    with average.in_place():
        assert weights["unet.a"].tolist() == [0.5] * 3
    assert weights["unet.a"].tolist() == [1.0] * 3
    off = RunningAverage(weights, 0.0)
    off.update(1)
    with off.in_place():
        assert weights["unet.a"].tolist() == [1.0] * 3
