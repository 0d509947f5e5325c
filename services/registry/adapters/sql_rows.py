"""Rows of the registry as models, and back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import RowMapping, Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.registry.adapters.sql_tables import ALIASES, FILES, MODEL_TAGS, VERSIONS
from services.registry.models.names import LATEST
from services.registry.models.resources import Lineage, LineageDataset, Model, ModelFile, ModelVersion, VersionDraft

Row = RowMapping
_LINEAGE = tuple(Lineage.__dataclass_fields__)
_FILE = tuple(ModelFile.__dataclass_fields__)


async def models_of(conn: AsyncConnection, rows: Sequence[Row]) -> list[Model]:
    """Model rows of one project with their tags, aliases, counts and base models, in four queries."""
    if not rows:
        return []
    project, ids = rows[0]["project"], [row["model_id"] for row in rows]
    tags: defaultdict[str, list[str]] = defaultdict(list)
    aliases: defaultdict[str, dict[str, int]] = defaultdict(dict)
    own = (MODEL_TAGS.c.project == project, MODEL_TAGS.c.model_id.in_(ids))
    for row in await conn.execute(select(MODEL_TAGS).where(*own).order_by(MODEL_TAGS.c.position)):
        tags[row.model_id].append(row.tag)
    named = (ALIASES.c.project == project, ALIASES.c.model_id.in_(ids))
    for row in await conn.execute(select(ALIASES).where(*named).order_by(ALIASES.c.alias)):
        aliases[row.model_id][row.alias] = row.number
    counts = await _counts(conn, project, ids)
    bases: defaultdict[str, list[str]] = defaultdict(list)
    for row in await conn.execute(_base_models_of(project, ids)):
        bases[row.model_id].append(row.base_model)
    return [
        replace(
            _model(row, tuple(tags[row["model_id"]]), aliases[row["model_id"]], *counts.get(row["model_id"], (0, 0))),
            base_models=tuple(sorted(bases[row["model_id"]])),
        )
        for row in rows
    ]


def _base_models_of(project: str, ids: Sequence[str]) -> Select[Any]:
    """The base models of the versions of some models, each once; an imported file may say none."""
    of = (VERSIONS.c.project == project, VERSIONS.c.model_id.in_(ids), VERSIONS.c.base_model != "")
    return select(VERSIONS.c.model_id, VERSIONS.c.base_model).where(*of).distinct()


async def _counts(conn: AsyncConnection, project: str, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
    """The newest number and how many versions there are, by model."""
    own = (VERSIONS.c.project == project, VERSIONS.c.model_id.in_(ids))
    numbers = func.max(VERSIONS.c.number), func.count()
    found = await conn.execute(select(VERSIONS.c.model_id, *numbers).where(*own).group_by(VERSIONS.c.model_id))
    return {model_id: (newest, count) for model_id, newest, count in found}


async def versions_of(conn: AsyncConnection, rows: Sequence[Row], latest: int) -> list[ModelVersion]:
    """Version rows of one model with their files and aliases. latest: the model's newest number."""
    if not rows:
        return []
    project, model_id, numbers = rows[0]["project"], rows[0]["model_id"], [row["number"] for row in rows]
    files: defaultdict[int, list[ModelFile]] = defaultdict(list)
    aliases: defaultdict[int, list[str]] = defaultdict(list)
    own = (FILES.c.project == project, FILES.c.model_id == model_id, FILES.c.number.in_(numbers))
    for row in await conn.execute(select(FILES).where(*own).order_by(FILES.c.position)):
        files[row.number].append(ModelFile(**{name: row._mapping[name] for name in _FILE}))
    named = (ALIASES.c.project == project, ALIASES.c.model_id == model_id, ALIASES.c.number.in_(numbers))
    for row in await conn.execute(select(ALIASES).where(*named).order_by(ALIASES.c.alias)):
        aliases[row.number].append(row.alias)
    aliases[latest].append(LATEST)
    return [_version(row, files[row["number"]], aliases[row["number"]]) for row in rows]


def version_values(draft: VersionDraft) -> dict[str, Any]:
    """The columns of a version's row that its draft gives."""
    own = ("project", "model_id", "description", "trigger_word", "loss", "rank", "alpha", "model_card")
    return {
        **{name: getattr(draft, name) for name in own},
        **{name: getattr(draft.lineage, name) for name in _LINEAGE},
        "datasets": [asdict(dataset) for dataset in draft.lineage.datasets],
        "preview_prompts": list(draft.preview_prompts),
        "labels": dict(draft.labels),
    }


def file_values(draft: VersionDraft, number: int) -> list[dict[str, Any]]:
    """The rows of a version's files."""
    owner = {"project": draft.project, "model_id": draft.model_id, "number": number}
    return [
        {**owner, "position": position, **{name: getattr(file, name) for name in _FILE}}
        for position, file in enumerate(draft.files)
    ]


def _model(row: Row, tags: tuple[str, ...], aliases: dict[str, int], latest: int, count: int) -> Model:
    named = ("project", "model_id", "uid", "display_name", "description")
    own = (*named, "last_version", "revision", "create_time", "update_time", "labels")
    return Model(
        **{name: row[name] for name in own},
        tags=tags,
        aliases={**aliases, LATEST: latest} if latest else aliases,
        latest=latest,
        version_count=count,
    )


def _datasets(row: Row) -> tuple[LineageDataset, ...]:
    return tuple(LineageDataset(**each) for each in row["datasets"])


def _version(row: Row, files: list[ModelFile], aliases: list[str]) -> ModelVersion:
    draft = VersionDraft(
        **{name: row[name] for name in ("project", "model_id", "description", "trigger_word", "loss", "rank", "alpha")},
        files=tuple(files),
        lineage=Lineage(**{**{name: row[name] for name in _LINEAGE}, "datasets": _datasets(row)}),
        preview_prompts=tuple(row["preview_prompts"]),
        model_card=row["model_card"],
        labels=row["labels"],
    )
    return ModelVersion(row["number"], draft, row["create_time"], tuple(aliases))
