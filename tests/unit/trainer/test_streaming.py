"""How many blocks are streamed, from the cost model alone: as few as make a job fit, and none where that is no help."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any, cast

import pytest

from services.trainer.models.base import TrainingImage, TrainingSet
from services.trainer.ports import PresentDevice
from services.trainer.recipe.advice import Fit, cost_of
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.calibration import Range, estimate_memory
from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, load_catalogue
from services.trainer.recipe.families import families
from services.trainer.recipe.parameters import TrainingParameters, resolve
from services.trainer.recipe.plan import PictureSize
from services.trainer.recipe.streaming import for_worker, is_streamed, most, to_fit
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.estimating import JobEstimator
from services.trainer.use_cases.planning import JobRequest, Planner
from services.trainer.worker.small_devices import streamed_blocks
from tests.fakes.measurements import FakeMeasurements
from tests.unit.trainer.measured import NOW, asked_for

GIB = 1 << 30
EXAMPLES = DEFAULT_CATALOGUE.with_name("base_models.example.toml").read_text(encoding="utf-8")
MODEL = load_catalogue(text=EXAMPLES.replace("\nenabled = false", ""))["flux-dev"]
FACTS = families()["flux"]
PICTURES = [PictureSize(1024, 1024)] * 12


def chosen(**changes: Any) -> TrainingParameters:
    return replace(resolve(MODEL.specs, {"resolution": 512}), **changes)


def memory(parameters: TrainingParameters) -> Range:
    cost = cost_of(MODEL, parameters, PICTURES)
    assert cost is not None
    return estimate_memory(cost, (), device="an accelerator", base_model="")[0]


def test_the_fewest_blocks_that_make_a_job_fit_are_streamed() -> None:
    parameters = chosen()
    whole = memory(parameters)
    assert to_fit(FACTS, MODEL.costs, parameters, whole, whole.middle) is None, "it fits without"
    counts = []
    for share in (0.9, 0.75, 0.6):
        limit = share * whole.middle
        found = to_fit(FACTS, MODEL.costs, parameters, whole, limit)
        assert found is not None
        left = found.less(whole)
        assert left.middle <= limit
        assert left.high <= limit or found.streamed == found.total
        counts.append(found.streamed)
        assert found.sentence.startswith(f"{57 - found.streamed} of the base model's 57 blocks stay on the device")
    assert counts == sorted(set(counts))
    everything = most(FACTS, MODEL.costs, parameters)
    assert everything is not None
    too_little = whole.middle - everything.freed_bytes - 1
    assert to_fit(FACTS, MODEL.costs, parameters, whole, too_little) is None, "it never fits"


def test_all_blocks_streamed_free_what_the_blocks_weigh_but_for_two() -> None:
    found = most(FACTS, MODEL.costs, chosen())
    assert found is not None
    # 11.8 billion weights of two bytes in 57 blocks.
    assert found.freed_bytes == pytest.approx(2 * 11_837_283_328 * 55 / 57)


def test_a_backward_pass_without_checkpointing_is_not_streamed() -> None:
    parameters = chosen(gradient_checkpointing=False)
    assert to_fit(FACTS, MODEL.costs, parameters, memory(parameters), 12.0 * GIB) is None


@pytest.mark.parametrize("adapter", ["rslora", "dora", "loha", "lokr"])
def test_every_adapter_is_streamed_alike(adapter: str) -> None:
    parameters = chosen(adapter=adapter)
    whole = memory(parameters)
    assert to_fit(FACTS, MODEL.costs, parameters, whole, 0.8 * whole.middle) is not None


@pytest.mark.parametrize(("quantization", "size"), [("int8", 1.0), ("nf4", 0.5)])
def test_of_a_quantised_base_less_comes_and_goes(quantization: str, size: float) -> None:
    parameters = chosen(base_quantization=quantization)
    found = most(FACTS, MODEL.costs, parameters)
    assert found is not None
    assert found.freed_bytes == pytest.approx(size * 11_837_283_328 * 55 / 57)
    assert found.less(memory(parameters)).middle > 0.0


def test_a_unet_is_not_streamed() -> None:
    model = load_catalogue(text=EXAMPLES.replace("\nenabled = false", ""))["sdxl"]
    parameters = replace(resolve(model.specs, {}), gradient_checkpointing=True)
    assert most(families()["sdxl"], model.costs, parameters) is None


def test_a_worker_streams_by_its_own_memory_and_a_cpu_never_does() -> None:
    parameters = chosen()
    cost = cost_of(MODEL, parameters, PICTURES)
    small = for_worker(FACTS, MODEL.costs, parameters, cost, device="NVIDIA L4", usable=22.0 * GIB)
    assert small is not None
    assert 0 < small.streamed <= small.total
    assert for_worker(FACTS, MODEL.costs, parameters, cost, device="NVIDIA H200", usable=130.0 * GIB) is None
    assert for_worker(FACTS, MODEL.costs, parameters, cost, device="cpu 4 threads", usable=22.0 * GIB) is None


def test_what_a_worker_asks_for_is_a_number_of_blocks() -> None:
    parameters = chosen()
    asked = [
        streamed_blocks(MODEL, wanted, PICTURES, device=device, memory_bytes=24 * GIB)
        for wanted, device in (
            (parameters, "NVIDIA L4"),
            (parameters, "cpu 4 threads"),
            (chosen(gradient_checkpointing=False), "NVIDIA L4"),
            # No picture fits into its smallest bucket: the engine refuses that itself.
            (chosen(resolution=1), "NVIDIA L4"),
        )
    ]
    assert asked[0] > 0
    assert asked[1:] == [0, 0, 0]


class _Store:
    """Knows of no finished job."""

    async def pace(self, base_model: str) -> float:
        return 0.0


class _Datasets:
    async def look(self, name: str) -> TrainingSet:
        return TrainingSet("", "d" * 64, "sks", tuple(TrainingImage(each, "sks toy") for each in PICTURES))

    pin = look

    async def draw(self, image: str, part: Crop, size: tuple[int, int], *, mask: bool = False) -> bytes:
        raise AssertionError("nothing is drawn here")


async def test_an_estimate_counts_and_says_what_stays_and_a_job_may_go_where_it_fits_streamed() -> None:
    catalogue = {MODEL.id: MODEL}
    planner = Planner(BaseModels(catalogue), _Datasets(), min_images=1)
    store: Any = _Store()
    request = JobRequest("acme", "", "", "baseModels/flux-dev", "projects/acme/datasets/dog", {"resolution": 512}, 0)
    found = []
    for gigabytes, device in ((140, "NVIDIA H200"), (24, "NVIDIA L4")):
        estimator = JobEstimator(
            store, FakeMeasurements(PresentDevice(device, gigabytes * GIB)), planner, catalogue, clock=lambda: NOW
        )
        found.append(await estimator.estimate(request))
    large, small = found
    assert (large.fit, large.fit_remedy) == (Fit.YES, "")
    assert small.fit is not Fit.NO
    assert re.match(r"\d+ of the base model's 57 blocks stay on the device", small.fit_remedy)
    assert small.memory.middle < 24 * GIB < large.memory.middle
    planned = await planner.plan(request, store=False)
    kept = await estimator.memory(request, planned)
    assert kept.middle == large.memory.middle
    assert kept.low < 24 * GIB


async def test_an_estimate_advises_no_number_format_that_its_worker_does_not_compute_in() -> None:
    catalogue = load_catalogue(text=EXAMPLES.replace("\nenabled = false", ""))
    planner, store = Planner(BaseModels(catalogue), _Datasets(), min_images=1), _Store()
    settings = {"mixed_precision": "no", "batch_size": 1}
    request = JobRequest("acme", "", "", "baseModels/sdxl", "projects/acme/datasets/dog", settings, 0)
    for formats, half in ((("no", "fp16"), "fp16"), (("no",), ""), ((), "bf16")):
        told = []
        for gigabytes in (48, 32, 24, 16, 12):
            devices = PresentDevice("NVIDIA T4", gigabytes * GIB, formats), PresentDevice("cpu 1 thread", 1, ("bf16",))
            measurements = FakeMeasurements(*devices)
            estimator = JobEstimator(cast("Any", store), measurements, planner, catalogue, clock=lambda: NOW)
            told.append(asked_for((await estimator.estimate(request)).fit_remedy).get("mixed_precision", ""))
        assert set(told) - {""} == ({half} if half else set())


@pytest.mark.parametrize("gigabytes", [24, 16, 12, 10, 8, 6])
@pytest.mark.parametrize("changes", [{}, {"batch_size": 6}, {"gradient_checkpointing": False, "adapter": "dora"}])
async def test_advice_that_is_followed_makes_a_job_fit_with_streamed_blocks_counted(
    gigabytes: int, changes: dict[str, Any]
) -> None:
    catalogue = {MODEL.id: MODEL}
    planner, store = Planner(BaseModels(catalogue), _Datasets(), min_images=1), _Store()
    measurements = FakeMeasurements(PresentDevice("NVIDIA T", gigabytes * GIB))
    estimator = JobEstimator(cast("Any", store), measurements, planner, catalogue, clock=lambda: NOW)
    settings: dict[str, Any] = {"resolution": 1024, **changes}
    name = "projects/acme/datasets/dog"
    first = await estimator.estimate(JobRequest("acme", "", "", "baseModels/flux-dev", name, settings, 0))
    wanted = asked_for(first.fit_remedy)
    if wanted:
        settings |= wanted
        second = await estimator.estimate(JobRequest("acme", "", "", "baseModels/flux-dev", name, settings, 0))
        assert second.fit is Fit.YES, (first.fit_remedy, second.memory, second.fit_remedy)
    else:
        assert first.fit is Fit.YES or "Nothing that keeps the training" in first.fit_remedy, first.fit_remedy


@pytest.mark.parametrize(
    ("base_model", "changes", "device", "said"),
    [
        (
            "flux-dev",
            {"gradient_checkpointing": False, "base_quantization": "nf4"},
            "NVIDIA L4",
            "has no gradient_checkpointing",
        ),
        ("flux-dev", {"adapter": "dora", "base_quantization": "nf4"}, "NVIDIA L4", "trains dora on a quantised base"),
        ("sdxl", {}, "NVIDIA L4", "has a base model of Stable Diffusion XL, whose blocks"),
        ("flux-dev", {"adapter": "dora"}, "cpu 4 threads", ""),
    ],
)
async def test_where_a_job_does_not_fit_the_estimate_says_why_nothing_is_streamed(
    base_model: str, changes: dict[str, Any], device: str, said: str
) -> None:
    catalogue = load_catalogue(text=EXAMPLES.replace("\nenabled = false", ""))
    planner, store = Planner(BaseModels(catalogue), _Datasets(), min_images=1), _Store()
    measurements = FakeMeasurements(PresentDevice(device, 4 * GIB))
    estimator = JobEstimator(cast("Any", store), measurements, planner, catalogue, clock=lambda: NOW)
    settings = {"resolution": 512, **changes}
    request = JobRequest("acme", "", "", f"baseModels/{base_model}", "projects/acme/datasets/dog", settings, 0)
    found = await estimator.estimate(request)
    assert found.fit is Fit.NO
    expected = f"All blocks of the base model stay on the device: the job {said}" if said else ""
    assert expected in found.fit_remedy
    assert bool(said) == ("blocks" in found.fit_remedy)


@pytest.mark.parametrize(("streamed", "total"), [(0, 7), (1, 7), (3, 7), (6, 7), (7, 7), (12, 57)])
def test_streamed_blocks_are_spread_over_all(streamed: int, total: int) -> None:
    places = [place for place in range(total) if is_streamed(place, streamed, total)]
    assert len(places) == streamed
    gaps = [later - earlier for earlier, later in pairwise(places)]
    assert max(gaps, default=1) - min(gaps, default=1) <= 1
