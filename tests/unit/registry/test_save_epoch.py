"""Saving an epoch: all of it or nothing, once for each request."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from services.chassis.errors import (
    DataLoss,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.chassis.requests.keys import RequestKey
from services.registry.models.resources import FinishedEpoch, ModelVersion, NewModel, VersionDraft
from services.registry.ports import Admit
from services.registry.use_cases.save_epoch import SaveEpoch, SaveRequest
from tests.fakes.finished_epochs import EPOCH, contents, finished_epoch
from tests.fakes.registry import FakeEpochSource, FakeFileStore, FakeModelStore


class Bench:
    """The use case over fakes that a test can look into."""

    def __init__(self, *epochs: FinishedEpoch, max_bytes: int = 10_000_000) -> None:
        self.store = FakeModelStore()
        self.files = FakeFileStore()
        self.source = FakeEpochSource(*(epochs or (finished_epoch(),)), contents=contents())
        self.saving = SaveEpoch(self.store, self.files, self.source, max_bytes=max_bytes)

    async def refused(self, request: SaveRequest, kind: type[DomainError]) -> DomainError:
        """Saves, expects the error and that nothing was kept."""
        before = dict(self.store.models)
        with pytest.raises(kind) as caught:
            await self.saving.save(request)
        assert self.files.objects == {}
        assert self.store.versions == {}
        assert self.store.models == before
        assert self.store.requests == {}
        return caught.value


def request(
    *, epoch: str = EPOCH, create: bool = True, aliases: tuple[str, ...] = (), request_id: str = "", digest: str = "d"
) -> SaveRequest:
    key = RequestKey("pets", "SaveEpoch", request_id, digest)
    return SaveRequest("pets", epoch, "rex", create, " Rex ", "the good one", aliases, key)


async def test_a_saved_epoch_is_a_version_with_files_lineage_and_card() -> None:
    bench = Bench()
    version = await bench.saving.save(request(aliases=("production", "latest", "production")))
    assert version.name == "projects/pets/models/rex/versions/1"
    assert set(version.aliases) == {"latest", "production"}
    assert version.draft.lineage.epoch == EPOCH
    assert version.draft.lineage.dataset_digest == "d" * 64
    assert version.draft.preview_prompts == tuple(preview.prompt for preview in finished_epoch().previews)
    kept = {file.file_id: bench.files.objects[file.object_key] for file in version.draft.files}
    assert {file_id: tensors(content) for file_id, content in kept.items()} == {
        file_id: tensors(content) for file_id, content in contents().items()
    }
    for file in version.draft.files:
        assert (file.size_bytes, file.sha256) == (len(kept[file.file_id]), sha256(kept[file.file_id]).hexdigest())
        assert f"`{file.file_name}`" in version.draft.model_card
        assert file.sha256 in version.draft.model_card
    assert "# Rex\n" in version.draft.model_card
    assert bench.store.models["pets", "rex"].display_name == "Rex"


async def test_a_save_that_is_only_checked_shows_the_version_and_keeps_nothing() -> None:
    bench = Bench()
    planned = await bench.saving.save(replace(request(aliases=("production",)), validate_only=True))
    assert (bench.files.objects, bench.store.versions, bench.store.models, bench.store.requests) == ({}, {}, {}, {})
    version = await bench.saving.save(request(aliases=("production",)))
    assert (planned.name, set(planned.aliases), planned.draft.lineage) == (
        version.name, set(version.aliases), version.draft.lineage,
    )  # fmt: skip
    assert [file.file_name for file in planned.draft.files] == [file.file_name for file in version.draft.files]
    known = [line for line in planned.draft.model_card.splitlines() if ".safetensors` | " not in line]
    assert known == [line for line in version.draft.model_card.splitlines() if ".safetensors` | " not in line]
    with pytest.raises(NotFound):
        await bench.saving.save(replace(request(create=False), model_id="none", validate_only=True))


async def test_files_are_named_after_model_and_version_inside_too() -> None:
    bench = Bench()
    await bench.saving.save(request())
    version = await bench.saving.save(request())
    assert [file.file_name for file in version.draft.files] == [
        "rex-v2.safetensors", "rex-v2-diffusers.safetensors", "rex-v2-preview-1.png", "rex-v2-preview-2.png",
        "rex-v2-preview-3.png", "rex-v2-contact-sheet.png",
    ]  # fmt: skip
    for file in version.draft.files[:2]:
        metadata = header(bench.files.objects[file.object_key])["__metadata__"]
        assert metadata == {"ss_output_name": "rex-v2", "modelspec.title": "Rex v2"}


async def test_a_number_that_was_deleted_is_not_given_again_in_a_files_name() -> None:
    bench = Bench()
    for _ in range(2):
        await bench.saving.save(request())
    await bench.store.delete_version("pets", "rex", 2, lambda version: None)
    version = await bench.saving.save(request())
    assert (version.number, version.draft.files[0].file_name) == (3, "rex-v3.safetensors")


async def test_a_lora_that_is_no_safetensors_file_is_refused() -> None:
    for content in (b"", b"short", struct.pack("<Q", 4) + b"null" + bytes(9), struct.pack("<Q", 2**40) + bytes(99)):
        kept = contents() | {"kohya": content}
        epoch = finished_epoch()
        files = [replace(each, size_bytes=len(kept[each.file_id])) for each in epoch.files]
        files = [replace(each, sha256=sha256(kept[each.file_id]).hexdigest()) for each in files]
        bench = Bench(replace(epoch, files=tuple(files)))
        bench.source.contents = kept
        assert (await bench.refused(request(), DataLoss)).reason == "FILE_CORRUPT"


async def test_versions_count_up_and_the_model_keeps_its_name() -> None:
    bench = Bench()
    first = await bench.saving.save(request())
    second = await bench.saving.save(replace(request(), display_name="Another"))
    assert (first.number, second.number) == (1, 2)
    model = await bench.store.get_model("pets", "rex")
    assert (model.display_name, model.aliases) == ("Rex", {"latest": 2})


async def test_a_model_is_made_only_on_request() -> None:
    error = await Bench().refused(request(create=False), NotFound)
    assert (error.field, error.reason) == ("model_id", "MODEL_NOT_FOUND")
    assert "create_model" in error.remedy


async def test_an_epoch_of_another_project_is_refused() -> None:
    error = await Bench().refused(request(epoch="projects/zoo/trainingJobs/rex/epochs/3"), InvalidArgument)
    assert (error.field, error.reason) == ("epoch", "EPOCH_OF_ANOTHER_PROJECT")


async def test_an_unknown_epoch_is_refused() -> None:
    error = await Bench().refused(request(epoch="projects/pets/trainingJobs/rex/epochs/9"), NotFound)
    assert error.field == "epoch"


@pytest.mark.parametrize("change", ["flipped", "short", "long", "empty"])
@pytest.mark.parametrize("file_id", ["kohya", "preview-3"])
async def test_bytes_that_differ_from_the_record_are_data_loss_and_leave_nothing(file_id: str, change: str) -> None:
    bench = Bench()
    good = bench.source.contents[file_id]
    changed = {"flipped": good[:-1] + bytes([good[-1] ^ 1]), "short": good[:-1], "long": good + b"x", "empty": b""}
    bench.source.contents[file_id] = changed[change]
    error = await bench.refused(request(), DataLoss)
    assert error.reason == "FILE_CORRUPT"
    name = next(file.file_name for file in finished_epoch().files if file.file_id == file_id)
    assert name in error.message


async def test_an_endless_file_is_cut_off_at_its_recorded_size() -> None:
    bench = Bench()
    sent = 0

    async def endless(epoch: str, file: object) -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield bytes(100_000)

    bench.source.read_file = endless  # type: ignore[method-assign]
    await bench.refused(request(), DataLoss)
    assert sent <= 9


async def test_a_store_that_fails_midway_leaves_nothing() -> None:
    bench = Bench()
    bench.files.fail_after = 3
    await bench.refused(request(), Unavailable)


async def test_a_trainer_that_goes_away_midway_leaves_nothing() -> None:
    bench = Bench()
    read = bench.source.read_file

    async def breaking(epoch: str, file: object) -> AsyncIterator[bytes]:
        if getattr(file, "file_id") == "preview-2":  # noqa: B009
            yield b"half"
            raise Unavailable("The trainer went away")
        async for chunk in read(epoch, file):  # type: ignore[arg-type]
            yield chunk

    bench.source.read_file = breaking  # type: ignore[method-assign]
    await bench.refused(request(), Unavailable)


async def test_too_large_an_epoch_is_refused_before_its_bytes_are_read() -> None:
    bench = Bench(max_bytes=1000)
    bench.source.contents.clear()
    error = await bench.refused(request(), ResourceExhausted)
    assert error.reason == "VERSION_TOO_LARGE"


async def test_an_epoch_with_previews_only_is_refused() -> None:
    bare = replace(finished_epoch(), files=finished_epoch().files[2:])
    error = await Bench(bare).refused(request(), FailedPrecondition)
    assert error.reason == "EPOCH_WITHOUT_ARTIFACT"


async def test_a_repeated_request_gives_the_first_version() -> None:
    bench = Bench()
    first = await bench.saving.save(request(request_id="r-1"))
    stored = dict(bench.files.objects)
    bench.source.epochs.clear()
    assert await bench.saving.save(request(request_id="r-1")) == first
    assert bench.files.objects == stored


async def test_the_same_request_id_with_another_body_is_refused() -> None:
    bench = Bench()
    await bench.saving.save(request(request_id="r-1"))
    with pytest.raises(InvalidArgument) as caught:
        await bench.saving.save(request(request_id="r-1", digest="other"))
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_a_repeat_after_the_model_was_deleted_says_so() -> None:
    bench = Bench()
    await bench.saving.save(request(request_id="r-1"))
    await bench.store.delete_model("pets", "rex", etag="", force=True)
    with pytest.raises(NotFound) as caught:
        await bench.saving.save(request(request_id="r-1"))
    assert caught.value.reason == "DELETED_SINCE"


async def test_of_equal_requests_at_once_one_version_comes_and_no_spare_files_stay() -> None:
    bench = Bench()
    versions = await asyncio.gather(*(bench.saving.save(request(request_id="r-1")) for _ in range(5)))
    assert {version.number for version in versions} == {1}
    assert len(bench.files.objects) == len(contents())


async def test_saves_at_once_get_different_numbers() -> None:
    bench = Bench()
    versions = await asyncio.gather(*(bench.saving.save(request()) for _ in range(8)))
    assert sorted(version.number for version in versions) == list(range(1, 9))
    assert len(bench.files.objects) == 8 * len(contents())


class _BrokenCommit(FakeModelStore):
    """The answer to the commit is lost; `stored` says whether it went through."""

    def __init__(self, *, stored: bool) -> None:
        super().__init__()
        self._stored = stored

    async def add_version(
        self,
        draft: VersionDraft,
        *,
        create: NewModel | None,
        aliases: Sequence[str],
        key: RequestKey,
        number: int | None = None,
        admit: Admit | None = None,
    ) -> ModelVersion:
        if self._stored:
            await super().add_version(draft, create=create, aliases=aliases, key=key, number=number)
        raise Unavailable("The connection to the database was lost")


async def test_a_lost_answer_to_the_commit_keeps_the_files_exactly_when_it_went_through() -> None:
    for stored in (True, False):
        bench = Bench()
        store = _BrokenCommit(stored=stored)
        saving = SaveEpoch(store, bench.files, bench.source, max_bytes=10_000_000)
        with pytest.raises(Unavailable):
            await saving.save(request())
        assert len(bench.files.objects) == (len(contents()) if stored else 0)


async def test_a_caller_that_hangs_up_while_files_are_copied_leaves_nothing() -> None:
    bench = Bench()
    reached = asyncio.Event()

    async def hanging(epoch: str, file: object) -> AsyncIterator[bytes]:
        reached.set()
        yield b"first"
        await asyncio.Event().wait()

    await bench.files.put("projects/pets/models/rex/save-0/other", _once(b"someone else's"), "image/png")
    bench.source.read_file = hanging  # type: ignore[method-assign]
    save = asyncio.create_task(bench.saving.save(request()))
    await reached.wait()
    save.cancel()
    with pytest.raises(asyncio.CancelledError):
        await save
    assert list(bench.files.objects) == ["projects/pets/models/rex/save-0/other"]
    assert bench.store.versions == {}


def header(content: bytes) -> dict[str, Any]:
    """The JSON before the tensors of a safetensors file, which begin at a multiple of eight."""
    length = struct.unpack_from("<Q", content)[0]
    assert length % 8 == 0
    found: dict[str, Any] = json.loads(content[8 : 8 + length])
    return found


def tensors(content: bytes) -> bytes:
    """What follows the header of a safetensors file; any other file as it is."""
    if content.startswith(b"\x89PNG"):
        return content
    return content[8 + struct.unpack_from("<Q", content)[0] :]


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
