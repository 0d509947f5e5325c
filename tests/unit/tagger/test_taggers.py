from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from services.chassis.byte_budget import ByteBudget
from services.chassis.errors import InvalidArgument, ResourceExhausted
from services.tagger.models.jobs import ImageOutcome, ImageState, TagJob
from services.tagger.models.pictures import Picture, Scores
from services.tagger.models.tags import TagOptions
from services.tagger.ports import Tagger
from services.tagger.use_cases.tag_picture import TagPicture
from services.tagger.use_cases.taggers import MEASURED_ONLY_NOTE, CombinedTagger, Taggers, job_note
from tests.fakes.tagger_world import FakeDecoder, ScriptedTagger, score

WHITE = Picture(np.full((2, 2, 3), 255, np.uint8), None, 2, 2)
BLACK = Picture(np.zeros((2, 2, 3), np.uint8), None, 2, 2)


class Absent(ScriptedTagger):
    def available(self) -> bool:
        return False


class Abstaining(ScriptedTagger):
    def infer(self, batch: Sequence[Picture]) -> list[Scores]:
        return [Scores(outside_domain=True) for _ in batch]


def test_the_first_available_tagger_is_the_default() -> None:
    taggers = Taggers([Absent(id="gone"), ScriptedTagger(id="one"), ScriptedTagger(id="two")])
    assert [info.id for info in taggers.list()] == ["one", "two"]
    assert taggers.get("").describe().id == "one"
    assert taggers.get("taggers/two").describe().id == "two"
    assert taggers.is_default(taggers.list()[0])


def test_no_tagger_or_two_of_one_name_are_faults_of_the_program() -> None:
    with pytest.raises(ValueError, match="available"):
        Taggers([Absent()])
    with pytest.raises(ValueError, match="own id"):
        Taggers([ScriptedTagger(), ScriptedTagger()])


def test_a_combination_asks_every_part_and_keeps_who_said_what() -> None:
    measured = ScriptedTagger(score("red", 0.5, "colour", measured=True), id="measured", measures_only=True)
    combined = CombinedTagger("all", "All", "Both.", [ScriptedTagger(score("cat"), id="model"), measured, Absent()])
    info = combined.describe()
    assert (info.measures_only, info.model_sha256, info.vocabulary) == (False, "abc", ("cat", "red"))
    (scores,) = combined.infer([WHITE])
    assert [(item.label, item.measured) for item in scores.scores] == [("cat", False), ("red", True)]


def test_a_part_that_fails_fails_the_picture_and_only_that() -> None:
    combined = CombinedTagger("all", "All", "Both.", [ScriptedTagger(score("cat")), ScriptedTagger(id="two")])
    good, bad = combined.infer([WHITE, BLACK])
    assert good.error is None
    assert bad.error is not None
    assert bad.scores == ()


def test_a_combination_of_measuring_parts_only_measures() -> None:
    combined = CombinedTagger("all", "All", "One.", [ScriptedTagger(measures_only=True)])
    assert combined.describe().measures_only
    assert not CombinedTagger("none", "None", "Nothing.", [Absent()]).available()


@pytest.fixture
def executor() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


def lone(executor: ThreadPoolExecutor, *taggers: Tagger, max_bytes: int, in_flight: int = 1000) -> TagPicture:
    budget = ByteBudget(total=in_flight, per_project=in_flight)
    return TagPicture(Taggers(taggers), FakeDecoder(), executor, max_bytes=max_bytes, budget=budget)


async def test_lone_pictures_share_a_budget(executor: ThreadPoolExecutor) -> None:
    verb = lone(executor, ScriptedTagger(score("cat")), max_bytes=99, in_flight=8)
    with pytest.raises(ResourceExhausted) as caught:
        await verb(b"picture:7", TagOptions(), project="acme")
    assert caught.value.reason == "BYTES_IN_FLIGHT"
    assert caught.value.retry_after_s is not None


async def test_a_lone_picture_is_tagged(executor: ThreadPoolExecutor) -> None:
    verb = lone(executor, ScriptedTagger(score("cat"), score("dog", 0.1)), max_bytes=99)
    tagged = await verb(b"picture:7", TagOptions(), project="acme")
    assert [item.label for item in tagged.scores] == ["cat"]
    assert tagged.note == ""


async def test_a_lone_picture_that_is_too_large_or_unknown_is_refused(executor: ThreadPoolExecutor) -> None:
    verb = lone(executor, ScriptedTagger(), max_bytes=10)
    with pytest.raises(InvalidArgument) as caught:
        await verb(b"picture:7" * 2, TagOptions(), project="acme")
    assert (caught.value.field, caught.value.reason) == ("content", "IMAGE_TOO_LARGE")
    with pytest.raises(InvalidArgument) as caught:
        await verb(b"nonsense", TagOptions(), project="acme")
    assert (caught.value.field, caught.value.reason) == ("content", "IMAGE_UNREADABLE")
    with pytest.raises(InvalidArgument, match="black"):
        await verb(b"picture:0", TagOptions(), project="acme")


def test_a_combination_is_outside_its_domain_when_every_model_is() -> None:
    measured = ScriptedTagger(score("red", 0.5, "colour", measured=True), id="measured", measures_only=True)
    silent, talking = Abstaining(id="silent"), ScriptedTagger(score("cat"), id="talking")
    for parts, outside in (([silent, measured], True), ([silent, talking, measured], False), ([measured], False)):
        (scores,) = CombinedTagger("all", "All", "Some.", parts).infer([WHITE])
        assert scores.outside_domain is outside


def test_a_job_says_how_many_pictures_were_only_measured() -> None:
    outcomes = (ImageOutcome("a", ImageState.TAGGED, outside_domain=True), ImageOutcome("b", ImageState.TAGGED))
    job = TagJob("n", "d", TagOptions(), datetime(2026, 1, 1, tzinfo=UTC), outcomes=outcomes)
    assert job_note(job).startswith("1 of 2 pictures lie outside")
    assert "fiveshot taggers add" in job_note(job)
    assert job_note(replace(job, outcomes=outcomes[1:])) == ""
    assert job_note(replace(job, note="known before")) == "known before"


async def test_notes_say_when_tags_were_only_measured(executor: ThreadPoolExecutor) -> None:
    only = lone(executor, ScriptedTagger(measures_only=True), max_bytes=99)
    assert (await only(b"picture:7", TagOptions(), project="acme")).note == MEASURED_ONLY_NOTE
    silent = lone(executor, Abstaining(), max_bytes=99)
    note = (await silent(b"picture:7", TagOptions(), project="acme")).note
    assert note.startswith("The picture lies outside")
    assert note.endswith(MEASURED_ONLY_NOTE)
