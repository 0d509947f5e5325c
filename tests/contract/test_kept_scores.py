"""The promises of the port KeptScores, kept by the fake, SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.tagger.adapters.sql_kept_scores import SqlKeptScores
from services.tagger.app import MIGRATIONS
from services.tagger.models.pictures import Score, Scores
from services.tagger.ports import KeptScores
from tests.fakes.tagger_world import FakeKeptScores

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
IMAGE, OTHER = "projects/p/datasets/d/images/a", "projects/p/datasets/d/images/b"
SCORES = Scores(
    (
        Score("red hat", "general", 0.9123, False, "wd", "ab" * 32),
        Score("röd", "colour", 0.5, True, "measured"),
        Score("corgi", "kind", 0.01, False, "photo", "cd" * 32, ("dog", "animal")),
    ),
    outside_domain=True,
)


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
async def kept(request: pytest.FixtureRequest) -> AsyncIterator[KeptScores]:
    if request.param == "fake":
        yield FakeKeptScores()
        return
    url = str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))
    await upgrade(url, MIGRATIONS)
    database = Database(url)
    yield SqlKeptScores(database)
    await database.dispose()


async def test_what_is_kept_comes_back_for_its_image_and_fingerprint(kept: KeptScores) -> None:
    await kept.keep(IMAGE, "f1", SCORES, NOW)
    await kept.keep(IMAGE, "f2", Scores(), NOW)
    assert await kept.of([IMAGE, OTHER], "f1", NOW) == {IMAGE: SCORES}
    assert await kept.of([IMAGE], "f2", NOW) == {IMAGE: Scores()}
    assert await kept.of([OTHER], "f1", NOW) == {}
    assert await kept.of([], "f1", NOW) == {}


async def test_newer_scores_take_the_place_of_older_ones_and_two_at_once_do_no_harm(kept: KeptScores) -> None:
    await kept.keep(IMAGE, "f", Scores(), NOW)
    await asyncio.gather(*(kept.keep(IMAGE, "f", SCORES, NOW) for _ in range(4)))
    assert await kept.of([IMAGE], "f", NOW) == {IMAGE: SCORES}


async def test_what_nobody_uses_is_forgotten_and_what_is_used_stays(kept: KeptScores) -> None:
    await kept.keep(IMAGE, "f", SCORES, NOW)
    await kept.keep(OTHER, "f", SCORES, NOW)
    later = NOW + timedelta(days=20)
    await kept.of([OTHER], "f", later)
    assert await kept.forget_unused(NOW + timedelta(days=10)) == 1
    assert list(await kept.of([IMAGE, OTHER], "f", later)) == [OTHER]
