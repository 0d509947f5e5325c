"""Jobs that no present worker can take say so, and workers report as often as the trainer can bear."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fiveshot.trainer.v1 import training_job_pb2

from services.trainer.models.job import EarlierLora, TrainedDataset
from services.trainer.models.placement import Fleet, Room, WorkerKind, highest_class, memory_class, needed
from services.trainer.models.pulse import SHORTEST, WINDOW, Pulse
from services.trainer.ports import WorkerAsk
from services.trainer.recipe.calibration import Range
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from services.trainer.recipe.skills import SKILL
from services.trainer.worker.wire import Assignment
from tests.unit.trainer.jobs import NOW, make_job
from tests.unit.trainer.verbs import BASE_MODEL, NO_KEY, REQUEST, Verbs

GIB = 1 << 30
SMALL = WorkerAsk("small", (BASE_MODEL,), "", "NVIDIA L4", 24 * GIB)
LARGE = WorkerAsk("large", (BASE_MODEL,), "", "NVIDIA H100", 80 * GIB)


@pytest.fixture
def verbs() -> Verbs:
    return Verbs()


async def test_a_job_that_fits_nowhere_says_so_when_it_is_created_and_while_it_waits(verbs: Verbs) -> None:
    await verbs.store.seen(SMALL, verbs.now)
    verbs.needs = Range(40e9, 36e9, 44e9)
    why = (
        "It needs about 40.0 GB of memory, 36.0 GB at least. "
        "The largest worker that is there has 25.8 GB, of which a job may use 24.2 GB."
    )
    tried = await verbs.creator.create(REQUEST, NO_KEY, validate_only=True)
    made = await verbs.creator.create(REQUEST, NO_KEY, validate_only=False)
    assert (tried.held_back, made.held_back) == (why, why)
    waiting = await verbs.reading.get(made.job.name)
    assert (waiting.held_back, waiting.position, waiting.expected_end) == (why, 1, None)
    await verbs.store.seen(LARGE, verbs.now)
    assert (await verbs.reading.get(made.job.name)).held_back == ""


async def test_workers_that_are_gone_no_longer_count(verbs: Verbs) -> None:
    await verbs.store.seen(SMALL, verbs.now)
    verbs.needs = Range(40e9, 36e9, 44e9)
    job = await verbs.create()
    verbs.now += timedelta(minutes=10)
    # No worker at all is no reason to change the job.
    assert (await verbs.reading.get(job.name)).held_back == ""


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (WorkerKind("cpu", 0), ""),
        (WorkerKind("cpu", 30 * GIB, ("baseModels/tiny",), ("no", "bf16")), ""),
        (WorkerKind("cpu", 30 * GIB, ("baseModels/other",)), "No worker that is there can load tiny."),
        (
            WorkerKind("cpu", 30 * GIB, (), ("fp16",)),
            "No worker that is there and can load its base model computes in no.",
        ),
    ],
)
def test_why_a_job_fits_nowhere(kind: WorkerKind, why: str) -> None:
    job = make_job(memory_bytes=32 * GIB, memory_low_bytes=28 * GIB)
    assert Fleet((kind,)).why_nowhere(job) == why


MIXED: dict[str, Any] = {"datasets": (TrainedDataset("projects/acme/datasets/a/versions/1", "a" * 64),)}
GOING_ON: dict[str, Any] = {"initial_lora": EarlierLora("projects/acme/models/rex/versions/2", "diffusers", "e" * 64)}
NEWER = "It needs a newer worker: those that are there cannot"


@pytest.mark.parametrize(
    ("changes", "skills", "why"),
    [
        (MIXED, [1, 0], f"{NEWER} train several datasets in one job."),
        (GOING_ON, [0], f"{NEWER} go on from an earlier LoRA."),
        ({**MIXED, **GOING_ON}, [1], f"{NEWER} train several datasets in one job."),
        (
            {"parameters": resolve(DEFAULT_SPECS, {"preservation_weight": 1.0})},
            [0],
            f"{NEWER} compute a preservation loss.",
        ),
        (GOING_ON, [1], ""),
        (MIXED, [1, SKILL], ""),
        # An older replica of the service heard of it.
        (MIXED, [None], ""),
        ({}, [0], ""),
    ],
)
def test_a_job_that_only_a_newer_worker_can_do_says_so(
    changes: dict[str, Any], skills: list[int | None], why: str
) -> None:
    kinds = [WorkerKind("cpu", 0, skill=skill) for skill in skills]
    job = make_job(**changes)
    assert Fleet(kinds).why_nowhere(job) == why
    assert (Fleet(kinds).limit(job.loads, "", skill=job.needs_skill) < 0) is bool(why)


def test_the_memory_of_a_worker_that_is_too_old_for_the_job_does_not_count() -> None:
    job = make_job(memory_bytes=60 * GIB, memory_low_bytes=50 * GIB, **MIXED)
    kinds = (WorkerKind("NVIDIA H100", 80 * GIB, skill=1), WorkerKind("NVIDIA L4", 24 * GIB, skill=SKILL))
    assert "has 25.8 GB" in Fleet(kinds).why_nowhere(job)


def test_a_job_on_a_base_model_of_the_project_needs_a_worker_that_fetches_it() -> None:
    job = make_job(base_model="projects/acme/baseModels/house", entry=BASE_MODEL)
    said = "No worker that is there and can load its kind of model fetches base models of projects."
    for takes_own, why in ((False, said), (True, ""), (None, "")):
        fleet = Fleet((WorkerKind("cpu", 0, takes_own=takes_own),))
        assert (fleet.why_nowhere(job), fleet.why_unchecked({BASE_MODEL: GIB})) == (why, why)
        assert (fleet.limit(BASE_MODEL, "", own=True) < 0) is bool(why)
        assert fleet.why_nowhere(make_job()) == ""


def test_an_estimate_that_is_very_uncertain_counts_as_half_at_the_least() -> None:
    assert needed(Range(40e9, 1e9, 90e9)) == (40_000_000_000, 20_000_000_000)
    assert needed(Range(40e9, 36e9, 44e9)) == (40_000_000_000, 36_000_000_000)


def test_classes_of_need_grow_and_none_that_fits_is_left_out() -> None:
    needs = [0, 1, GIB // 2, GIB, 3 * GIB, 24 * GIB, 80 * GIB, 1 << 43]
    classes = [memory_class(each) for each in needs]
    assert classes == sorted(classes)
    assert classes[0] == 0 < classes[1]
    for usable in (GIB, 22 * GIB, 22 * GIB + 1, 75 * GIB):
        for tries in ((), None):
            room = Room(usable, tries)
            for middle in range(usable // 2, usable * 2 + 2, usable // 16):
                if room.takes("baseModels/tiny", middle=middle, low=middle // 2):
                    assert memory_class(middle) <= highest_class(room)


def test_few_workers_report_twice_a_second_and_many_together_no_more_than_a_replica_takes() -> None:
    pulse = Pulse(timedelta(seconds=30), most_per_second=200)
    assert pulse.beat("t-0", NOW) == SHORTEST
    for number in range(1000):
        pulse.beat(f"t-{number}", NOW)
    assert pulse.interval == timedelta(seconds=5)
    for number in range(5000):
        pulse.beat(f"t-{number}", NOW + timedelta(seconds=1))
    # Two lost reports must not cost a worker its job.
    assert pulse.interval == timedelta(seconds=10)


def test_workers_that_no_longer_report_are_forgotten() -> None:
    pulse = Pulse(timedelta(seconds=30), most_per_second=200)
    for number in range(1000):
        pulse.beat(f"t-{number}", NOW)
    pulse.beat("t-0", NOW + WINDOW)
    assert pulse.workers == 1000
    pulse.beat("t-0", NOW + 2 * WINDOW)
    assert pulse.workers == 1
    pulse.beat("t-1", NOW + 9 * WINDOW)
    assert pulse.workers == 1


@pytest.mark.parametrize(
    ("own_s", "wanted_s", "pause_s"),
    [(0.5, 0.0, 0.5), (0.5, 5.0, 5.0), (0.5, 60.0, 10.0), (2.0, 0.5, 2.0)],
)
def test_a_worker_obeys_within_bounds(own_s: float, wanted_s: float, pause_s: float) -> None:
    held = Assignment(training_job_pb2.TrainingJob(), "t", 1, "p/", (), lease_s=30.0)
    assert held.pause_s(own_s, wanted_s) == pause_s


def test_a_workers_own_setting_never_costs_it_its_lease() -> None:
    held = Assignment(training_job_pb2.TrainingJob(), "t", 1, "p/", (), lease_s=6.0)
    assert held.pause_s(10.0, 0.5) == 2.0


async def test_a_worker_that_was_not_heard_of_for_a_day_is_forgotten_unless_it_holds_a_job(verbs: Verbs) -> None:
    await verbs.create()
    await verbs.take("busy")
    await verbs.store.seen(SMALL, verbs.now)
    later = verbs.now + timedelta(days=2)
    assert await verbs.store.forget(later) == 1
    assert [worker.worker_id for worker in await verbs.store.present(later)] == ["busy"]
