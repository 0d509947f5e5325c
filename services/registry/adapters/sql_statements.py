"""The statements of which the store's transactions are made; each runs on the caller's connection."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Table, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.chassis import names
from services.chassis.errors import NotFound
from services.chassis.sql import utcnow
from services.registry.adapters.sql_rows import Row, models_of, versions_of
from services.registry.adapters.sql_tables import ALIASES, MODEL_TAGS, MODELS, VERSIONS
from services.registry.models.names import MODEL_NAME
from services.registry.models.resources import Model, ModelVersion, NewModel
from services.registry.ports import Admit


def owned(table: Table, project: str, model_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """The condition for the rows of one model."""
    return table.c.project == project, table.c.model_id == model_id


async def find(conn: AsyncConnection, project: str, model_id: str, *, lock: bool = False) -> Row | None:
    """The row of a model; with `lock` other writers of this model wait until the transaction ends."""
    query = select(MODELS).where(*owned(MODELS, project, model_id))
    # SQLite leaves FOR UPDATE out: its write transactions take turns anyway.
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    return None if row is None else row._mapping


async def read_model(conn: AsyncConnection, project: str, model_id: str) -> Model:
    """Raises NotFound(MODEL_NOT_FOUND)."""
    return await _assembled(conn, project, model_id, await find(conn, project, model_id))


async def locked_model(conn: AsyncConnection, project: str, model_id: str) -> Model:
    """The same, locked for this transaction."""
    return await _assembled(conn, project, model_id, await find(conn, project, model_id, lock=True))


async def read_version(conn: AsyncConnection, project: str, model_id: str, selector: int | str) -> ModelVersion:
    """By number or alias. Raises NotFound for a model, a version or an alias that is not there."""
    model = await read_model(conn, project, model_id)
    number = model.aliases.get(selector) if isinstance(selector, str) else selector
    if number is None:
        raise no_alias(model, str(selector))
    query = select(VERSIONS).where(*owned(VERSIONS, project, model_id), VERSIONS.c.number == number)
    rows = [row._mapping for row in await conn.execute(query)]
    if not rows:
        raise no_version(model, number)
    return (await versions_of(conn, rows, model.latest))[0]


async def count(conn: AsyncConnection, table: Table, project: str) -> int:
    """How many rows of a table are a project's."""
    return await conn.scalar(select(func.count()).select_from(table).where(table.c.project == project)) or 0


async def take_turn(conn: AsyncConnection, project: str, admit: Admit | None) -> None:
    """Where someone will be asked whether the project may keep more: one at a time, to the end of the transaction.

    Call it before anything else, so that a repeated request finds what the first one made.
    """
    # SQLite has one writer anyway.
    if admit is not None and conn.dialect.name == "postgresql":
        lock = text("SELECT pg_advisory_xact_lock(hashtextextended(:kept, 0))")
        await conn.execute(lock, {"kept": f"kept|{project}"})


async def admitted(conn: AsyncConnection, project: str, admit: Admit | None, *, model: bool, version: bool) -> None:
    """Asks whether a model or a version may be added."""
    if admit is None:
        return
    models = await count(conn, MODELS, project) if model else None
    admit(models, await count(conn, VERSIONS, project) if version else None)


async def insert_model(conn: AsyncConnection, new: NewModel) -> None:
    """A model without versions."""
    now = utcnow()
    await conn.execute(
        insert(MODELS).values(
            project=new.project,
            model_id=new.model_id,
            uid=names.new_uuid(),
            display_name=new.display_name,
            search_name=new.display_name.casefold(),
            description=new.description,
            labels=dict(new.labels),
            last_version=0,
            revision=1,
            create_time=now,
            update_time=now,
        )
    )
    await insert_tags(conn, new.project, new.model_id, new.tags)


async def insert_tags(conn: AsyncConnection, project: str, model_id: str, tags: Sequence[str]) -> None:
    """The tags of a model that has none."""
    owner = {"project": project, "model_id": model_id}
    if tags:
        rows = [{**owner, "position": position, "tag": tag} for position, tag in enumerate(tags)]
        await conn.execute(insert(MODEL_TAGS), rows)


async def touch(conn: AsyncConnection, project: str, model_id: str, **values: object) -> None:
    """Changes a model's row: the given columns, its revision and its update time."""
    changed = {"revision": MODELS.c.revision + 1, "update_time": utcnow(), **values}
    await conn.execute(update(MODELS).where(*owned(MODELS, project, model_id)).values(**changed))


async def point_alias(conn: AsyncConnection, project: str, model_id: str, alias: str, number: int) -> None:
    """Points an alias at a version; the model must be locked."""
    await conn.execute(delete(ALIASES).where(*owned(ALIASES, project, model_id), ALIASES.c.alias == alias))
    await conn.execute(insert(ALIASES).values(project=project, model_id=model_id, alias=alias, number=number))


def no_version(model: Model, number: int) -> NotFound:
    """The error for a number that the model does not have."""
    has = f"Its newest version is {model.latest}." if model.latest else "It has no version yet: save an epoch into it."
    return NotFound(
        f"{model.name} has no version {number}",
        reason="VERSION_NOT_FOUND",
        remedy=has,
        metadata={"name": f"{model.name}/versions/{number}"},
    )


def no_alias(model: Model, alias: str) -> NotFound:
    """The error for an alias that the model does not have."""
    known = ", ".join(sorted(model.aliases))
    remedy = f"It has {known}." if known else "It has no version yet: save an epoch into it."
    return NotFound(f"{model.name} has no alias '{alias}'", reason="ALIAS_NOT_FOUND", remedy=remedy)


async def _assembled(conn: AsyncConnection, project: str, model_id: str, row: Row | None) -> Model:
    if row is None:
        name = MODEL_NAME.format(project=project, model=model_id)
        raise NotFound(
            f"{name} does not exist",
            reason="MODEL_NOT_FOUND",
            remedy="List the project's models.",
            metadata={"name": name},
        )
    return (await models_of(conn, [row]))[0]
