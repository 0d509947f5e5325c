"""Preview requests: what is refused before anything is stored, who goes first, and what time does with them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.chassis.errors import Aborted, DomainError, InvalidArgument, NotFound
from services.chassis.listing.pages import PageTokens
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.trainer.models import moves, worker_moves
from services.trainer.models.epoch import EpochFile
from services.trainer.models.job import JobError, JobState, Outcome
from services.trainer.models.preview_request import DrawnCell, PreviewRequest, PreviewState
from services.trainer.models.pulse import Pulse
from services.trainer.ports import WorkerAsk
from services.trainer.ports.previews import SavedVersion
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.recipe.lora_shape import LoraHeader
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.drawing import PreviewAssignment, PreviewWork
from services.trainer.use_cases.placing import Placing
from services.trainer.use_cases.previews import PreviewKeeper, PreviewReading
from services.trainer.use_cases.requesting_previews import PreviewAsk, PreviewRequesting
from services.trainer.use_cases.working import Assignment, JobWork
from tests.fakes.job_store import FakeJobStore
from tests.fakes.preview_store import FakePreviewStore
from tests.fixtures.patience import within
from tests.unit.trainer.jobs import NAME, NOW, make_epoch, make_job

KEEP, LEASE = timedelta(days=1), timedelta(seconds=30)
NO_KEY = RequestKey("acme", "RequestPreviews", "", "")
EPOCH = f"{NAME}/epochs/1"
VERSION = "projects/acme/models/rex/versions/2"
ASK = WorkerAsk("w", (), "", "cpu", draws=True)
TINY = "baseModels/fiveshot-tiny"


class _Versions:
    """Implements ports.previews.ModelVersions."""

    found: Mapping[str, str] = {"projects/acme/models/rex/versions/best": TINY, VERSION: TINY}

    async def look(self, name: str) -> SavedVersion:
        if name not in self.found:
            raise NotFound(f"There is no {name}", reason="VERSION_NOT_FOUND", remedy="List them.")
        return SavedVersion(VERSION if self.found[name] == TINY else name, self.found[name])

    async def header(self, name: str, form: str) -> LoraHeader:
        raise AssertionError("nothing is gone on from here")


class _Artifacts:
    """Implements what of ports.Artifacts is called. swept: by request."""

    def __init__(self) -> None:
        self.swept: list[tuple[str, int]] = []

    async def check(self, files: Any) -> None:
        return None

    async def sweep(self, name: str, number: int, **_: Any) -> int:
        self.swept.append((name, number))
        return 1


class World:
    """The verbs over fakes, and a clock that a test moves. A job of two epochs is there."""

    def __init__(self) -> None:
        self.now = NOW
        self.signals = Signals()
        self.jobs = FakeJobStore(self.signals)
        self.held: set[str] = set()
        self.store = FakePreviewStore(self.signals, self.held)
        self.versions = _Versions()
        artifacts: Any = _Artifacts()
        self.artifacts = artifacts
        self.numbers = iter(range(100))
        self.requesting = PreviewRequesting(
            self.store, self.jobs, self.versions, BaseModels(load_catalogue()), clock=self.clock,
            new_id=lambda kind: f"{kind}-{next(self.numbers)}", cells=12, keep=KEEP,
        )  # fmt: skip
        self.work = PreviewWork(
            self.store, self.jobs, self.artifacts, self.signals, clock=self.clock,
            new_token=lambda: f"t-{next(self.numbers)}", lease=LEASE, keep=KEEP,
        )  # fmt: skip
        self.reading = PreviewReading(
            self.store, self.artifacts, self.signals, PageTokens(), clock=self.clock, keep=KEEP
        )
        self.keeper = PreviewKeeper(
            self.store, self.jobs, self.artifacts, clock=self.clock, lease=LEASE, keep=KEEP
        )  # fmt: skip

    def clock(self) -> datetime:
        return self.now

    async def begin(self, **changes: Any) -> None:
        await self.jobs.create(moves.create(make_job(base_model=TINY, **changes)), NO_KEY)
        await self.jobs.acquire(
            ASK, lambda job: worker_moves.acquire(job, worker_id="w", token="job", now=NOW, lease=LEASE)
        )
        self.held.add(NAME)
        epoch = make_epoch(1)
        diffusers = replace(epoch.files[0], file_id="diffusers")

        def report(job: Any) -> Any:
            return worker_moves.report_epoch(
                job, replace(epoch, files=(*epoch.files, diffusers)), token="job", recommended_epoch=1,
                recommendation_reason="", now=NOW, lease=LEASE,
            )  # fmt: skip

        await self.jobs.change(NAME, report)

    async def ask(self, *sources: str, **changes: Any) -> PreviewRequest:
        asked = PreviewAsk("acme", sources or (EPOCH,), (), ("a cat",), ())
        return await self.requesting.request(replace(asked, **changes), NO_KEY, validate_only=False)

    async def taken(self) -> PreviewAssignment:
        found = await self.work.take(ASK)
        assert found is not None
        return found


@pytest.fixture
async def world() -> World:
    made = World()
    await made.begin()
    return made


def cell(request: PreviewRequest, index: int, attempt: int = 1) -> DrawnCell:
    key = f"trainer/{request.name}/attempts/{attempt}/c.png"
    return DrawnCell(index, EpochFile(f"cell-{index + 1}", "c.png", "image/png", 3, "a" * 64, key), 128, 128)


async def test_what_is_left_out_comes_from_the_base_model_and_an_alias_becomes_a_version(world: World) -> None:
    request = await world.ask(EPOCH, "projects/acme/models/rex/versions/best")
    drawing = request.drawing
    assert drawing.sources == (EPOCH, VERSION)
    assert (drawing.strengths, drawing.seeds) == ((1.0,), (0,))
    model = load_catalogue()["fiveshot-tiny"]
    assert (drawing.width, drawing.height) == (model.resolution, model.resolution)
    assert drawing.steps > 0
    assert request.base_model == TINY
    assert [each.source for each in drawing.cells] == [EPOCH, VERSION]


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"seeds": tuple(range(13))}, "TOO_MANY_CELLS", "preview_request"),
        ({"seeds": (1, 1)}, "PREVIEW_REQUEST_INVALID", "preview_request.seeds"),
        ({"width": 100, "height": 3}, "SIZE_INVALID", "preview_request.width"),
        ({"sources": ("projects/other/trainingJobs/j/epochs/1",)}, "PROJECT_MISMATCH", "preview_request.sources"),
        ({"sources": (f"{NAME}/epochs/9",)}, "EPOCH_NOT_FOUND", "preview_request.sources"),
        ({"sources": ("projects/acme/trainingJobs/none/epochs/1",)}, "JOB_NOT_FOUND", "preview_request.sources"),
        ({"sources": ("projects/acme/models/none/versions/1",)}, "VERSION_NOT_FOUND", "preview_request.sources"),
        ({"sources": (NAME, EPOCH)}, "PREVIEW_REQUEST_INVALID", "preview_request.sources"),
    ],
)
async def test_a_refused_request_names_its_field_and_leaves_nothing(
    world: World, changes: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(DomainError) as caught:
        await world.ask(**changes)
    assert (caught.value.reason, caught.value.field, bool(caught.value.remedy)) == (reason, field, True)
    assert await world.store.unfinished("acme") == 0


async def test_a_request_refused_for_naming_no_sources_can_be_checked_further(world: World) -> None:
    await world.requesting.check_sources(PreviewAsk("acme", (), (), ("a cat",), ()))


async def test_sources_of_two_base_models_or_of_none_are_refused(world: World) -> None:
    world.versions.found = {VERSION: "baseModels/other", "projects/acme/models/rex/versions/3": ""}
    with pytest.raises(InvalidArgument) as two:
        await world.ask(EPOCH, VERSION)
    assert two.value.reason == "BASE_MODELS_DIFFER"
    with pytest.raises(DomainError) as unknown:
        await world.ask("projects/acme/models/rex/versions/3")
    assert unknown.value.reason == "BASE_MODEL_UNKNOWN"
    with pytest.raises(DomainError) as gone:
        await world.ask(VERSION)
    assert gone.value.reason == "BASE_MODEL_NOT_FOUND"


async def test_an_adapter_that_no_loader_attaches_and_a_job_that_nobody_holds_are_refused() -> None:
    world = World()
    job = make_job()
    await world.begin(parameters=replace(job.parameters, adapter="lokr"))
    with pytest.raises(DomainError) as caught:
        await world.ask()
    assert caught.value.reason == "ADAPTER_UNSUPPORTED"
    other = World()
    await other.begin()
    await other.jobs.change(NAME, lambda found: moves.expire(found, NOW + 2 * LEASE, max_losses=9))
    with pytest.raises(DomainError) as waiting:
        await other.ask(NAME)
    assert (waiting.value.reason, waiting.value.metadata["state"]) == ("JOB_STATE", JobState.QUEUED.value)


async def test_a_request_goes_before_a_job_but_not_twice_in_a_row(world: World) -> None:
    work = JobWork(
        world.jobs, world.signals, world.artifacts, clock=world.clock, new_token=lambda: "t", lease=LEASE,
        max_failures=3, previews=world.work, placing=Placing(world.jobs, clock=world.clock),
        pulse=Pulse(LEASE, most_per_second=200),
    )  # fmt: skip
    for number in (2, 3):
        await world.jobs.create(moves.create(make_job(f"{NAME}-{number}", base_model=TINY)), NO_KEY)
        await world.ask()
    nothing = timedelta(0)
    old = await work.acquire(replace(ASK, draws=False), nothing)
    assert isinstance(old, Assignment)
    first = await work.acquire(ASK, nothing)
    assert isinstance(first, PreviewAssignment)
    assert [source for source, _ in first.weights] == [EPOCH]
    second = await work.acquire(replace(ASK, drew=True), nothing)
    assert isinstance(second, Assignment)
    third = await work.acquire(replace(ASK, drew=True), nothing)
    assert isinstance(third, PreviewAssignment)
    assert await work.acquire(ASK, nothing) is None


async def test_cells_of_a_lost_try_stay_and_after_three_the_request_fails(world: World) -> None:
    await world.ask(strengths=(0.5, 1.0))
    taken = await world.taken()
    await world.work.report(taken.request.name, taken.token, [cell(taken.request, 0)], None, None)
    with pytest.raises(InvalidArgument):
        await world.work.report(taken.request.name, taken.token, [], Outcome.SUCCEEDED, None)
    outside = replace(cell(taken.request, 1), file=replace(cell(taken.request, 1).file, object_key="trainer/else"))
    with pytest.raises(InvalidArgument):
        await world.work.report(taken.request.name, taken.token, [outside], None, None)
    for _ in range(3):
        world.now += 2 * LEASE
        await world.keeper.look()
        again = await world.work.take(ASK)
    assert again is None
    request = await world.store.get(taken.request.name)
    assert (request.state, request.error and request.error.reason) == (PreviewState.FAILED, "WORKER_LOST")
    assert [each.index for each in request.cells] == [0]
    with pytest.raises(Aborted):
        await world.work.report(request.name, taken.token, [], None, None)


async def test_an_error_that_a_retry_may_mend_is_tried_again_and_another_ends_the_request(world: World) -> None:
    name = (await world.ask()).name
    taken = await world.taken()
    await world.work.report(name, taken.token, [], Outcome.FAILED, JobError("S3", "Away.", "Wait.", retryable=True))
    assert (await world.store.get(name)).state is PreviewState.QUEUED
    taken = await world.taken()
    await world.work.report(name, taken.token, [], Outcome.FAILED, JobError("LORA_UNREADABLE", "It is.", "Look."))
    ended = await world.store.get(name)
    assert (ended.state, ended.error and ended.error.reason) == (PreviewState.FAILED, "LORA_UNREADABLE")


async def test_a_request_whose_epoch_was_deleted_fails_and_the_next_one_is_taken(world: World) -> None:
    world.versions.found = {**_Versions.found}
    gone = await world.ask()
    gone = await world.store.change(
        gone.name, lambda found: replace(found, drawing=replace(found.drawing, sources=(f"{NAME}/epochs/7",)))
    )
    world.now += timedelta(seconds=1)
    fine = await world.ask(VERSION)
    assert (await world.taken()).request.name == fine.name
    failed = await world.store.get(gone.name)
    assert (failed.state, failed.error and failed.error.reason) == (PreviewState.FAILED, "SOURCE_GONE")


async def test_an_attended_request_ends_when_nobody_watches_and_lives_while_somebody_does(world: World) -> None:
    watched, left, plain = await world.ask(attended=True), await world.ask(attended=True), await world.ask()
    world.now += 2 * LEASE
    watch = world.reading.watch(watched.name)
    assert (await anext(watch)).state is PreviewState.QUEUED
    await world.keeper.look()
    states = [(await world.store.get(each.name)).state for each in (watched, left, plain)]
    assert states == [PreviewState.QUEUED, PreviewState.CANCELLED, PreviewState.QUEUED]
    error = (await world.store.get(left.name)).error
    assert error is not None
    assert error.reason == "CALLER_GONE"
    await world.reading.cancel(watched.name)
    assert [each.state async for each in watch] == [PreviewState.CANCELLED]


async def test_a_request_for_a_job_that_was_let_go_fails_and_what_is_old_goes_with_its_files(world: World) -> None:
    live = await world.ask(NAME)
    with pytest.raises(Aborted):
        await world.work.take_of_job(NAME, "wrong", timedelta(0), worker_id="w", pretends=False)
    await world.jobs.change(NAME, lambda job: moves.expire(job, NOW + 2 * LEASE, max_losses=9))
    world.held.clear()
    world.now += 2 * LEASE
    await world.keeper.look()
    failed = await world.store.get(live.name)
    assert (failed.state, failed.error and failed.error.reason) == (PreviewState.FAILED, "JOB_NOT_AT_WORK")

    drawn = await world.ask()
    taken = await world.taken()
    await world.work.report(drawn.name, taken.token, [cell(drawn, 0)], Outcome.SUCCEEDED, None)
    world.now += KEEP
    await world.keeper.look()
    with pytest.raises(NotFound):
        await world.store.get(drawn.name)
    assert (drawn.name, 1) in world.artifacts.swept


async def test_a_worker_that_trains_gets_a_request_for_its_job_as_soon_as_it_comes(world: World) -> None:
    asking = asyncio.create_task(
        world.work.take_of_job(NAME, "job", timedelta(seconds=60), worker_id="w", pretends=True)
    )
    async with within():
        request = await world.ask(NAME)
        found = await asking
    assert found is not None
    assert (found.request.name, found.weights, found.request.pretended) == (request.name, (), True)


async def test_only_an_ended_request_can_be_deleted_and_a_missing_picture_names_those_there_are(world: World) -> None:
    request = await world.ask()
    with pytest.raises(DomainError) as working:
        await world.reading.delete(request.name, etag="")
    assert working.value.reason == "PREVIEW_REQUEST_STATE"
    with pytest.raises(NotFound) as none:
        await world.reading.file(request.name, "cell-1")
    assert none.value.reason == "FILE_NOT_FOUND"
    ended = await world.reading.cancel(request.name)
    with pytest.raises(Aborted):
        await world.reading.delete(request.name, etag="old")
    await world.reading.delete(request.name, etag=ended.etag)
