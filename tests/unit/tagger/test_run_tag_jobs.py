from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from unittest.mock import patch

from structlog.testing import capture_logs

from services.chassis import request_context
from services.chassis.errors import NotFound, Unavailable
from services.chassis.request_context import RequestContext
from services.tagger.models.jobs import ImageOutcome, ImageState, JobState
from services.tagger.models.pictures import Picture, Scores
from services.tagger.models.tags import Features, Tag, TagMode, TagOptions, TagSource
from services.tagger.ports import Box
from services.tagger.use_cases.run_tag_jobs import UNFORESEEN
from services.tagger.use_cases.tag_images import ImageTagger
from tests.fakes.tagger_world import ScriptedTagger, score
from tests.fixtures.patience import scaled, turns, until, within
from tests.unit.tagger.conftest import World


async def test_a_job_tags_every_image_and_ends(world: World) -> None:
    world.datasets.add("a", "b", "c")
    job = await world.run()
    assert job.state == JobState.SUCCEEDED
    assert job.count(ImageState.TAGGED) == 3
    assert job.ended_at == world.now
    assert world.datasets.labels("b") == ["cat", "tree"]


async def test_the_trigger_word_of_the_dataset_goes_first(world: World) -> None:
    world.datasets.trigger_word = "sks"
    world.datasets.add("a", tags=[Tag("mine")])
    await world.run(TagOptions(prepend_trigger_word=True))
    assert world.datasets.labels("a") == ["sks", "mine", "cat", "tree"]


class SeeingTagger(ScriptedTagger):
    """One that also says what stands where."""

    def find_features(self, picture: Picture, inside: Box) -> Features:
        return Features("abc", bytes([int(picture.rgb[0, 0, 0])]) * 800)


async def test_what_the_network_saw_is_kept_with_the_picture_unless_nothing_is_to_be_written(world: World) -> None:
    world.tagger = SeeingTagger(score("cat"))
    (name,) = world.datasets.add("a", tags=[Tag("cat")])
    dry = await world.run(dry_run=True)
    assert (dry.count(ImageState.SKIPPED), world.datasets.images[name].features) == (1, None)
    await world.run()
    assert world.datasets.images[name].features == Features("abc", bytes([7]) * 800)
    assert world.datasets.labels("a") == ["cat"]
    world.tagger.batches.clear()
    await world.run()
    assert world.tagger.batches == [], "once it was looked at, kept scores are enough"


async def test_images_with_tags_are_skipped_without_being_read(world: World) -> None:
    world.datasets.add("a", tags=[Tag("mine")], data=b"nonsense")
    world.datasets.add("b")
    job = await world.run(TagOptions(mode=TagMode.SKIP))
    assert (job.count(ImageState.SKIPPED), job.count(ImageState.TAGGED)) == (1, 1)
    assert world.datasets.labels("a") == ["mine"]


async def test_an_image_that_fails_is_named_with_its_reason_and_the_others_are_tagged(world: World) -> None:
    (bad,) = world.datasets.add("bad", data=b"nonsense")
    (black,) = world.datasets.add("black", data=b"picture:0")
    world.datasets.add("good")
    job = await world.run()
    assert job.state == JobState.SUCCEEDED
    failed = {outcome.image: outcome.message for outcome in job.outcomes if outcome.state == ImageState.FAILED}
    assert failed == {bad: "It cannot be read. Resend.", black: "The picture is black. Use another picture."}
    assert world.datasets.labels("good") == ["cat", "tree"]
    assert world.datasets.labels("bad") == []


async def test_a_job_of_which_every_image_fails_has_failed(world: World) -> None:
    world.datasets.add("a", "b", data=b"nonsense")
    job = await world.run()
    assert job.state == JobState.FAILED
    assert "It cannot be read" in job.error


async def test_retry_runs_only_the_failed_images(world: World) -> None:
    (bad,) = world.datasets.add("bad", data=b"nonsense")
    world.datasets.add("good")
    job = await world.run()
    world.datasets.images[bad].data = b"picture:9"
    world.tagger.batches.clear()
    retried = await world.verbs.retry(job.name)
    assert retried.state == JobState.QUEUED
    async with world.running():
        job = await world.finished(retried)
    assert job.count(ImageState.TAGGED) == 2
    assert len(world.tagger.batches) == 1
    assert not any(outcome.message for outcome in job.outcomes)


async def test_a_model_that_crashes_fails_the_image_and_not_the_process(world: World) -> None:
    world.datasets.add("a")
    world.tagger.crash = RuntimeError("CUDA out of memory")
    job = await world.run()
    assert job.state == JobState.FAILED
    assert "CUDA" not in job.error, "internals stay in the log"
    world.tagger.crash = None
    again = await world.verbs.retry(job.name)
    async with world.running():
        assert (await world.finished(again)).state == JobState.SUCCEEDED


async def test_a_hand_edit_between_read_and_write_is_merged_not_lost(world: World) -> None:
    (name,) = world.datasets.add("a")
    edits = deque([(Tag("mine"),), (Tag("mine"), Tag("tree"))])

    def edit(image: str) -> None:
        if edits:
            world.datasets.edit(image, *edits.popleft())

    world.datasets.before_write = edit
    job = await world.run(TagOptions(mode=TagMode.OVERWRITE_AUTO))
    assert job.count(ImageState.TAGGED) == 1
    tags = world.datasets.images[name].tags
    assert [tag.label for tag in tags] == ["mine", "tree", "cat"]
    assert tags[1].source == TagSource.MANUAL


async def test_an_image_that_changes_without_end_fails_with_what_to_do(world: World) -> None:
    world.datasets.add("a")
    count = iter(range(1000))
    world.datasets.before_write = lambda image: world.datasets.edit(image, Tag(f"edit {next(count)}"))
    job = await world.run()
    assert "kept changing" in job.outcomes[0].message
    assert "Retry" in job.outcomes[0].message


async def test_a_write_whose_answer_was_lost_counts_as_tagged_and_is_not_repeated(world: World) -> None:
    world.datasets.add("a")
    world.datasets.lost_answers = 1
    job = await world.run()
    assert job.count(ImageState.TAGGED) == 1
    assert world.datasets.writes == 1


async def test_a_dry_run_writes_nothing_and_says_what_would_change(world: World) -> None:
    (name,) = world.datasets.add("a", tags=[Tag("old", TagSource.AUTO), Tag("mine")])
    job = await world.run(TagOptions(mode=TagMode.OVERWRITE_AUTO), dry_run=True)
    assert job.outcomes == (ImageOutcome(name, ImageState.TAGGED, "", ("cat", "tree"), ("old",)),)
    assert world.datasets.writes == 0


async def test_a_second_run_changes_nothing(world: World) -> None:
    world.datasets.add("a", "b")
    await world.run()
    job = await world.run()
    assert job.count(ImageState.SKIPPED) == 2
    assert world.datasets.writes == 2


async def test_a_short_outage_is_waited_out_and_a_long_one_fails_the_image(world: World) -> None:
    world.datasets.add("a")
    world.patience_s = 5.0
    job = await world.start()
    world.datasets.failures.append(Unavailable("away"))
    with patch("services.chassis.patience.LONGEST_PAUSE_S", 0.01):
        async with world.running():
            assert (await world.finished(job)).state == JobState.SUCCEEDED
    world.patience_s = 0.0
    world.datasets.add("b")
    job = await world.start()
    world.datasets.failures.extend([Unavailable("away")] * 9)
    async with world.running():
        job = await world.finished(job)
    assert job.state == JobState.FAILED
    assert job.error == "away"
    world.datasets.failures.clear()
    async with world.running():
        job = await world.finished(await world.verbs.retry(job.name))
    assert job.state == JobState.SUCCEEDED, "a job that was given up can be retried as a whole"


async def test_a_dataset_that_is_gone_fails_the_job(world: World) -> None:
    world.datasets.add("a")
    job = await world.start()
    with patch("tests.fakes.tagger_world.DATASET", "projects/acme/datasets/other"):
        async with world.running():
            job = await world.finished(job)
    assert (job.state, job.error) == (JobState.FAILED, "no such dataset")


async def test_an_image_that_was_deleted_meanwhile_fails_alone(world: World) -> None:
    gone, _ = world.datasets.add("gone", "stays")
    job = await world.start()
    del world.datasets.images[gone]
    async with world.running():
        job = await world.finished(job)
    assert [outcome.state for outcome in job.outcomes] == [ImageState.FAILED, ImageState.TAGGED]


async def test_cancel_keeps_what_is_done_and_leaves_the_rest(world: World) -> None:
    world.datasets.add(*(f"i{number}" for number in range(40)))
    gate = threading.Event()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    infer = world.tagger.infer

    def slow(batch: Sequence[Picture]) -> list[Scores]:
        if len(world.tagger.batches) >= 4:
            loop.call_soon_threadsafe(begun.set)
            gate.wait(scaled(60))
        return infer(batch)

    renew = world.jobs.renew
    noticed = asyncio.Event()

    async def watched(owner: str, *, until: datetime) -> set[str]:
        held = await renew(owner, until=until)
        if job.name not in held:
            noticed.set()
        return held

    world.tagger.infer = slow  # type: ignore[method-assign]
    world.jobs.renew = watched  # type: ignore[method-assign]
    job = await world.start()
    with capture_logs() as logs:
        async with world.running():
            async with within():
                await begun.wait()
            cancelled = await world.verbs.cancel(job.name)
            assert cancelled.state == JobState.CANCELLED
            async with within():
                await noticed.wait()
            await turns()
            gate.set()
            await until(lambda: any(line["event"] == "tag_job_stopped" for line in logs), what="the runner to stop")
            job = await world.jobs.get(job.name)
    assert job.state == JobState.CANCELLED
    tagged = job.count(ImageState.TAGGED)
    assert 4 <= tagged <= 6
    assert job.count(ImageState.LEFT) == 40 - tagged
    assert world.datasets.writes == tagged, "what the job counts is what was written"


async def test_a_job_that_is_retried_before_its_last_run_has_ended_is_run_again_afterwards(world: World) -> None:
    world.datasets.add("bad", data=b"nonsense")
    world.datasets.add("good")
    gate, begun = threading.Event(), threading.Event()
    infer = world.tagger.infer

    def slow(batch: Sequence[Picture]) -> list[Scores]:
        begun.set()
        gate.wait(scaled(60))
        return infer(batch)

    world.tagger.infer = slow  # type: ignore[method-assign]
    job = await world.start()
    async with world.running(parallel_jobs=2, parallel_images=2):
        await until(begun.is_set, what="the first run to be under way")
        async with within():
            while not (await world.jobs.get(job.name)).count(ImageState.FAILED):
                await turns()
        await world.verbs.cancel(job.name)
        await world.verbs.retry(job.name)
        await world.until(job, JobState.RUNNING)
        assert len(world.tagger.batches) == 0, "the second run waits for the first"
        gate.set()
        job = await world.finished(job)
    assert job.count(ImageState.FAILED) == job.count(ImageState.LEFT) == 1
    assert world.datasets.writes == 0, "the run that was cancelled writes no more"


async def test_what_nobody_foresaw_ends_one_job_and_no_process(world: World) -> None:
    world.datasets.add("a")
    job = await world.start()
    with patch.object(ImageTagger, "prepare", side_effect=ZeroDivisionError("secret")):
        async with world.running():
            job = await world.finished(job)
    assert (job.state, job.error) == (JobState.FAILED, UNFORESEEN)
    retried = await world.verbs.retry(job.name)
    async with world.running():
        assert (await world.finished(retried)).state == JobState.SUCCEEDED


async def test_the_next_process_goes_on_where_a_killed_one_stopped(world: World) -> None:
    first, second = world.datasets.add("a", "b")
    job = await world.start()
    claimed = await world.jobs.claim("killed", now=world.now, until=world.now + timedelta(seconds=15))
    assert claimed is not None
    await world.jobs.record(job.name, "killed", ImageOutcome(first, ImageState.TAGGED), now=world.now)
    async with world.running("heir"):
        await until(lambda: world.jobs.claims >= 4, what="the heir to look for work")
        assert (await world.jobs.get(job.name)).count(ImageState.TAGGED) == 1, "its time is not over"
        world.now += timedelta(seconds=16)
        job = await world.finished(job)
    assert job.count(ImageState.TAGGED) == 2
    assert world.datasets.labels("a") == [], "what was done is not done again"
    assert world.datasets.labels("b") == ["cat", "tree"]
    assert second.endswith("b")


async def test_a_process_that_stops_gives_its_jobs_back_at_once(world: World) -> None:
    world.datasets.add("a")
    job = await world.start()
    gate = threading.Event()
    infer = world.tagger.infer

    def slow(batch: Sequence[Picture]) -> list[Scores]:
        gate.wait(scaled(60))
        return infer(batch)

    world.tagger.infer = slow  # type: ignore[method-assign]
    async with world.running("first"):
        await world.until(job, JobState.RUNNING)
    gate.set()
    async with world.running("second"):
        assert (await world.finished(job)).state == JobState.SUCCEEDED


async def test_background_calls_carry_the_callers_identity_and_only_its_project(world: World) -> None:
    world.datasets.add("a")
    caller = RequestContext(request_id="r-1", projects=frozenset({"acme", "other"}), principal="ann")
    with request_context.use(caller):
        job = await world.start()
    world.datasets.callers.clear()
    async with world.running():
        await world.finished(job)
    assert set(world.datasets.callers) == {RequestContext("r-1", frozenset({"acme"}), "ann")}


async def test_a_backend_that_likes_batches_gets_them(world: World) -> None:
    world.tagger = ScriptedTagger(score("cat"), batch_size=4)
    world.datasets.add(*(f"i{number}" for number in range(9)))
    job = await world.run()
    assert job.count(ImageState.TAGGED) == 9
    assert sorted(world.tagger.batches) == [1, 4, 4]


async def test_a_database_outage_leaves_the_job_to_a_later_claim(world: World) -> None:
    world.datasets.add("a", "b")
    job = await world.start()
    record = world.jobs.record
    outages = deque([Unavailable("the database is away")])

    async def flaky(name: str, owner: str, outcome: ImageOutcome, *, now: datetime) -> bool:
        if outages:
            raise outages.popleft()
        return await record(name, owner, outcome, now=now)

    world.jobs.record = flaky  # type: ignore[method-assign]
    async with world.running():
        await world.until(job, JobState.RUNNING)
        seen = world.jobs.claims
        await until(lambda: not outages and world.jobs.claims >= seen + 2, what="the runner to look for work again")
        assert (await world.jobs.get(job.name)).state == JobState.RUNNING
        world.now += timedelta(seconds=16)
        job = await world.finished(job)
    assert job.state == JobState.SUCCEEDED
    assert not job.count(ImageState.FAILED), "an outage of our own database is no failure of an image"


async def test_old_jobs_are_forgotten(world: World) -> None:
    world.datasets.add("a")
    job = await world.run()
    world.now += timedelta(days=31)

    async def forgotten() -> bool:
        try:
            await world.jobs.get(job.name)
        except NotFound:
            return True
        return False

    async with world.running():
        await until(forgotten, what="the old job to go")
