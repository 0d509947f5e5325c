"""Base models of projects: announced, uploaded in pieces, checked, used and deleted, over stores in memory."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from services.chassis.budgets import UPLOADS, AtOnce, Budgets
from services.chassis.errors import (
    Aborted,
    AlreadyExists,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from services.chassis.listing.pages import ListRequest
from services.chassis.requests.keys import RequestKey
from services.trainer.models.job import JobError, Outcome
from services.trainer.models.own_base_model import MAX_ATTEMPTS, OwnBaseModel, OwnBaseModelState, Users
from services.trainer.models.placement import Fleet, WorkerKind
from services.trainer.ports import WorkerAsk
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.checking_base_models import BaseModelChecks, BaseModelKeeper
from services.trainer.use_cases.own_base_models import Announcement, BaseModelEdit, OwnBaseModels
from services.trainer.use_cases.uploading_base_models import BaseModelUpload, BaseModelUploading
from tests.fakes.base_model_store import FakeBaseModelFiles, FakeBaseModelStore
from tests.fixtures.lists import TOKENS
from tests.unit.trainer.jobs import NOW

CATALOGUE = load_catalogue()
TINY = "baseModels/fiveshot-tiny"
NO_KEY = RequestKey("acme", "CreateBaseModel", "", "")
LEASE = timedelta(seconds=30)
IDLE = timedelta(days=7)
ASK = WorkerAsk("worker-1", (TINY,), "", "cpu", takes_own=True)


def checkpoint(numbers: int = 40) -> bytes:
    """A small file that looks like a Stable Diffusion."""
    name = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    entry = {"dtype": "F16", "shape": [numbers], "data_offsets": [0, 2 * numbers]}
    text = json.dumps({name: entry}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(range(2 * numbers))


DATA = checkpoint()
HEADER = DATA[: 8 + struct.unpack("<Q", DATA[:8])[0]]


class Bench:
    """Everything around one test. part_bytes: of an upload."""

    def __init__(self, *, part_bytes: int = 32, **limits: int) -> None:
        self.now = NOW
        self.store, self.files = FakeBaseModelStore(), FakeBaseModelFiles()
        self.saved = 0
        self.kinds: list[WorkerKind] = []
        budgets = Budgets(lambda project: limits)
        self.base_models = BaseModels(CATALOGUE, self.store)
        self.own = OwnBaseModels(
            self.store, self.files, self.base_models, self, self.loadable, TOKENS, clock=self.clock,
            new_id=lambda prefix: f"{prefix}-1", max_bytes=10_000, budgets=budgets, why_unchecked=self.why_unchecked,
        )  # fmt: skip
        self.uploading = BaseModelUploading(
            self.store, self.files, clock=self.clock, idle_s=0.05, at_once=AtOnce(budgets, UPLOADS),
            part_bytes=max(part_bytes, 1),
        )  # fmt: skip
        tokens = iter(f"token-{number}" for number in range(1, 100))
        self.checks = BaseModelChecks(
            self.store, self.files, CATALOGUE, clock=self.clock, new_token=lambda: next(tokens), lease=LEASE
        )
        self.keeper = BaseModelKeeper(self.store, self.files, clock=self.clock, lease=LEASE, idle=IDLE)

    def clock(self) -> datetime:
        return self.now

    async def loadable(self) -> list[str]:
        return [TINY]

    async def why_unchecked(self, candidates: Mapping[str, int]) -> str:
        return Fleet(self.kinds).why_unchecked(candidates)

    async def trained_on(self, base_model: str) -> int:
        """It is the registry, too."""
        return self.saved

    async def announce(self, key: RequestKey = NO_KEY, *, validate_only: bool = False, **changes: Any) -> OwnBaseModel:
        asked = Announcement(
            **{
                "project": "acme", "base_model_id": "house", "display_name": "", "description": "", "license": "MIT",
                "based_on": "", "file_name": "house.safetensors", "size_bytes": len(DATA),
                "sha256": hashlib.sha256(DATA).hexdigest(), "header": HEADER, **changes,
            }
        )  # fmt: skip
        return (await self.own.announce(asked, key, validate_only=validate_only)).model

    async def send(self, name: str, data: bytes, *, offset: int = 0, chunk: int = 10) -> OwnBaseModel:
        pieces = [data[place : place + chunk] for place in range(offset, len(data), chunk)]
        return await self.uploading.upload(stream(BaseModelUpload(name, offset), pieces))

    async def uploaded(self, **changes: Any) -> OwnBaseModel:
        return await self.send((await self.announce(**changes)).name, DATA)

    async def ready(self) -> OwnBaseModel:
        name = (await self.uploaded()).name
        check = await self.checks.take(ASK)
        assert check is not None
        await self.checks.report(name, check.token, Outcome.SUCCEEDED, None, based_on=TINY)
        return await self.store.get(name)


async def stream(
    header: BaseModelUpload | None, pieces: Iterable[bytes], error: Exception | None = None
) -> AsyncIterator[BaseModelUpload | bytes]:
    """Messages of an upload; error: that ends it in the middle."""
    if header is not None:
        yield header
    for piece in pieces:
        yield piece
    if error is not None:
        raise error


WRONG: dict[str, tuple[dict[str, Any], type[DomainError], str, str]] = {
    "licence": ({"license": " "}, InvalidArgument, "LICENSE_MISSING", "base_model.license"),
    "name": ({"file_name": "../x.safetensors"}, InvalidArgument, "FILE_NAME_INVALID", "base_model.file_name"),
    "pickle by name": ({"file_name": "x.ckpt"}, InvalidArgument, "FILE_NAME_INVALID", "base_model.file_name"),
    "pickle": ({"header": b"PK\x03\x04" * 9}, InvalidArgument, "BASE_MODEL_UNSAFE", "header"),
    "size": ({"size_bytes": 10_001}, InvalidArgument, "BASE_MODEL_TOO_LARGE", "base_model.size_bytes"),
    "cut short": ({"size_bytes": len(DATA) - 1}, InvalidArgument, "BASE_MODEL_CORRUPT", "header"),
    "digest": ({"sha256": ""}, InvalidArgument, "SHA256_MISSING", "base_model.sha256"),
    "of the catalogue": ({"base_model_id": "fiveshot-tiny"}, AlreadyExists, "BASE_MODEL_EXISTS", "base_model_id"),
    "base": ({"based_on": "baseModels/none"}, NotFound, "BASE_MODEL_NOT_FOUND", "base_model.based_on"),
    "long name": (
        {"project": "p" * 63, "base_model_id": "b" * 20}, InvalidArgument, "NAME_TOO_LONG", "base_model_id",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "kind", "reason", "field"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_with_an_announcement_is_said_and_nothing_is_stored(
    changes: dict[str, Any], kind: type[DomainError], reason: str, field: str
) -> None:
    bench = Bench()
    with pytest.raises(kind) as refused:
        await bench.announce(**changes)
    assert (refused.value.reason, [each.field for each in refused.value.violations]) == (reason, [field])
    assert refused.value.remedy
    assert not bench.store.rows


async def test_an_announcement_may_be_tried_and_repeated() -> None:
    bench = Bench()
    tried = await bench.announce(validate_only=True)
    assert (tried.display_name, tried.families, tried.precision) == ("house", ("stable-diffusion",), "fp16")
    assert not bench.store.rows
    key = RequestKey("acme", "CreateBaseModel", "r-1", "d")
    assert await bench.announce(key) == await bench.announce(key)
    with pytest.raises(AlreadyExists):
        await bench.announce()
    with pytest.raises(AlreadyExists):
        await bench.announce(validate_only=True)
    assert (await bench.announce(base_model_id="")).name == "projects/acme/baseModels/base-1"


async def test_bytes_of_base_models_are_limited_from_their_announcement_on() -> None:
    bench = Bench(base_model_bytes=len(DATA) + 1)
    first = await bench.announce()
    for only in (True, False):
        with pytest.raises(ResourceExhausted) as full:
            await bench.announce(base_model_id="second", validate_only=only)
        assert full.value.metadata["budget"] == "base_model_bytes"
        assert full.value.quotas
    await bench.own.delete(first.name, etag="", force=False)
    await bench.announce(base_model_id="second")


@pytest.mark.parametrize("chunk", [1, 7, 1000])
async def test_an_upload_is_stored_in_parts_and_ends_in_a_check(chunk: int) -> None:
    bench = Bench()
    model = await bench.send((await bench.announce()).name, DATA, chunk=chunk)
    assert (model.state, model.uploaded_bytes) == (OwnBaseModelState.CHECKING, len(DATA))
    assert bench.files.whole(model) == DATA
    with pytest.raises(FailedPrecondition) as late:
        await bench.send(model.name, DATA)
    assert late.value.reason == "BASE_MODEL_STATE"


async def test_an_upload_that_breaks_off_goes_on_behind_the_last_part() -> None:
    bench = Bench()
    name = (await bench.announce()).name
    half = [DATA[place : place + 10] for place in range(0, len(HEADER) + 40, 10)]
    with pytest.raises(ConnectionError):
        await bench.uploading.upload(stream(BaseModelUpload(name, 0), half, ConnectionError()))
    begun = await bench.store.get(name)
    assert 0 < begun.uploaded_bytes < len(DATA)
    for offset in (0, begun.uploaded_bytes + 1):
        with pytest.raises(Aborted) as elsewhere:
            await bench.send(name, DATA, offset=offset)
        assert elsewhere.value.metadata["uploaded_bytes"] == str(begun.uploaded_bytes)
    done = await bench.send(name, DATA, offset=begun.uploaded_bytes)
    assert done.state is OwnBaseModelState.CHECKING
    assert bench.files.whole(done) == DATA


async def test_a_stream_that_ends_early_leaves_what_came_and_waits_for_the_rest() -> None:
    bench = Bench()
    name = (await bench.announce()).name
    some = await bench.uploading.upload(stream(BaseModelUpload(name, 0), [DATA[: len(HEADER) + 5]]))
    assert (some.state, some.uploaded_bytes) == (OwnBaseModelState.UPLOADING, len(HEADER) + 5)
    assert (await bench.send(name, DATA, offset=some.uploaded_bytes)).state is OwnBaseModelState.CHECKING


async def test_another_file_than_the_announced_one_is_refused_before_anything_of_it_is_stored() -> None:
    bench = Bench(part_bytes=8)
    name = (await bench.announce()).name
    other = DATA.replace(b"token_embedding", b"TOKEN_embedding")
    streams: list[tuple[list[bytes], str]] = [
        ([other], "BASE_MODEL_FILE_DIFFERS"), ([HEADER[:20]], "UPLOAD_TOO_SHORT"), ([DATA + b"x"], "UPLOAD_TOO_LONG"),
    ]  # fmt: skip
    for pieces, reason in streams:
        with pytest.raises(InvalidArgument) as refused:
            await bench.uploading.upload(stream(BaseModelUpload(name, 0), pieces))
        assert refused.value.reason == reason
    with pytest.raises(InvalidArgument):
        await bench.uploading.upload(stream(None, [DATA]))
    with pytest.raises(NotFound):
        await bench.send("projects/acme/baseModels/none", DATA)
    assert (bench.files.stored, (await bench.store.get(name)).parts) == ({}, ())


async def test_only_so_many_uploads_of_a_project_run_at_once() -> None:
    bench = Bench(uploads=1)
    name = (await bench.announce()).name

    async def slow() -> AsyncIterator[BaseModelUpload | bytes]:
        yield BaseModelUpload(name, 0)
        with pytest.raises(ResourceExhausted):
            await bench.send(name, DATA)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await bench.uploading.upload(slow())


async def test_a_ready_one_is_a_base_model_of_its_project_alone() -> None:
    bench = Bench()
    waiting = await bench.uploaded()
    with pytest.raises(FailedPrecondition) as early:
        await bench.base_models.find(waiting.name, project="acme", field="f")
    assert early.value.metadata["state"] == "CHECKING"
    bench = Bench()
    ready = await bench.ready()
    assert (ready.state, ready.based_on, ready.family) == (OwnBaseModelState.READY, TINY, "stable-diffusion")
    found = await bench.base_models.find(ready.name, project="acme", field="f")
    assert (found.name, found.entry, found.project) == (ready.name, "fiveshot-tiny", "acme")
    assert found.specs == CATALOGUE["fiveshot-tiny"].specs
    for name in (ready.name, "projects/acme/baseModels/none"):
        with pytest.raises(NotFound) as hidden:
            await bench.base_models.find(name, project="other", field="f")
        assert hidden.value.reason == "BASE_MODEL_NOT_FOUND"
    shown = (await bench.own.get(ready.name)).offered
    assert shown is not None
    assert shown.available
    listed, _, total = await bench.own.list(ListRequest(parent="projects/acme", filter="state = READY"))
    assert ([view.model.name for view in listed], total) == ([ready.name], 1)


async def test_only_a_worker_that_can_train_it_gets_the_check() -> None:
    bench = Bench()
    name = (await bench.uploaded()).name
    for ask in (
        replace(ASK, takes_own=False), replace(ASK, base_models=("baseModels/other",)),
        replace(ASK, families=("sdxl",)), replace(ASK, device_memory_bytes=1),
    ):  # fmt: skip
        assert await bench.checks.take(ask) is None
    check = await bench.checks.take(ASK)
    assert check is not None
    assert check.candidates == (TINY,)
    assert await bench.checks.take(ASK) is None
    with pytest.raises(Aborted):
        await bench.checks.report(name, "another", None, None, based_on="")
    bench.now += LEASE / 2
    await bench.checks.report(name, check.token, None, None, based_on="")
    lease = (await bench.store.get(name)).lease
    assert lease is not None
    assert lease.expires_at == bench.now + LEASE


async def test_a_check_that_ends_by_the_worker_s_fault_is_tried_again_and_given_up_at_last() -> None:
    bench = Bench()
    name = (await bench.uploaded()).name
    away = JobError("INTERNAL", "It failed.", "Again.", True)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        check = await bench.checks.take(ASK)
        assert check is not None
        await bench.checks.report(name, check.token, Outcome.FAILED, away, based_on="")
        model = await bench.store.get(name)
        over = attempt == MAX_ATTEMPTS
        assert model.state is (OwnBaseModelState.FAILED if over else OwnBaseModelState.CHECKING)
    assert (model.error, bench.files.stored, await bench.store.stored_bytes("acme")) == (away, {}, 0)


async def test_a_worker_that_falls_silent_loses_its_check_and_one_that_is_asked_to_go_gives_it_back() -> None:
    bench = Bench()
    name = (await bench.uploaded()).name
    for _ in range(MAX_ATTEMPTS):
        check = await bench.checks.take(ASK)
        assert check is not None
        await bench.checks.report(name, check.token, Outcome.RELEASED, None, based_on="")
    for lost in range(1, MAX_ATTEMPTS + 1):
        assert await bench.checks.take(ASK) is not None
        bench.now += LEASE * 2
        assert await bench.keeper.look() == 1
        model = await bench.store.get(name)
        assert model.lease is None
        assert (model.state is OwnBaseModelState.FAILED) is (lost == MAX_ATTEMPTS)
    assert model.error is not None
    assert (model.error.reason, bench.files.stored) == ("WORKER_LOST", {})


async def test_an_upload_that_nobody_goes_on_with_is_removed() -> None:
    bench = Bench()
    name = (await bench.announce()).name
    await bench.uploading.upload(stream(BaseModelUpload(name, 0), [DATA[: len(HEADER) + 5]]))
    bench.now += IDLE - timedelta(seconds=1)
    assert await bench.keeper.look() == 0
    bench.now += timedelta(seconds=2)
    assert await bench.keeper.look() == 1
    assert (bench.store.rows, bench.files.stored) == ({}, {})


async def test_who_needs_a_base_model_keeps_it() -> None:
    bench = Bench()
    ready = await bench.ready()

    async def refused(*, force: bool, etag: str = "") -> DomainError:
        with pytest.raises((FailedPrecondition, Aborted)) as error:
            await bench.own.delete(ready.name, etag=etag, force=force)
        return error.value

    assert (await refused(force=True, etag="old")).reason == "ETAG_MISMATCH"
    bench.store.using[ready.name] = Users(unfinished_jobs=1, unfinished_previews=2)
    for force in (True, False):
        error = await refused(force=force)
        assert "1 unfinished training job(s) and 2 unfinished preview request(s)" in error.message
    bench.store.using[ready.name] = Users(ended_jobs=3)
    assert "3 ended training job(s) were trained" in (await refused(force=False)).message
    bench.store.using[ready.name] = Users()
    bench.saved = 4
    assert (await refused(force=False)).metadata["saved_models"] == "4"
    await bench.own.delete(ready.name, etag=ready.etag, force=True)
    assert (bench.store.rows, bench.files.stored) == ({}, {})


async def test_names_licence_and_labels_change_and_nothing_else() -> None:
    bench = Bench()
    made = await bench.announce()
    given = {"display_name": "New", "description": "", "license": "", "labels": {"team": "art"}}

    async def update(mask: tuple[str, ...], etag: str = "") -> OwnBaseModel:
        return (await bench.own.update(BaseModelEdit(made.name, etag, given, mask))).model

    changed = await update(())
    assert (changed.display_name, changed.license, changed.labels) == ("New", "MIT", {"team": "art"})
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: update(("license",)), "LICENSE_MISSING"), (lambda: update(("sha256",)), "UPDATE_MASK_INVALID"),
        (lambda: update(("labels",), made.etag), "ETAG_MISMATCH"),
    ]  # fmt: skip
    for call, reason in wrong:
        with pytest.raises(DomainError) as refused:
            await call()
        assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([], ""),
        ([WorkerKind("cpu", 0, (TINY,))], ""),
        ([WorkerKind("gpu", 80 * 2**30, ("baseModels/sdxl",))], "No worker that is there can load fiveshot-tiny"),
        (
            [WorkerKind("gpu", 2**29, ())],
            "Its check needs about 0.9 GB of memory. The largest worker",
        ),
        ([WorkerKind("gpu", 2**29, ()), WorkerKind("gpu", 2**33, (TINY,))], ""),
    ],
)
async def test_a_check_that_no_present_worker_can_do_says_so(kinds: list[WorkerKind], said: str) -> None:
    bench = Bench()
    bench.kinds = kinds
    model = await bench.uploaded()
    held_back = (await bench.own.get(model.name)).held_back
    assert held_back.startswith(said)
    assert bool(held_back) is bool(said)
    if not said:
        assert await bench.checks.take(ASK) is not None
        bench.kinds = [WorkerKind("gpu", 0, ("baseModels/sdxl",))]
        # A worker has it.
        assert (await bench.own.get(model.name)).held_back == ""
