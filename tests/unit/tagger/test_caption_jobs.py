"""Jobs that write captions, over fakes."""

from __future__ import annotations

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from services.tagger.models.jobs import ImageState, JobState, TagJob
from services.tagger.models.tags import CaptionOptions, CaptionOrigin, Tag, TagMode, TagOptions
from services.tagger.ports import Answer
from tests.fakes.tagger_world import DATASET, ScriptedCaptioner
from tests.unit.tagger.conftest import World

ORIGIN = CaptionOrigin("writer", "some-vl")
OPTIONS = TagOptions(captioner="taggers/writer", caption=CaptionOptions(class_noun="cat"))
AWAY = Unavailable("The captioner's server cannot be reached", reason="CAPTIONER_AWAY")


def states(job: TagJob) -> list[ImageState]:
    return [outcome.state for outcome in job.outcomes]


async def test_captions_are_written_with_their_origin_and_tags_stay(world: World) -> None:
    (name,) = world.datasets.add("a", tags=[Tag("old")])
    world.datasets.trigger_word = "sks"
    world.captioner = ScriptedCaptioner('"The image shows a cat on a wall."')
    job = await world.run(OPTIONS)
    image = world.datasets.images[name]
    assert (image.caption, image.caption_origin) == ("A sks cat on a wall.", ORIGIN)
    assert (image.tags, states(job), job.calls) == ((Tag("old"),), [ImageState.TAGGED], 1)


async def test_a_persons_caption_stays_in_every_mode_and_a_captioners_goes_only_when_told(world: World) -> None:
    mine, its, none = world.datasets.add("a", "b", "c")
    world.datasets.caption(mine, "my cat")
    world.datasets.caption(its, "its cat", ORIGIN)
    world.captioner = ScriptedCaptioner("A cat on a wall.")
    for mode, written in ((TagMode.APPEND, {none}), (TagMode.SKIP, set()), (TagMode.OVERWRITE_AUTO, {its})):
        before = {name: image.caption for name, image in world.datasets.images.items()}
        await world.run(TagOptions(captioner="taggers/writer", mode=mode))
        after = {name: image.caption for name, image in world.datasets.images.items()}
        assert {name for name in after if after[name] != before[name]} == written
    assert world.datasets.images[mine].caption == "my cat"


async def test_a_caption_that_a_person_writes_meanwhile_stays(world: World) -> None:
    (name,) = world.datasets.add("a")

    def edit(image: str) -> None:
        world.datasets.before_write = lambda _: None
        world.datasets.caption(image, "mine")

    world.datasets.before_write = edit
    job = await world.run(OPTIONS)
    assert (world.datasets.images[name].caption, states(job)) == ("mine", [ImageState.SKIPPED])


async def test_a_lost_answer_of_a_write_is_no_second_write(world: World) -> None:
    world.datasets.add("a")
    world.datasets.lost_answers = 1
    job = await world.run(OPTIONS)
    assert (states(job), world.datasets.writes) == ([ImageState.TAGGED], 1)


async def test_a_dry_run_asks_and_writes_nothing(world: World) -> None:
    (name,) = world.datasets.add("a")
    job = await world.run(OPTIONS, dry_run=True)
    assert (job.outcomes[0].caption, job.calls, world.datasets.writes) == ("A cat on a wall.", 1, 0)
    assert world.datasets.images[name].caption == ""


async def test_what_is_trained_is_what_is_sent(world: World) -> None:
    (name,) = world.datasets.add("a")
    world.datasets.images[name].crop = (0.5, 0.0, 1.0, 1.0)
    await world.run(OPTIONS)
    assert world.captioner.seen == [(2, 1, 3)]


async def test_an_unusable_answer_is_asked_for_again_and_its_cost_is_counted(world: World) -> None:
    world.datasets.add("a")
    world.captioner = ScriptedCaptioner("I'm sorry, I can't.", Answer("", refused=True), Answer("A cat sits. It", True))
    job = await world.run(OPTIONS)
    assert (job.outcomes[0].caption, job.calls) == ("A cat sits.", 3)
    assert "It was a refusal." in world.captioner.prompts[1]


async def test_an_image_without_a_usable_answer_fails_and_a_retry_adds_to_the_cost(world: World) -> None:
    world.datasets.add("a", "b")
    world.captioner = ScriptedCaptioner(*["Ein Hund auf der Wiese mit dem Ball."] * 3, "A cat on a wall.")
    job = await world.run(OPTIONS)
    failed = next(outcome for outcome in job.outcomes if outcome.state is ImageState.FAILED)
    assert "It was not in English." in failed.message
    assert "Hund" not in failed.message, "what a stranger's server says is not shown"
    before = job.calls
    job = await world.verbs.retry(job.name)
    async with world.running():
        job = await world.finished(job)
    assert (states(job), job.calls) == ([ImageState.TAGGED] * 2, before + 1)


async def test_a_server_that_refuses_everything_is_asked_once(world: World) -> None:
    world.datasets.add(*"abcdefgh")
    world.captioner = ScriptedCaptioner(
        FailedPrecondition("The captioner cannot be used: wrong key", reason="CAPTIONER_REFUSES")
    )
    job = await world.run(OPTIONS)
    assert job.state is JobState.FAILED
    # As many as were under way at once.
    assert job.calls <= 4
    assert all("wrong key" in outcome.message for outcome in job.outcomes)


async def test_a_server_that_is_away_is_not_asked_for_every_image(world: World) -> None:
    world.datasets.add(*"abcdefghij")
    world.captioner = ScriptedCaptioner(AWAY)
    job = await world.run(OPTIONS)
    assert job.state is JobState.FAILED
    assert 3 <= job.calls <= 6


async def test_a_captioner_is_named_as_one_and_alone(world: World) -> None:
    world.datasets.add("a")
    with pytest.raises(InvalidArgument) as caught:
        await world.start(TagOptions(tagger="taggers/writer"))
    assert (caught.value.field, caught.value.reason) == ("options.tagger", "TAGGER_WRITES_CAPTIONS")
    with pytest.raises(InvalidArgument) as caught:
        await world.start(TagOptions(tagger="taggers/scripted", captioner="taggers/writer"))
    assert caught.value.reason == "TAGGER_AND_CAPTIONER"
    for name in ("taggers/none", "taggers/scripted"):
        with pytest.raises(NotFound) as missing:
            await world.start(TagOptions(captioner=name))
        assert (missing.value.field, "taggers/writer" in missing.value.remedy) == ("options.captioner", True)


async def test_a_request_with_a_captioner_is_another_request(world: World) -> None:
    world.datasets.add("a")
    first = await world.start(OPTIONS, request_id="r")
    assert await world.start(OPTIONS, request_id="r") == first
    other = TagOptions(captioner="taggers/writer", caption=CaptionOptions(class_noun="dog"))
    with pytest.raises(InvalidArgument):
        await world.start(other, request_id="r")
    assert first.dataset == DATASET
