"""One suite for every ModelStore: the fake, SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import pytest
from sqlalchemy import Connection, inspect

from services.chassis.errors import (
    Aborted,
    AlreadyExists,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from services.chassis.listing.pages import Query
from services.chassis.names import new_id
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.registry.adapters.sql_models import SqlModelStore
from services.registry.adapters.sql_tables import EVENTS, METADATA
from services.registry.app import MIGRATIONS
from services.registry.models.resources import (
    LineageDataset,
    Model,
    ModelChanges,
    ModelFile,
    ModelVersion,
    NewModel,
    VersionDraft,
)
from services.registry.ports import MODELS, VERSIONS, ModelStore
from tests.fakes.finished_epochs import finished_epoch
from tests.fakes.registry import FakeModelStore
from tests.fixtures.lists import every_page, first_page

Kind = Literal["fake", "sqlite", "postgresql"]


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ModelStore]:
    kind: Kind = request.param
    if kind == "fake":
        yield FakeModelStore()
        return
    url = str(request.getfixturevalue("sqlite_url" if kind == "sqlite" else "postgres_url"))
    await upgrade(url, MIGRATIONS)
    db = Database(url, pool_size=16)
    yield SqlModelStore(db, Outbox(EVENTS))
    await db.dispose()


def key(request_id: str = "", digest: str = "d", method: str = "SaveEpoch", project: str = "pets") -> RequestKey:
    return RequestKey(project, method, request_id, digest)


def new(model_id: str, display_name: str = "", tags: tuple[str, ...] = (), project: str = "pets") -> NewModel:
    return NewModel(project, model_id, display_name or model_id, "words", tags)


def draft(model_id: str = "rex", project: str = "pets") -> VersionDraft:
    epoch, folder = finished_epoch(), new_id("save")
    files = tuple(
        ModelFile(file.file_id, file.file_name, file.content_type, 2**40 + n, file.sha256, f"{folder}/{file.file_id}")
        for n, file in enumerate(epoch.files)
    )
    prompts = tuple(preview.prompt for preview in epoch.previews)
    return VersionDraft(
        project, model_id, "a note", files, epoch.lineage, "sks dog", 0.1, 16, 8.5, prompts, "# Card ✓\n"
    )


async def refused(call: object, kind: type[DomainError], reason: str) -> None:
    with pytest.raises(kind) as caught:
        await call  # type: ignore[misc]
    assert caught.value.reason == reason


async def test_a_model_comes_back_as_it_was_made(store: ModelStore) -> None:
    made = await store.create_model(new("rex", "Rex ✓", ("dog", "brown")), key())
    assert await store.get_model("pets", "rex") == made
    assert (made.display_name, made.description, made.tags) == ("Rex ✓", "words", ("dog", "brown"))
    assert (made.aliases, made.latest, made.version_count, made.revision) == ({}, 0, 0, 1)
    assert made.create_time == made.update_time
    assert made.create_time.tzinfo is not None
    await refused(store.get_model("zoo", "rex"), NotFound, "MODEL_NOT_FOUND")
    await refused(store.create_model(new("rex"), key()), AlreadyExists, "MODEL_EXISTS")
    assert (await store.create_model(new("rex", project="zoo"), key())).project == "zoo"


async def test_a_request_is_remembered_for_its_project_and_method(store: ModelStore) -> None:
    made = await store.create_model(new("rex"), key("r", method="CreateModel"))
    assert await store.recall(key("r", method="CreateModel")) == made.name
    assert await store.create_model(new("rex"), key("r", method="CreateModel")) == made
    await refused(store.recall(key("r", "x", "CreateModel")), InvalidArgument, "REQUEST_ID_REUSED")
    await refused(store.create_model(new("max"), key("r", "x", "CreateModel")), InvalidArgument, "REQUEST_ID_REUSED")
    for other in (key("r", method="CreateModel", project="zoo"), key("r"), key("")):
        assert await store.recall(other) is None
    assert await store.forget_requests(timedelta(days=1)) == 0
    assert await store.forget_requests(timedelta(0)) == 1
    assert await store.recall(key("r", method="CreateModel")) is None


async def test_an_update_changes_only_what_is_given_and_the_etag(store: ModelStore) -> None:
    made = await store.create_model(new("rex", "Rex", ("a", "b")), key())
    renamed = await store.update_model("pets", "rex", ModelChanges(display_name="Max"), made.etag)
    assert (renamed.display_name, renamed.description, renamed.tags) == ("Max", "words", ("a", "b"))
    assert renamed.etag != made.etag
    assert renamed.update_time >= made.update_time
    assert renamed.create_time == made.create_time
    await refused(store.update_model("pets", "rex", ModelChanges(tags=()), made.etag), Aborted, "ETAG_MISMATCH")
    tagged = await store.update_model("pets", "rex", ModelChanges(description="", tags=("c", "a")), "")
    assert (tagged.display_name, tagged.description, tagged.tags) == ("Max", "", ("c", "a"))
    assert await store.get_model("pets", "rex") == tagged
    await refused(store.update_model("pets", "max", ModelChanges(), ""), NotFound, "MODEL_NOT_FOUND")


async def test_a_model_made_anew_has_another_etag(store: ModelStore) -> None:
    made = await store.create_model(new("rex"), key())
    assert await store.delete_model("pets", "rex", etag=made.etag, force=False) == []
    assert (await store.create_model(new("rex"), key())).etag != made.etag


async def test_lists_are_sorted_filtered_counted_and_paged(store: ModelStore) -> None:
    named = {"m-a": "banana", "m-b": "Apple", "m-c": "apple", "m-d": "50% off_", "m-e": "Ärger", "m-f": "zebra"}
    for model_id, display in named.items():
        tags = ("fruit", "Fruit salad") if display.lower() in ("apple", "banana") else ()
        await store.create_model(new(model_id, display, tags), key())
    await store.create_model(new("m-a", "banana", ("fruit",), project="zoo"), key())

    async def listed(order_by: str, text: str = "") -> list[str]:
        async def read(query: Query) -> list[Model]:
            found, total = await store.list_models("pets", query)
            totals.add(total)
            return found

        totals: set[int] = set()
        rows = await every_page(MODELS, read, filter=text, order_by=order_by)
        assert totals == {len(rows)}
        return [model.model_id[-1] for model in rows]

    assert await listed("display_name") == ["d", "b", "c", "a", "f", "e"]
    assert await listed("display_name desc") == ["e", "f", "a", "c", "b", "d"]
    assert await listed("display_name, create_time desc") == ["d", "c", "b", "a", "f", "e"]
    assert await listed("") == ["f", "e", "d", "c", "b", "a"]
    await store.update_model("pets", "m-b", ModelChanges(description="new"), "")
    assert (await listed("update_time"))[-1] == "b"
    for text, found in (
        ('display_name = "APPLE"', ["b", "c"]),
        ('display_name != "apple"', ["d", "a", "f", "e"]),
        ('display_name:"%"', ["d"]),
        ('display_name:"_"', ["d"]),
        ('display_name:"ÄR"', ["e"]),
        ('display_name >= "b"', ["a", "f", "e"]),
        ("tags:fruit", ["b", "c", "a"]),
        ('tags:"Fruit salad" AND display_name:"an"', ["a"]),
        ("tags:Fruit", []),
        ("tags:*", ["b", "c", "a"]),
        ('tags:"Fruit*"', ["b", "c", "a"]),
        ('tags:"fruit*d"', []),
        ("NOT tags:*", ["d", "f", "e"]),
        ('-tags:* OR display_name = "b*"', ["d", "a", "f", "e"]),
        ('display_name = "*e" AND (tags:fruit OR tags:x)', ["b", "c"]),
        ('display_name != "*a*"', ["d", "e"]),
    ):
        assert await listed("display_name", text) == found, text


async def test_a_version_comes_back_as_it_was_drafted(store: ModelStore) -> None:
    several = (
        LineageDataset("projects/pets/datasets/rex/versions/1", "a" * 64, 2.5, False, "sks"),
        LineageDataset("projects/pets/datasets/dogs/versions/4", "b" * 64, 0.0, True, ""),
    )
    given = draft()
    given = replace(given, lineage=replace(given.lineage, datasets=several))
    added = await store.add_version(given, create=new("rex"), aliases=["best"], key=key())
    assert (added.number, added.draft, set(added.aliases)) == (1, given, {"latest", "best"})
    assert await store.get_version("pets", "rex", 1) == added
    for alias in ("best", "latest"):
        assert (await store.get_version("pets", "rex", alias)).number == 1
    model = await store.get_model("pets", "rex")
    assert (model.aliases, model.latest, model.version_count) == ({"best": 1, "latest": 1}, 1, 1)
    await refused(store.get_version("pets", "rex", 2), NotFound, "VERSION_NOT_FOUND")
    await refused(store.get_version("pets", "rex", "worst"), NotFound, "ALIAS_NOT_FOUND")
    await refused(store.get_version("pets", "max", 1), NotFound, "MODEL_NOT_FOUND")
    await refused(store.add_version(draft("max"), create=None, aliases=[], key=key()), NotFound, "MODEL_NOT_FOUND")


async def test_versions_are_listed_newest_first_with_their_own_files_and_aliases(store: ModelStore) -> None:
    drafts = [draft() for _ in range(3)]
    for number, given in enumerate(drafts, 1):
        await store.add_version(given, create=new("rex"), aliases=[f"v-{number}"], key=key())
    await store.add_version(draft("max"), create=new("max"), aliases=["v-1"], key=key())

    async def read(query: Query) -> list[ModelVersion]:
        found, total = await store.list_versions("pets", "rex", query)
        assert total == 3
        return found

    versions = await every_page(VERSIONS, read)
    assert [version.number for version in versions] == [3, 2, 1]
    assert [version.number for version in await every_page(VERSIONS, read, order_by="create_time")] == [1, 2, 3]
    assert [version.draft for version in versions] == drafts[::-1]
    assert [set(version.aliases) for version in versions] == [{"v-3", "latest"}, {"v-2"}, {"v-1"}]
    await refused(store.list_versions("pets", "tom", first_page(VERSIONS)), NotFound, "MODEL_NOT_FOUND")


async def test_aliases_move_and_go(store: ModelStore) -> None:
    made = await store.add_version(draft(), create=new("rex"), aliases=["best"], key=key())
    await store.add_version(draft(), create=None, aliases=[], key=key())
    before = await store.get_model("pets", "rex")
    moved = await store.set_alias("pets", "rex", "best", 2)
    assert (moved.aliases, moved.etag != before.etag) == ({"best": 2, "latest": 2}, True)
    assert (await store.get_version("pets", "rex", made.number)).aliases == ()
    assert (await store.delete_alias("pets", "rex", "best")).aliases == {"latest": 2}
    await refused(store.delete_alias("pets", "rex", "best"), NotFound, "ALIAS_NOT_FOUND")
    await refused(store.set_alias("pets", "rex", "best", 3), NotFound, "VERSION_NOT_FOUND")
    await refused(store.set_alias("pets", "max", "best", 1), NotFound, "MODEL_NOT_FOUND")


async def test_deleting_gives_back_the_keys_that_nothing_refers_to(store: ModelStore) -> None:
    given, kept = draft(), draft("max")
    await store.add_version(given, create=new("rex"), aliases=["best"], key=key())
    await store.add_version(kept, create=new("max"), aliases=[], key=key())
    keys = [file.object_key for file in given.files]
    assert await store.unreferenced(["unknown", *keys]) == ["unknown"]
    await refused(store.delete_model("pets", "rex", etag="", force=False), FailedPrecondition, "MODEL_NOT_EMPTY")
    await refused(store.delete_model("pets", "rex", etag="old", force=True), Aborted, "ETAG_MISMATCH")
    assert await store.delete_model("pets", "rex", etag="", force=True) == keys
    assert await store.unreferenced(keys) == keys
    assert await store.unreferenced([file.object_key for file in kept.files]) == []
    await refused(store.get_version("pets", "rex", 1), NotFound, "MODEL_NOT_FOUND")
    again = await store.add_version(draft(), create=new("rex"), aliases=[], key=key())
    assert (again.number, set(again.aliases)) == (1, {"latest"})


async def test_versions_added_at_once_get_the_numbers_in_a_row(store: ModelStore) -> None:
    drafts = [draft() for _ in range(12)]
    added = await asyncio.gather(
        *(store.add_version(given, create=new("rex"), aliases=["newest"], key=key()) for given in drafts)
    )
    assert sorted(version.number for version in added) == list(range(1, 13))
    model = await store.get_model("pets", "rex")
    assert model.aliases == {"newest": 12, "latest": 12}
    versions, _ = await store.list_versions("pets", "rex", first_page(VERSIONS))
    assert {version.draft.files for version in versions} == {given.files for given in drafts}


async def test_a_version_whose_number_was_taken_meanwhile_is_not_added(store: ModelStore) -> None:
    first = await store.add_version(draft(), create=new("rex"), aliases=[], key=key(), number=1)
    lost = store.add_version(draft(), create=None, aliases=["best"], key=key("r"), number=1)
    await refused(lost, Aborted, "VERSION_NUMBER_TAKEN")
    await refused(
        store.add_version(draft("max"), create=new("max"), aliases=[], key=key(), number=2),
        Aborted,
        "VERSION_NUMBER_TAKEN",
    )
    await refused(store.get_model("pets", "max"), NotFound, "MODEL_NOT_FOUND")
    assert (await store.get_model("pets", "rex")).aliases == {"latest": first.number}
    assert (await store.add_version(draft(), create=None, aliases=[], key=key("r"), number=2)).number == 2


async def test_an_equal_request_at_once_is_carried_out_once(store: ModelStore) -> None:
    calls = (store.add_version(draft(), create=new("rex"), aliases=[], key=key("r")) for _ in range(6))
    added = await asyncio.gather(*calls)
    assert {version.number for version in added} == {1}
    assert len({version.draft.files for version in added}) == 1
    assert (await store.get_model("pets", "rex")).version_count == 1


async def test_the_migrations_make_exactly_the_tables(database_url: str) -> None:
    await upgrade(database_url, MIGRATIONS)
    db = Database(database_url)

    def described(connection: Connection) -> dict[str, object]:
        found = inspect(connection)
        return {
            table: (
                {(column["name"], str(column["type"]), column["nullable"]) for column in found.get_columns(table)},
                found.get_pk_constraint(table)["constrained_columns"],
                {tuple(index["column_names"]) for index in found.get_indexes(table)},
                {tuple(rule["column_names"]) for rule in found.get_unique_constraints(table)},
                {(tuple(rule["constrained_columns"]), rule["referred_table"], rule["options"].get("ondelete"))
                 for rule in found.get_foreign_keys(table)},
            )
            for table in found.get_table_names()
            if table != "alembic_version"
        }  # fmt: skip

    async with db.connect() as connection:
        migrated = await connection.run_sync(described)
    async with db.begin() as connection:
        await connection.run_sync(METADATA.drop_all)
        await connection.run_sync(METADATA.create_all)
    async with db.connect() as connection:
        assert await connection.run_sync(described) == migrated
    await db.dispose()


async def test_a_deleted_version_gives_its_number_to_nobody_and_latest_moves_back(store: ModelStore) -> None:
    made = [
        await store.add_version(draft(), create=new("rex"), aliases=["best"] if number == 2 else [], key=key())
        for number in (1, 2, 3)
    ]
    seen: list[tuple[str, ...]] = []

    def refuse(version: ModelVersion) -> None:
        seen.append(version.aliases)
        raise FailedPrecondition("no", reason="VERSION_HAS_ALIASES")

    with pytest.raises(FailedPrecondition):
        await store.delete_version("pets", "rex", 2, refuse)
    assert [sorted(aliases) for aliases in seen] == [["best"]]
    assert (await store.get_model("pets", "rex")).version_count == 3

    keys = await store.delete_version("pets", "rex", 3, lambda version: None)
    assert sorted(keys) == sorted(file.object_key for file in made[2].draft.files)
    model = await store.get_model("pets", "rex")
    assert (model.aliases, model.latest, model.version_count) == ({"best": 2, "latest": 2}, 2, 2)
    await store.delete_version("pets", "rex", 2, lambda version: None)
    assert (await store.get_model("pets", "rex")).aliases == {"latest": 1}
    for ask in (
        store.get_version("pets", "rex", 2),
        store.get_version("pets", "rex", "best"),
        store.set_alias("pets", "rex", "best", 2),
        store.delete_version("pets", "rex", 2, lambda version: None),
    ):
        with pytest.raises(NotFound):
            await ask
    assert (await store.add_version(draft(), create=None, aliases=[], key=key())).number == 4
    found, total = await store.list_versions("pets", "rex", first_page(VERSIONS))
    assert ([version.number for version in found], total) == ([4, 1], 2)


async def test_labels_are_kept_changed_and_filtered_by(store: ModelStore) -> None:
    await store.create_model(replace(new("rex"), labels={"team": "pets"}), key())
    await store.create_model(new("max"), key())
    assert (await store.get_model("pets", "rex")).labels == {"team": "pets"}
    for text, ids in (("labels:team", ["rex"]), ('labels.team = "pets"', ["rex"]), ("-labels:team", ["max"])):
        found, total = await store.list_models("pets", first_page(MODELS, filter=text))
        assert ([model.model_id for model in found], total) == (ids, 1)
    assert (await store.update_model("pets", "rex", ModelChanges(description="other"), "")).labels == {"team": "pets"}
    assert (await store.update_model("pets", "rex", ModelChanges(labels={}), "")).labels == {}


async def test_labels_of_a_version_change_and_nothing_else_of_it(store: ModelStore) -> None:
    given = replace(draft(), labels={"stage": "raw"})
    await store.add_version(given, create=new("rex"), aliases=["best"], key=key())
    await store.add_version(draft(), create=None, aliases=[], key=key())
    one = await store.get_version("pets", "rex", 1)
    changed = await store.label_version("pets", "rex", 1, {"stage": "final"}, one.etag)
    assert changed == replace(one, draft=replace(given, labels={"stage": "final"}))
    assert changed.etag != one.etag
    await refused(store.label_version("pets", "rex", 1, {}, one.etag), Aborted, "ETAG_MISMATCH")
    await refused(store.label_version("pets", "rex", 9, {}, ""), NotFound, "VERSION_NOT_FOUND")
    for text, numbers in (('labels.stage = "final"', [1]), ("-labels:stage", [2]), ("", [2, 1])):
        found, total = await store.list_versions("pets", "rex", first_page(VERSIONS, filter=text))
        assert ([version.number for version in found], total) == (numbers, len(numbers))


async def test_of_those_who_add_at_once_only_as_many_are_admitted_as_fit(store: ModelStore) -> None:
    def admit(models: int | None, versions: int | None) -> None:
        if (models or 0) >= 3 or (versions or 0) >= 3:
            raise ResourceExhausted(f"{models} {versions}", reason="BUDGET_USED_UP")

    async def made(call: Awaitable[object]) -> bool:
        try:
            await call
        except ResourceExhausted:
            return False
        return True

    calls = (store.create_model(new(f"m-{number}"), key(), admit) for number in range(6))
    assert sum(await asyncio.gather(*map(made, calls))) == 3
    await store.create_model(new("rex"), key())
    saves = (store.add_version(draft(), create=None, aliases=[], key=key(), admit=admit) for _ in range(6))
    assert sum(await asyncio.gather(*map(made, saves))) == 3
    assert await store.counts("pets") == (4, 3)
    assert await store.counts("other") == (0, 0)


async def test_a_repeated_request_is_answered_where_nothing_more_is_admitted(store: ModelStore) -> None:
    def nobody(models: int | None, versions: int | None) -> None:
        raise ResourceExhausted("full", reason="BUDGET_USED_UP")

    asked, saved = key("r-1", method="CreateModel"), key("r-2")
    model = await store.create_model(new("rex"), asked)
    assert await store.create_model(new("rex"), asked, nobody) == model
    version = await store.add_version(draft(), create=None, aliases=[], key=saved)
    again = await store.add_version(draft(), create=None, aliases=[], key=saved, admit=nobody)
    assert again.number == version.number
    with pytest.raises(ResourceExhausted):
        await store.add_version(draft("max"), create=new("max"), aliases=[], key=key("r-3"), admit=nobody)
    assert await store.counts("pets") == (1, 1)
