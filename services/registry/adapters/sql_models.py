"""The model store over SQLite or PostgreSQL. A model's row is the lock under which its versions get their numbers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import names
from services.chassis.cloud_events import event_subject
from services.chassis.errors import AlreadyExists, FailedPrecondition
from services.chassis.listing.pages import Query
from services.chassis.listing.sql import Rows, SqlListing
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.requests.sql import RememberedRequests
from services.chassis.sql import Database, unique_violation, utcnow
from services.registry.adapters.sql_rows import file_values, models_of, version_values, versions_of
from services.registry.adapters.sql_statements import (
    admitted,
    count,
    find,
    insert_model,
    insert_tags,
    locked_model,
    no_alias,
    owned,
    point_alias,
    read_model,
    read_version,
    take_turn,
    touch,
)
from services.registry.adapters.sql_tables import ALIASES, FILES, MODEL_TAGS, MODELS, REQUESTS, VERSIONS
from services.registry.models.checks import check_number
from services.registry.models.names import LATEST, MODEL_NAME, parse_version_name, version_name
from services.registry.models.resources import Model, ModelChanges, ModelVersion, NewModel, VersionDraft
from services.registry.ports import MODELS as MODEL_LISTING
from services.registry.ports import VERSIONS as VERSION_LISTING
from services.registry.ports import Admit
from services.registry.proto_mapping import events as told

T = TypeVar("T")

_TAGS = Rows(MODEL_TAGS.c.tag, (MODEL_TAGS.c.project == MODELS.c.project, MODEL_TAGS.c.model_id == MODELS.c.model_id))
_BASE_MODELS = Rows(
    VERSIONS.c.base_model, (VERSIONS.c.project == MODELS.c.project, VERSIONS.c.model_id == MODELS.c.model_id)
)
_MODEL_LIST = SqlListing(
    MODEL_LISTING, MODELS, {"display_name": MODELS.c.search_name, "tags": _TAGS, "base_models": _BASE_MODELS}
)
_VERSION_LIST = SqlListing(VERSION_LISTING, VERSIONS)
# Two transactions that insert the same key: the later one fails and finds the row when it starts again.
_ATTEMPTS = 5


class SqlModelStore:
    """Implements ports.ModelStore."""

    def __init__(self, db: Database, outbox: Outbox, *, published_only: bool = False) -> None:
        """published_only: an event is forgotten only after the bus has it."""
        self._db = db
        self._published_only = published_only
        self._outbox = outbox
        self._requests = RememberedRequests(REQUESTS)

    async def recall(self, key: RequestKey) -> str | None:
        """See ports.ModelStore."""
        async with self._db.connect() as conn:
            return await self._requests.recall(conn, key)

    async def create_model(self, new: NewModel, key: RequestKey, admit: Admit | None = None) -> Model:
        """See ports.ModelStore."""

        async def create(conn: AsyncConnection) -> Model:
            await take_turn(conn, new.project, admit)
            earlier = await self._requests.recall(conn, key)
            if earlier is not None:
                return await read_model(conn, new.project, MODEL_NAME.parse(earlier)["model"])
            if await find(conn, new.project, new.model_id) is not None:
                raise AlreadyExists(
                    f"The model '{new.model_id}' already exists",
                    field="model_id",
                    reason="MODEL_EXISTS",
                    remedy="Choose another id, or save into the existing model.",
                )
            await admitted(conn, new.project, admit, model=True, version=False)
            await insert_model(conn, new)
            await self._requests.remember(conn, key, MODEL_NAME.format(project=new.project, model=new.model_id))
            made = await read_model(conn, new.project, new.model_id)
            await self._tell(conn, made, told.created(made))
            return made

        return await self._write(create)

    async def get_model(self, project: str, model_id: str) -> Model:
        """See ports.ModelStore."""
        async with self._db.connect() as conn:
            return await read_model(conn, project, model_id)

    async def list_models(self, project: str, query: Query) -> tuple[list[Model], int]:
        """See ports.ModelStore."""
        mine = MODELS.c.project == project
        async with self._db.connect() as conn:
            total = await _MODEL_LIST.count(conn, query, mine)
            rows = [row._mapping for row in await conn.execute(_MODEL_LIST.page(query, mine))]
            return await models_of(conn, rows), total

    async def update_model(self, project: str, model_id: str, changes: ModelChanges, etag: str) -> Model:
        """See ports.ModelStore."""
        async with self._db.begin() as conn:
            model = await locked_model(conn, project, model_id)
            names.check_etag(etag, model.etag, field="model.etag")
            values: dict[str, object] = {}
            if changes.display_name is not None:
                values |= {"display_name": changes.display_name, "search_name": changes.display_name.casefold()}
            if changes.description is not None:
                values["description"] = changes.description
            if changes.labels is not None:
                values["labels"] = dict(changes.labels)
            if changes.tags is not None:
                await conn.execute(delete(MODEL_TAGS).where(*owned(MODEL_TAGS, project, model_id)))
                await insert_tags(conn, project, model_id, changes.tags)
            await touch(conn, project, model_id, **values)
            changed = await read_model(conn, project, model_id)
            await self._tell(conn, changed, told.updated(changed))
            return changed

    async def delete_model(self, project: str, model_id: str, *, etag: str, force: bool) -> list[str]:
        """See ports.ModelStore."""
        async with self._db.begin() as conn:
            model = await locked_model(conn, project, model_id)
            names.check_etag(etag, model.etag)
            if model.version_count and not force:
                raise FailedPrecondition(
                    f"{model.name} has {model.version_count} versions",
                    field="force",
                    reason="MODEL_NOT_EMPTY",
                    remedy="Set force to delete them and their files too.",
                )
            keys = await conn.scalars(select(FILES.c.object_key).where(*owned(FILES, project, model_id)))
            object_keys = list(keys)
            await conn.execute(delete(MODELS).where(*owned(MODELS, project, model_id)))
            await self._tell(conn, model, told.deleted(model))
            await self._outbox.close(conn, model.name)
            return object_keys

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
        """See ports.ModelStore."""
        project, model_id = draft.project, draft.model_id

        async def add(conn: AsyncConnection) -> ModelVersion:
            await take_turn(conn, project, admit)
            earlier = await self._requests.recall(conn, key)
            if earlier is not None:
                return await read_version(conn, *parse_version_name(earlier))
            new = create if create is not None and await find(conn, project, model_id) is None else None
            await admitted(conn, project, admit, model=new is not None, version=True)
            if new is not None:
                await insert_model(conn, new)
            model = await locked_model(conn, project, model_id)
            if new is not None:
                await self._tell(conn, model, told.created(model))
            next_number = check_number(model.last_version + 1, number)
            values = {"number": next_number, "create_time": utcnow(), **version_values(draft)}
            await conn.execute(insert(VERSIONS).values(**values))
            await conn.execute(insert(FILES), file_values(draft, next_number))
            for alias in aliases:
                await point_alias(conn, project, model_id, alias, next_number)
            await touch(conn, project, model_id, last_version=next_number)
            await self._requests.remember(conn, key, version_name(project, model_id, next_number))
            version = await read_version(conn, project, model_id, next_number)
            await self._tell(conn, model, told.version_created(version))
            for alias in aliases:
                await self._tell(conn, model, told.alias_moved(model, alias, next_number))
            return version

        return await self._write(add)

    async def get_version(self, project: str, model_id: str, selector: int | str) -> ModelVersion:
        """See ports.ModelStore."""
        async with self._db.connect() as conn:
            return await read_version(conn, project, model_id, selector)

    async def list_versions(self, project: str, model_id: str, query: Query) -> tuple[list[ModelVersion], int]:
        """See ports.ModelStore."""
        async with self._db.connect() as conn:
            model = await read_model(conn, project, model_id)
            mine = owned(VERSIONS, project, model_id)
            rows = await conn.execute(_VERSION_LIST.page(query, *mine))
            found = await versions_of(conn, [row._mapping for row in rows], model.latest)
            return found, await _VERSION_LIST.count(conn, query, *mine)

    async def label_version(
        self, project: str, model_id: str, number: int, labels: Mapping[str, str], etag: str
    ) -> ModelVersion:
        """See ports.ModelStore."""
        async with self._db.begin() as conn:
            model = await locked_model(conn, project, model_id)
            version = await read_version(conn, project, model_id, number)
            names.check_etag(etag, version.etag, field="model_version.etag")
            if labels == version.labels:
                return version
            own = (*owned(VERSIONS, project, model_id), VERSIONS.c.number == number)
            await conn.execute(update(VERSIONS).where(*own).values(labels=dict(labels)))
            await touch(conn, project, model_id)
            labelled = await read_version(conn, project, model_id, number)
            await self._tell(conn, model, told.version_updated(labelled))
            return labelled

    async def delete_version(
        self, project: str, model_id: str, number: int, check: Callable[[ModelVersion], None]
    ) -> list[str]:
        """See ports.ModelStore."""
        async with self._db.begin() as conn:
            model = await locked_model(conn, project, model_id)
            gone = await read_version(conn, project, model_id, number)
            check(gone)
            files = (*owned(FILES, project, model_id), FILES.c.number == number)
            object_keys = list(await conn.scalars(select(FILES.c.object_key).where(*files)))
            version = (*owned(VERSIONS, project, model_id), VERSIONS.c.number == number)
            await conn.execute(delete(VERSIONS).where(*version))
            await touch(conn, project, model_id)
            for alias in sorted(set(gone.aliases) & set(model.aliases) - {LATEST}):
                await self._tell(conn, model, told.alias_deleted(model, alias))
            await self._tell(conn, model, told.version_deleted(project, model_id, number))
            return object_keys

    async def set_alias(self, project: str, model_id: str, alias: str, number: int) -> Model:
        """See ports.ModelStore."""
        async with self._db.begin() as conn:
            model = await locked_model(conn, project, model_id)
            await read_version(conn, project, model_id, number)
            await point_alias(conn, project, model_id, alias, number)
            await touch(conn, project, model_id)
            if model.aliases.get(alias) != number:
                await self._tell(conn, model, told.alias_moved(model, alias, number))
            return await read_model(conn, project, model_id)

    async def delete_alias(self, project: str, model_id: str, alias: str) -> Model:
        """See ports.ModelStore."""
        async with self._db.begin() as conn:
            model = await locked_model(conn, project, model_id)
            if alias not in model.aliases:
                raise no_alias(model, alias)
            await conn.execute(delete(ALIASES).where(*owned(ALIASES, project, model_id), ALIASES.c.alias == alias))
            await touch(conn, project, model_id)
            await self._tell(conn, model, told.alias_deleted(model, alias))
            return await read_model(conn, project, model_id)

    async def counts(self, project: str) -> tuple[int, int]:
        """See ports.ModelStore."""
        async with self._db.connect() as conn:
            return await count(conn, MODELS, project), await count(conn, VERSIONS, project)

    async def forget_events(self, age: timedelta) -> int:
        """See ports.ModelStore."""
        async with self._db.begin() as conn:
            return await self._outbox.forget(conn, utcnow() - age, published_only=self._published_only)

    async def forget_requests(self, age: timedelta) -> int:
        """See ports.ModelStore."""
        async with self._db.begin() as conn:
            return await self._requests.forget_older_than(conn, age)

    async def unreferenced(self, object_keys: Sequence[str]) -> list[str]:
        """See ports.ModelStore."""
        async with self._db.connect() as conn:
            known = await conn.scalars(select(FILES.c.object_key).where(FILES.c.object_key.in_(object_keys)))
            referenced = set(known)
        return [key for key in object_keys if key not in referenced]

    async def _tell(self, conn: AsyncConnection, model: Model, payload: told.Payload) -> None:
        """Appends an event of a locked model. The relay looks every second, and hears of it no sooner."""
        kind = told.event_type(payload)
        await self._outbox.append(
            conn,
            aggregate=model.name,
            type=f"fiveshot.model.{kind}",
            subject=event_subject(model.project, "models", model.model_id, kind),
            source=model.name,
            payload=lambda event_id, sequence, moment: told.event_payload(
                payload, model.name, event_id=event_id, sequence=sequence, moment=moment
            ),
        )

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self._db.begin() as conn:
                    return await work(conn)
            except IntegrityError as error:
                if attempt == _ATTEMPTS or not unique_violation(error):
                    raise
        raise AssertionError("the last attempt returns or raises")
