"""Scores that are kept: another threshold needs no model, and gives what the model would."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tagger.adapters.sql_kept_scores import packed, unpacked
from services.tagger.models.jobs import ImageState
from services.tagger.models.pictures import Scores
from services.tagger.models.tags import TagMode, TagOptions
from services.tagger.use_cases.kept_scores import rounded, suffice, worth_keeping
from services.tagger.use_cases.scoring import predictions
from tests.fakes.tagger_world import ScriptedTagger, score
from tests.unit.tagger.conftest import World

INFO = ScriptedTagger().describe()
SCORES = st.lists(
    st.builds(
        lambda label, value, category: score(label, value, category),
        st.sampled_from([f"label {number}" for number in range(30)]),
        st.one_of(st.floats(0, 1), st.floats(0, 0.02)),
        st.sampled_from(["general", "character", "rating", "colour"]),
    ),
    max_size=30,
    unique_by=lambda each: (each.label, each.category),
)
OPTIONS = st.builds(
    TagOptions,
    threshold=st.one_of(st.none(), st.floats(0.01, 1)),
    max_tags=st.integers(1, 30),
    adaptive_threshold=st.booleans(),
    category_thresholds=st.one_of(st.just(()), st.builds(lambda value: (("colour", value),), st.floats(0.01, 1))),
)


@given(SCORES, OPTIONS)
def test_kept_scores_give_the_tags_that_the_model_would(found: list[object], options: TagOptions) -> None:
    scores = rounded(Scores(tuple(found)))  # type: ignore[arg-type]
    kept = unpacked(packed(worth_keeping(scores)))
    assert suffice(INFO, options)
    if not options.adaptive_threshold:
        assert predictions(kept.scores, INFO, options) == predictions(scores.scores, INFO, options)
    else:
        # Below what is kept there may be a gap as wide as all of it; no label of any worth hangs on that.
        told, model = (
            [each for each in predictions(some, INFO, options) if each.score >= 0.02]
            for some in (kept.scores, scores.scores)
        )
        assert told == model or max((each.score for each in scores.scores), default=0) < 0.05


def test_a_threshold_below_what_is_kept_asks_the_model() -> None:
    assert not suffice(INFO, TagOptions(threshold=0.0))
    assert not suffice(INFO, TagOptions(category_thresholds=(("colour", 0.005),)))
    assert suffice(INFO, TagOptions(category_thresholds=(("rating", 0.0),)))


async def test_another_threshold_needs_neither_model_nor_picture(world: World) -> None:
    (name,) = world.datasets.add("a")
    first = await world.run()
    assert (world.datasets.labels("a"), world.tagger.batches) == (["cat", "tree"], [1])
    assert not first.outcomes[0].rescored
    world.datasets.images[name].data = b"gone"
    options = TagOptions(threshold=0.6, mode=TagMode.OVERWRITE_AUTO)
    second = await world.run(options)
    assert (world.datasets.labels("a"), world.tagger.batches) == (["cat"], [1])
    assert (second.outcomes[0].rescored, second.outcomes[0].state) == (True, ImageState.TAGGED)
    back = await world.run(TagOptions(threshold=0.1, mode=TagMode.OVERWRITE_AUTO))
    assert (world.datasets.labels("a"), back.outcomes[0].rescored) == (["cat", "tree"], True)


async def test_scores_of_another_model_are_not_taken(world: World) -> None:
    world.datasets.add("a")
    await world.run()
    world.tagger = ScriptedTagger(score("dog"), id="other")
    job = await world.run(TagOptions(mode=TagMode.OVERWRITE_AUTO))
    assert (world.datasets.labels("a"), job.outcomes[0].rescored) == (["dog"], False)


async def test_a_picture_that_failed_is_looked_at_again(world: World) -> None:
    (name,) = world.datasets.add("a", data=b"picture:0")
    job = await world.run()
    assert (job.outcomes[0].state, world.kept.rows) == (ImageState.FAILED, {})
    world.datasets.images[name].data = b"picture:7"
    assert (await world.run()).outcomes[0].state is ImageState.TAGGED


@pytest.mark.parametrize(("days", "left"), [(29, 1), (31, 0)])
async def test_scores_that_nobody_uses_are_forgotten(world: World, days: int, left: int) -> None:
    world.datasets.add("a")
    await world.run()
    world.now += timedelta(days=days)
    await world.kept.forget_unused(world.now - timedelta(days=30))
    assert len(world.kept.rows) == left
