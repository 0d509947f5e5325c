"""Models and aliases, versions and downloads, over the fakes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.errors import Aborted, AlreadyExists, DataLoss, FailedPrecondition, InvalidArgument, NotFound
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.requests.keys import RequestKey
from services.registry.models.resources import NewModel
from services.registry.use_cases.repositories import Repositories
from services.registry.use_cases.save_epoch import SaveEpoch, SaveRequest
from services.registry.use_cases.sweeping import Sweeper
from services.registry.use_cases.versions import Versions
from tests.fakes.finished_epochs import EPOCH, contents, finished_epoch
from tests.fakes.registry import FakeEpochSource, FakeFileStore, FakeModelStore

REX = "projects/pets/models/rex"


class Bench:
    """The verbs over one set of fakes."""

    def __init__(self) -> None:
        self.store, self.files, tokens = FakeModelStore(), FakeFileStore(), PageTokens()
        self.repositories = Repositories(self.store, self.files, tokens)
        self.versions = Versions(self.store, self.files, tokens)
        self._saving = SaveEpoch(
            self.store, self.files, FakeEpochSource(finished_epoch(), contents=contents()), max_bytes=10_000_000
        )

    async def save(self, model_id: str = "rex", *aliases: str) -> None:
        await self._saving.save(SaveRequest("pets", EPOCH, model_id, True, "", "", aliases, key()))

    async def names(self, **query: str) -> list[str]:
        models, token, total = await self.repositories.list(ListRequest("projects/pets", **query))  # type: ignore[arg-type]
        assert (token, total) == ("", len(models))
        return [model.model_id for model in models]


def key(request_id: str = "", digest: str = "d") -> RequestKey:
    return RequestKey("pets", "CreateModel", request_id, digest)


def new(model_id: str, display_name: str = "", tags: tuple[str, ...] = ()) -> NewModel:
    return NewModel("pets", model_id, display_name, "", tags)


async def test_a_model_gets_an_id_and_a_name_when_none_is_given() -> None:
    bench = Bench()
    model = await bench.repositories.create(new(""), key())
    assert model.model_id.startswith("model-")
    assert model.display_name == model.model_id
    assert await bench.repositories.get(model.name) == model


async def test_tags_are_tidied_and_empty_ones_refused() -> None:
    bench = Bench()
    model = await bench.repositories.create(new("rex", tags=(" dog ", "dog", "brown")), key())
    assert model.tags == ("dog", "brown")
    with pytest.raises(InvalidArgument) as caught:
        await bench.repositories.create(new("max", tags=("  ",)), key())
    assert caught.value.field.startswith("model.tags[")
    assert await bench.names() == ["rex"]


async def test_a_taken_id_is_refused_and_a_repeat_is_not() -> None:
    bench = Bench()
    first = await bench.repositories.create(new("rex"), key("r-1"))
    assert await bench.repositories.create(new("rex"), key("r-1")) == first
    with pytest.raises(AlreadyExists):
        await bench.repositories.create(new("rex"), key("r-2"))
    with pytest.raises(InvalidArgument, match="different request"):
        await bench.repositories.create(new("max"), key("r-1", "other"))


async def test_lists_filter_sort_and_page() -> None:
    bench = Bench()
    for model_id, display, tags in (("a", "Zebra", ("x",)), ("b", "apple", ("x", "y")), ("c", "Ärger", ())):
        await bench.repositories.create(new(model_id, display, tags), key())
    assert await bench.names() == ["c", "b", "a"]
    assert await bench.names(order_by="create_time") == ["a", "b", "c"]
    assert await bench.names(order_by="display_name") == ["b", "a", "c"]
    assert await bench.names(filter='tags:x AND display_name:"APP"') == ["b"]
    assert await bench.names(filter='display_name = "ärger"') == ["c"]
    for field, broken in (("filter", {"filter": "size > 3"}), ("order_by", {"order_by": "size"})):
        with pytest.raises(InvalidArgument) as caught:
            await bench.names(**broken)
        assert caught.value.field == field

    seen, token = [], ""
    for _ in range(3):
        models, token, total = await bench.repositories.list(
            ListRequest("projects/pets", page_size=1, page_token=token, order_by="display_name desc")
        )
        assert total == 3
        seen += [model.model_id for model in models]
    assert (seen, token) == (["c", "a", "b"], "")


async def test_an_update_changes_what_the_mask_says() -> None:
    bench = Bench()
    first = await bench.repositories.create(new("rex", "Rex", ("dog",)), key())
    given = NewModel("pets", "rex", "King Rex", "new words", ())
    renamed = await bench.repositories.update(given, ["display_name"], first.etag)
    assert (renamed.display_name, renamed.description, renamed.tags) == ("King Rex", "", ("dog",))
    unmasked = await bench.repositories.update(given, [], "")
    assert (unmasked.description, unmasked.tags) == ("new words", ("dog",))
    assert (await bench.repositories.update(given, ["*"], unmasked.etag)).tags == ()
    with pytest.raises(Aborted):
        await bench.repositories.update(given, ["*"], first.etag)
    with pytest.raises(InvalidArgument) as caught:
        await bench.repositories.update(given, ["aliases"], "")
    assert caught.value.field == "update_mask"


async def test_a_model_with_versions_is_deleted_only_by_force_and_takes_its_files_along() -> None:
    bench = Bench()
    await bench.save()
    await bench.save("max")
    with pytest.raises(FailedPrecondition) as caught:
        await bench.repositories.delete(REX, etag="", force=False)
    assert "force" in caught.value.field
    with pytest.raises(Aborted):
        await bench.repositories.delete(REX, etag="old", force=True)
    assert len(bench.files.objects) == 2 * len(contents())
    await bench.repositories.delete(REX, etag="", force=True)
    assert await bench.names() == ["max"]
    assert len(bench.files.objects) == len(contents())
    with pytest.raises(NotFound):
        await bench.repositories.delete(REX, etag="", force=True)


async def test_aliases_move_and_latest_is_the_services_own() -> None:
    bench = Bench()
    await bench.save("rex", "production")
    await bench.save()
    assert (await bench.versions.get(f"{REX}/versions/production")).number == 1
    assert (await bench.versions.get(f"{REX}/versions/latest")).number == 2
    await bench.repositories.set_alias(REX, "production", 2)
    assert set((await bench.versions.get(f"{REX}/versions/2")).aliases) == {"latest", "production"}
    for call in (bench.repositories.set_alias(REX, "latest", 1), bench.repositories.delete_alias(REX, "latest")):
        with pytest.raises(InvalidArgument) as caught:
            await call
        assert caught.value.reason == "ALIAS_RESERVED"
    with pytest.raises(NotFound):
        await bench.repositories.set_alias(REX, "production", 3)
    model = await bench.repositories.delete_alias(REX, "production")
    assert model.aliases == {"latest": 2}
    with pytest.raises(NotFound):
        await bench.repositories.delete_alias(REX, "production")


async def test_versions_are_listed_newest_first() -> None:
    bench = Bench()
    for _ in range(3):
        await bench.save()
    versions, token, total = await bench.versions.list(ListRequest(REX, page_size=2))
    assert ([version.number for version in versions], total) == ([3, 2], 3)
    rest, end, _ = await bench.versions.list(ListRequest(REX, page_size=2, page_token=token))
    assert ([version.number for version in rest], end) == ([1], "")
    with pytest.raises(NotFound):
        await bench.versions.list(ListRequest("projects/pets/models/unknown"))


async def test_a_download_gives_the_saved_bytes_and_notices_damage() -> None:
    bench = Bench()
    await bench.save()
    for file_id, wanted in (("", "kohya"), ("diffusers", "diffusers"), ("preview-2", "preview-2")):
        file, chunks = await bench.versions.download(f"{REX}/versions/latest", file_id)
        assert file.file_id == wanted
        content = b"".join([chunk async for chunk in chunks])
        assert content == bench.files.objects[file.object_key]
        assert content[-5000:] == contents()[wanted][-5000:]
    with pytest.raises(NotFound) as caught:
        await bench.versions.download(f"{REX}/versions/1", "onnx")
    assert (caught.value.field, caught.value.reason) == ("file_id", "FILE_NOT_FOUND")

    file, chunks = await bench.versions.download(f"{REX}/versions/1", "kohya")
    bench.files.objects[file.object_key] = bench.files.objects[file.object_key][:-1] + b"?"
    with pytest.raises(DataLoss, match="SHA-256"):
        _ = [chunk async for chunk in chunks]
    _, chunks = await bench.versions.download(f"{REX}/versions/1", "kohya")
    del bench.files.objects[file.object_key]
    with pytest.raises(DataLoss) as lost:
        _ = [chunk async for chunk in chunks]
    assert lost.value.reason == "FILE_LOST"


async def test_a_part_of_a_file_is_read_by_itself_and_missing_bytes_are_noticed() -> None:
    bench = Bench()
    await bench.save()
    file, _ = await bench.versions.download(f"{REX}/versions/1", "kohya")
    stored = bench.files.objects[file.object_key]
    part = range(1000, file.size_bytes)
    got = [chunk async for chunk in bench.versions.part(f"{REX}/versions/1", file, part)]
    assert b"".join(got) == stored[1000:]
    bench.files.objects[file.object_key] = stored[:-1]
    with pytest.raises(DataLoss) as short:
        _ = [chunk async for chunk in bench.versions.part(f"{REX}/versions/1", file, part)]
    assert short.value.reason == "FILE_CORRUPT"
    del bench.files.objects[file.object_key]
    with pytest.raises(DataLoss) as lost:
        _ = [chunk async for chunk in bench.versions.part(f"{REX}/versions/1", file, part)]
    assert lost.value.reason == "FILE_LOST"
    await bench.versions.delete(f"{REX}/versions/1", etag="", force=True)
    with pytest.raises(NotFound):
        _ = [chunk async for chunk in bench.versions.part(f"{REX}/versions/1", file, part)]


async def test_a_version_that_goes_during_its_download_is_not_found_rather_than_lost() -> None:
    bench = Bench()
    await bench.save()
    _, chunks = await bench.versions.download(f"{REX}/versions/1", "kohya")
    await bench.versions.delete(f"{REX}/versions/1", etag="", force=True)
    bench.files.objects.clear()
    with pytest.raises(NotFound) as caught:
        _ = [chunk async for chunk in chunks]
    assert caught.value.reason == "VERSION_NOT_FOUND"


async def test_the_sweeper_removes_old_files_without_a_version_only() -> None:
    bench = Bench()
    await bench.save()
    kept = set(bench.files.objects)
    for orphan, age_h in (("old", 48), ("young", 1)):
        bench.files.objects[orphan] = b"?"
        bench.files.written[orphan] = datetime.now(UTC) - timedelta(hours=age_h)
    for saved in kept:
        bench.files.written[saved] = datetime.now(UTC) - timedelta(days=400)
    day = timedelta(days=1)
    sweeper = Sweeper(bench.store, bench.files, age=day, interval=day, remember=day, events=day)
    assert await sweeper.sweep() == 1
    assert set(bench.files.objects) == kept | {"young"}
