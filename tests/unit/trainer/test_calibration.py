"""From measured runs to estimates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.trainer.recipe.calibration import (
    OTHER_MODEL,
    SAME_MODEL,
    Measurement,
    TimeEstimate,
    device_class,
    estimate_memory,
    estimate_time,
    likely_processes,
)
from services.trainer.recipe.parameters import TrainingParameters
from tests.unit.trainer.measured import MIB, NAME, cost, measurement, parameters

CPU = "cpu 2 threads"


def _timed(
    chosen: TrainingParameters, *measured: Measurement, device: str = CPU, base_model: str = NAME
) -> TimeEstimate | None:
    return estimate_time(
        cost(chosen), measured, device=device, base_model=base_model, mixed_precision=chosen.mixed_precision
    )


def test_a_device_of_known_pace_is_foretold_exactly_for_a_job_that_was_not_measured() -> None:
    runs = [measurement(parameters(batch_size=size), pace=2.5) for size in (1, 8)]
    wanted = parameters(batch_size=4, num_epochs=3, rank=8)
    timed = _timed(wanted, *runs)
    assert timed is not None
    described = device_class(CPU, "no")
    of_job = cost(wanted)
    assert timed.training.middle == pytest.approx(2.5 * 3 * described.seconds(of_job.of_epoch["training"]))
    whole = 2.5 * sum(described.seconds(work) for work in of_job.work.values()) + 3.0 + 3 * 0.5
    assert timed.total.middle == pytest.approx(whole, rel=0.01)
    assert timed.total.low < timed.total.middle < timed.total.high
    assert (timed.basis, timed.runs) == (SAME_MODEL, 2)


def test_runs_that_differ_widen_the_range_and_one_run_is_not_trusted_like_three() -> None:
    wanted = parameters()
    alike = _timed(wanted, *(measurement(wanted, pace=pace) for pace in (1.0, 1.02, 0.98)))
    apart = _timed(wanted, *(measurement(wanted, pace=pace) for pace in (1.0, 1.8, 0.6)))
    single = _timed(wanted, measurement(wanted))
    assert alike is not None
    assert apart is not None
    assert single is not None
    width = {name: one.training.high / one.training.middle for name, one in _named(alike, apart, single)}
    assert width["alike"] < width["single"] < width["apart"]


def test_the_runs_that_are_like_the_job_count_most() -> None:
    # Single pictures are slow on this device, whatever the reason; batches are not.
    runs = [measurement(parameters(batch_size=1), pace=3.0), measurement(parameters(batch_size=16), pace=1.0)]
    small, large = (_timed(parameters(batch_size=size), *runs) for size in (1, 16))
    assert small is not None
    assert large is not None
    described = device_class(CPU, "no")
    paces = [
        timed.training.middle / (5 * described.seconds(cost(parameters(batch_size=size)).of_epoch["training"]))
        for timed, size in ((small, 1), (large, 16))
    ]
    assert paces[0] > 2.0
    assert paces[1] < 1.5


def test_a_long_job_on_a_cpu_shares_its_batches_and_runs_of_one_process_say_less_of_it() -> None:
    assert [likely_processes(CPU, samples) for samples in (999, 1000)] == [1, 2]
    assert likely_processes("cpu 1 threads", 5000) == likely_processes("NVIDIA H200", 5000) == 1
    runs = [measurement(parameters(batch_size=size)) for size in (2, 8)]
    alone, shared = (
        estimate_time(cost(parameters()), runs, device=CPU, base_model=NAME, mixed_precision="no", processes=count)
        for count in (1, 2)
    )
    assert alone is not None
    assert shared is not None
    assert shared.training.high > alone.training.high


def test_another_base_model_on_the_device_is_better_than_nothing_and_says_so() -> None:
    other = measurement(parameters(), pace=2.0, base_model="baseModels/other")
    timed = _timed(parameters(), other)
    assert timed is not None
    assert timed.basis == OTHER_MODEL
    assert timed.total.high > 1.9 * timed.total.middle


def test_what_was_measured_elsewhere_or_by_another_cost_model_says_nothing() -> None:
    run = measurement(parameters())
    assert _timed(parameters(), run, device="NVIDIA H200") is None
    assert _timed(parameters(), replace(run, cost_version=0)) is None
    assert _timed(parameters()) is None


def test_memory_is_what_the_process_needs_and_the_counted_bytes_with_the_measured_slack() -> None:
    runs = [measurement(parameters(batch_size=size)) for size in (1, 8)]
    of_job = cost(parameters(batch_size=32))
    memory, count = estimate_memory(of_job, runs, device=CPU, base_model=NAME)
    assert memory.middle == pytest.approx(500 * MIB + 1.2 * of_job.memory_bytes, rel=0.001)
    assert memory.low < memory.middle < memory.high
    assert count == 2
    unknown, none = estimate_memory(of_job, [], device="NVIDIA H200", base_model=NAME)
    assert unknown.middle == pytest.approx(1.05 * of_job.memory_bytes)
    assert none == 0


def _named(*timed: TimeEstimate) -> list[tuple[str, TimeEstimate]]:
    return list(zip(("alike", "apart", "single"), timed, strict=True))
