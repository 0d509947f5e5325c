"""Raw scores of images in SQL: a row for each image and tagger, some kilobytes for a tagger of ten thousand labels."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from services.chassis.sql import Database, unique_violation
from services.tagger.adapters.tag_job_tables import image_scores
from services.tagger.models.pictures import Score, Scores

_kept = image_scores.c


class SqlKeptScores:
    """KeptScores on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._db = database

    async def of(self, images: Sequence[str], fingerprint: str, now: datetime) -> dict[str, Scores]:
        """See the port."""
        wanted = and_(_kept.image.in_(images), _kept.fingerprint == fingerprint)
        async with self._db.begin() as conn:
            rows = (await conn.execute(select(_kept.image, _kept.scores).where(wanted))).all()
            if rows:
                await conn.execute(update(image_scores).where(wanted).values(used_at=now))
        return {row.image: unpacked(row.scores) for row in rows}

    async def keep(self, image: str, fingerprint: str, scores: Scores, now: datetime) -> None:
        """See the port. Of two at the same moment either may win: the same tagger gives the same scores."""
        mine = and_(_kept.image == image, _kept.fingerprint == fingerprint)
        row = {"image": image, "fingerprint": fingerprint, "scores": packed(scores), "used_at": now}
        try:
            async with self._db.begin() as conn:
                await conn.execute(delete(image_scores).where(mine))
                await conn.execute(insert(image_scores).values(**row))
        except IntegrityError as error:
            if not unique_violation(error):
                raise

    async def forget_unused(self, before: datetime) -> int:
        """See the port."""
        async with self._db.begin() as conn:
            return int((await conn.execute(delete(image_scores).where(_kept.used_at < before))).rowcount)


def packed(scores: Scores) -> bytes:
    """Scores as they are stored: zlib over JSON, the facts that all labels of a backend share told once."""
    sources: dict[tuple[str, str, str, bool], int] = {}
    labels = [
        [
            sources.setdefault((each.category, each.tagger, each.model_sha256, each.measured), len(sources)),
            each.label,
            each.score,
            list(each.broader),
        ]
        for each in scores.scores
    ]
    stored = {"outside_domain": scores.outside_domain, "sources": list(sources), "labels": labels}
    return zlib.compress(json.dumps(stored, separators=(",", ":"), ensure_ascii=False).encode())


def unpacked(data: bytes) -> Scores:
    """The inverse of `packed`."""
    stored = json.loads(zlib.decompress(data))
    sources = stored["sources"]
    scores = tuple(_score(sources[source], *label) for source, *label in stored["labels"])
    return Scores(scores, outside_domain=stored["outside_domain"])


def _score(source: Sequence[object], label: str, score: float, broader: Sequence[str]) -> Score:
    category, tagger, model_sha256, measured = source
    return Score(label, str(category), score, bool(measured), str(tagger), str(model_sha256), tuple(broader))
