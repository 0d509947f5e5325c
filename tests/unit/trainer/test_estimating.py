"""EstimateTrainingJob over fakes: where its numbers come from, and whether the job fits."""

from __future__ import annotations

from typing import Any

import pytest

from services.trainer.models.base import Estimate, TrainingImage, TrainingSet
from services.trainer.ports import PresentDevice
from services.trainer.recipe.advice import Fit, Offers, after_out_of_memory, in_words, offers_of, smaller
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.calibration import FINISHED_JOBS, OTHER_MODEL, SAME_MODEL
from services.trainer.recipe.plan import PictureSize
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.estimating import JobEstimator
from services.trainer.use_cases.planning import JobRequest, Planner
from tests.fakes.measurements import FakeMeasurements
from tests.unit.trainer.measured import MIB, MODEL, NAME, NOW, asked_for, cost, measurement, parameters

CPU = "cpu 2 threads"


class _Datasets:
    async def look(self, name: str) -> TrainingSet:
        images = tuple(TrainingImage(PictureSize(256, 256, None, 1), f"sks toy {n}") for n in range(5))
        return TrainingSet("", "d" * 64, "sks", images)

    pin = look

    async def draw(self, image: str, part: Crop, size: tuple[int, int], *, mask: bool = False) -> bytes:
        raise AssertionError("nothing is drawn here")


class _Store:
    """Knows the pace of finished jobs only."""

    def __init__(self, pace: float) -> None:
        self._pace = pace

    async def pace(self, base_model: str) -> float:
        return self._pace


async def _estimate(measurements: FakeMeasurements, *, pace: float = 0.0, **given: object) -> Estimate:
    store: Any = _Store(pace)
    catalogue = {MODEL.id: MODEL}
    planner = Planner(BaseModels(catalogue), _Datasets(), min_images=1)
    estimator = JobEstimator(store, measurements, planner, catalogue, clock=lambda: NOW)
    request = JobRequest("acme", "", "", NAME, "projects/acme/datasets/dog", given, 0)
    return await estimator.estimate(request)


async def test_the_basis_is_the_best_that_there_is() -> None:
    measurements = FakeMeasurements(PresentDevice(CPU, 0))
    nothing = await _estimate(measurements)
    assert (nothing.time, nothing.basis) == (None, "")
    finished = await _estimate(measurements, pace=0.5)
    assert finished.basis == FINISHED_JOBS
    assert finished.time is not None
    await measurements.add(measurement(parameters(), base_model="baseModels/other"))
    assert (await _estimate(measurements, pace=0.5)).basis == OTHER_MODEL
    await measurements.add(measurement(parameters()))
    own = await _estimate(measurements, pace=0.5)
    assert (own.basis, own.device, own.measured_runs) == (SAME_MODEL, CPU, 1)


async def test_workers_that_are_gone_are_estimated_for_when_none_is_there() -> None:
    measurements = FakeMeasurements()
    await measurements.add(measurement(parameters()))
    estimate = await _estimate(measurements)
    assert (estimate.basis, estimate.device, estimate.fit) == (SAME_MODEL, CPU, Fit.UNSPECIFIED)


async def test_a_job_that_does_not_fit_is_told_the_cheapest_change_that_makes_it_fit() -> None:
    lean = {"train_text_encoder": False, "crop_variants": 1, "flip": False, "regularization_fraction": 0.0}
    wanted = {**lean, "crop_jitter": 0.0, "batch_size": 64}
    half = cost(parameters(**{**wanted, "batch_size": 32})).memory_bytes
    whole = cost(parameters(**wanted)).memory_bytes
    limit = round((0.2 * whole + 0.8 * half) * 1.5)
    estimate = await _estimate(FakeMeasurements(PresentDevice("NVIDIA T", limit)), **wanted)
    if estimate.fit is Fit.YES:
        pytest.fail(f"{estimate.memory} fits {limit}")
    tight = await _estimate(FakeMeasurements(PresentDevice("NVIDIA T", round(half * 1.02))), **wanted)
    assert tight.fit is Fit.NO
    assert "batch_size" in tight.fit_remedy
    assert "gradient_accumulation_steps" in tight.fit_remedy
    roomy = await _estimate(FakeMeasurements(PresentDevice("NVIDIA T", round(whole * 3))), **wanted)
    assert (roomy.fit, roomy.fit_remedy) == (Fit.YES, "")
    hopeless = await _estimate(FakeMeasurements(PresentDevice("NVIDIA T", 2 * MIB)), **wanted)
    assert hopeless.fit is Fit.NO
    assert "more memory" in hopeless.fit_remedy


@pytest.mark.parametrize("batch", [2, 3, 5, 6, 7, 8, 12])
def test_what_is_tried_keeps_the_samples_of_a_step(batch: int) -> None:
    tried = [
        (int(str(change["batch_size"])), int(str(change["gradient_accumulation_steps"])))
        for change in smaller(parameters(batch_size=batch, gradient_accumulation_steps=2))
        if "batch_size" in change
    ]
    assert {size * accumulation for size, accumulation in tried} == {2 * batch}
    assert min(size for size, _ in tried) == 1


def test_no_number_format_is_advised_that_no_worker_computes_in() -> None:
    chosen = parameters(mixed_precision="no", batch_size=1)
    for formats, half in (((), "bf16"), (("no", "bf16", "fp16"), "bf16"), (("no", "fp16"), "fp16"), (("no",), None)):
        tried = {change["mixed_precision"] for change in smaller(chosen, formats) if "mixed_precision" in change}
        assert tried == ({half} if half else set())
        assert ("mixed_precision" in after_out_of_memory(chosen, Offers(formats=formats))) is bool(half)


def test_a_run_out_of_memory_advises_only_what_its_base_model_and_its_worker_take() -> None:
    chosen = parameters(batch_size=4, mixed_precision="no", gradient_checkpointing=False)
    sides = next(spec for spec in MODEL.specs if spec.name == "resolution")
    assert sides.minimum == chosen.resolution, "the smallest that it takes"
    told = after_out_of_memory(chosen, offers_of(MODEL, ("no", "bf16"), quantizes=False))
    assert "batch_size 2 and gradient_accumulation_steps 2" in told
    assert "mixed_precision bf16" in told
    assert "resolution" not in told
    assert "base_quantization" not in told
    assert "base_quantization nf4" in after_out_of_memory(chosen, offers_of(MODEL))
    in_parts = after_out_of_memory(chosen, offers_of(MODEL), batches=False)
    assert "batch_size" not in in_parts
    assert "gradient_checkpointing true" in in_parts


@pytest.mark.parametrize("batch", [6, 64])
async def test_advice_that_is_followed_makes_the_job_fit(batch: int) -> None:
    lean = {"train_text_encoder": False, "crop_variants": 1, "flip": False, "regularization_fraction": 0.0}
    wanted: dict[str, Any] = {**lean, "crop_jitter": 0.0, "batch_size": batch}
    needs = (await _estimate(FakeMeasurements(PresentDevice("NVIDIA T", 1)), **wanted)).memory.middle
    advised = 0
    for share in (0.9, 0.7, 0.5, 0.3):
        present = FakeMeasurements(PresentDevice("NVIDIA T", round(share * needs)))
        told = (await _estimate(present, **wanted)).fit_remedy
        if changes := asked_for(told):
            advised += 1
            assert (await _estimate(present, **{**wanted, **changes})).fit is Fit.YES, told
    assert advised


def test_the_changes_cost_more_and_more() -> None:
    chosen = parameters(batch_size=4, mixed_precision="bf16", gradient_checkpointing=True, resolution=64)
    changes = list(smaller(chosen))
    assert changes[:3] == [
        {"batch_size": 2, "gradient_accumulation_steps": 2},
        {"batch_size": 1, "gradient_accumulation_steps": 4},
        {"base_quantization": "nf4"},
    ]
    assert changes[-1] == {
        "batch_size": 1,
        "gradient_accumulation_steps": 4,
        "base_quantization": "nf4",
        "resolution": 32,
    }
    assert len(changes) == len({in_words(change) for change in changes}) == 3 * 2 * 3 - 1


def test_an_estimate_and_a_run_out_of_memory_advise_the_same_changes() -> None:
    chosen = parameters(batch_size=8, mixed_precision="no", gradient_checkpointing=False)
    advised = after_out_of_memory(chosen)
    alone = [change for change in smaller(chosen) if in_words(change) in advised]
    assert [next(iter(change)) for change in alone] == [
        "batch_size",
        "mixed_precision",
        "gradient_checkpointing",
        "base_quantization",
        "resolution",
    ]
    smallest = parameters(
        batch_size=1, mixed_precision="bf16", gradient_checkpointing=True, base_quantization="nf4", resolution=16
    )
    assert list(smaller(smallest)) == []
    assert after_out_of_memory(smallest) == "Use a worker with more memory or a smaller base model."


async def test_an_estimate_says_where_the_files_will_look_different() -> None:
    measurements = FakeMeasurements(PresentDevice(CPU, 0))
    assert (await _estimate(measurements)).file_notes == ()
    told = (await _estimate(measurements, adapter="dora")).file_notes
    assert [note.split()[0] for note in told] == ["Automatic1111", "sd-scripts"]
