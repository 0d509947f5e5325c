"""The promises of the port TagJobs, kept by the fake, SQLite and PostgreSQL alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from services.chassis.listing.pages import Query
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.sql import Database
from services.chassis.sql_migrations import upgrade
from services.tagger.adapters.sql_tag_jobs import SqlTagJobs
from services.tagger.adapters.tag_job_tables import events
from services.tagger.app import MIGRATIONS
from services.tagger.models.jobs import ImageOutcome, ImageState, JobState, TagJob, completed, given_up
from services.tagger.models.tags import CaptionOptions, Purpose, TagMode, TagOptions
from services.tagger.ports import TAG_JOBS, TagJobs
from tests.fakes.tag_jobs import FakeTagJobs
from tests.fixtures.lists import every_page, first_page

KEY = RequestKey("p", "TagImages", "once", "x")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
LATER = NOW + timedelta(seconds=15)
OPTIONS = TagOptions(
    tagger="taggers/wd",
    threshold=0.35,
    max_tags=5,
    exclude=("hat*", "ü"),
    prepend_trigger_word=True,
    mode=TagMode.OVERWRITE_AUTO,
    prepend=("a", "b"),
    category_thresholds=(("colour", 0.2),),
    adaptive_threshold=True,
    replace=(("kitten", "cat"),),
    keep_overlapping=True,
    captioner="taggers/qwen",
    caption=CaptionOptions(Purpose.PERSON, "woman", ("tattoo",), 75),
)
OUTCOME = ImageOutcome("", ImageState.TAGGED, "", ("a",), ("b",), True, 3, True, "A cät.")


@pytest.fixture(params=["fake", "sqlite", "postgresql"])
async def jobs(request: pytest.FixtureRequest) -> AsyncIterator[TagJobs]:
    if request.param == "fake":
        yield FakeTagJobs()
        return
    url = str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url"))
    await upgrade(url, MIGRATIONS)
    database = Database(url)
    yield SqlTagJobs(database, Outbox(events))
    await database.dispose()


def new_job(id: str = "t1", *, project: str = "p", images: int = 3, age_s: int = 0) -> TagJob:
    dataset = f"projects/{project}/datasets/d"
    outcomes = tuple(ImageOutcome(f"{dataset}/images/i{number}", ImageState.PENDING) for number in range(images))
    return TagJob(
        name=f"projects/{project}/tagJobs/{id}",
        dataset=dataset,
        options=OPTIONS,
        created_at=NOW - timedelta(seconds=age_s),
        note="a note",
        request_id="r",
        principal="ann",
        outcomes=outcomes,
    )


async def stored(jobs: TagJobs, job: TagJob) -> TagJob:
    return await jobs.create(job, replace(KEY, request_id=""))


async def claimed(jobs: TagJobs, owner: str = "me") -> TagJob:
    job = await jobs.claim(owner, now=NOW, until=LATER)
    assert job is not None
    return job


async def test_a_job_comes_back_as_it_was_stored(jobs: TagJobs) -> None:
    job = replace(new_job(), dry_run=True)
    assert await stored(jobs, job) == job
    assert await jobs.get(job.name) == job


async def test_unknown_jobs(jobs: TagJobs) -> None:
    for call in (jobs.get("projects/p/tagJobs/x"), jobs.cancel("projects/p/tagJobs/x", now=NOW), jobs.retry("x")):
        with pytest.raises(NotFound) as caught:
            await call
        assert caught.value.reason == "TAG_JOB_NOT_FOUND"


async def test_one_request_makes_one_job(jobs: TagJobs) -> None:
    first = await jobs.create(new_job("t1"), KEY)
    again = await jobs.create(new_job("t2"), KEY)
    other = await jobs.create(new_job("t3", project="q"), replace(KEY, project="q"))
    assert again == first
    assert other.name == "projects/q/tagJobs/t3", "request ids belong to a project"
    assert await jobs.recall(KEY) == first
    assert await jobs.recall(replace(KEY, request_id="new")) is None
    assert await jobs.recall(replace(KEY, request_id="")) is None
    with pytest.raises(InvalidArgument) as caught:
        await jobs.create(new_job("t4"), replace(KEY, digest="y"))
    assert caught.value.reason == "REQUEST_ID_REUSED"
    with pytest.raises(NotFound):
        await jobs.get("projects/p/tagJobs/t4")


async def test_equal_requests_at_the_same_moment_make_one_job(jobs: TagJobs) -> None:
    made = await asyncio.gather(*(jobs.create(new_job(f"t{number}"), KEY) for number in range(6)))
    assert len({job.name for job in made}) == 1
    _, total = await jobs.list("p", first_page(TAG_JOBS))
    assert total == 1


async def test_jobs_are_claimed_by_age_and_each_once(jobs: TagJobs) -> None:
    await stored(jobs, new_job("young"))
    await stored(jobs, new_job("old", age_s=60))
    first, second = await claimed(jobs, "a"), await claimed(jobs, "b")
    assert [first.name[-3:], second.name[-5:]] == ["old", "young"]
    assert first.state == JobState.RUNNING
    assert first.revision == 2
    assert await jobs.claim("c", now=NOW, until=LATER) is None


async def test_many_claims_at_once_share_no_job(jobs: TagJobs) -> None:
    for number in range(6):
        await stored(jobs, new_job(f"t{number}", images=1))
    found = await asyncio.gather(*(jobs.claim(f"o{number}", now=NOW, until=LATER) for number in range(9)))
    names = [job.name for job in found if job is not None]
    assert len(names) == len(set(names))
    while (job := await jobs.claim("late", now=NOW, until=LATER)) is not None:
        names.append(job.name)
    assert len(names) == len(set(names)) == 6


async def test_a_job_whose_owner_fell_silent_is_claimed_again_and_the_old_owner_is_refused(jobs: TagJobs) -> None:
    job = await stored(jobs, new_job())
    await claimed(jobs, "silent")
    image = job.outcomes[0].image
    assert await jobs.record(job.name, "silent", replace(OUTCOME, image=image), now=NOW)
    assert await jobs.claim("heir", now=LATER - timedelta(seconds=1), until=LATER) is None
    heir = await jobs.claim("heir", now=LATER, until=LATER + timedelta(seconds=15))
    assert heir is not None
    assert heir.outcomes[0] == replace(OUTCOME, image=image)
    assert not await jobs.record(job.name, "silent", ImageOutcome(image, ImageState.FAILED), now=NOW)
    assert not await jobs.end(job.name, "silent", lambda current: completed(current, NOW))
    assert await jobs.renew("silent", until=LATER) == set()
    assert (await jobs.get(job.name)).outcomes[0].state == ImageState.TAGGED


async def test_renewing_keeps_a_job_and_releasing_gives_it_back(jobs: TagJobs) -> None:
    job = await stored(jobs, new_job())
    await claimed(jobs)
    assert await jobs.renew("me", until=LATER + timedelta(seconds=60)) == {job.name}
    assert await jobs.claim("other", now=LATER, until=LATER) is None
    await jobs.release("someone else")
    assert await jobs.claim("other", now=LATER, until=LATER) is None
    await jobs.release("me")
    assert (await claimed(jobs, "other")).name == job.name


async def test_every_change_moves_the_revision(jobs: TagJobs) -> None:
    job = await stored(jobs, new_job())
    revisions = [job.revision, (await claimed(jobs)).revision]
    for outcome in job.outcomes:
        await jobs.record(job.name, "me", replace(outcome, state=ImageState.SKIPPED), now=NOW)
        revisions.append((await jobs.get(job.name)).revision)
    await jobs.end(job.name, "me", lambda current: completed(current, LATER))
    ended = await jobs.get(job.name)
    revisions.append(ended.revision)
    assert revisions == sorted(set(revisions))
    assert (ended.state, ended.ended_at) == (JobState.SUCCEEDED, LATER)
    assert not await jobs.end(job.name, "me", lambda current: completed(current, LATER)), "it ends once"


async def test_records_of_many_images_at_once_are_all_kept(jobs: TagJobs) -> None:
    job = await stored(jobs, new_job(images=12))
    await claimed(jobs)
    await asyncio.gather(
        *(jobs.record(job.name, "me", replace(outcome, state=ImageState.TAGGED), now=NOW) for outcome in job.outcomes)
    )
    after = await jobs.get(job.name)
    assert after.count(ImageState.TAGGED) == 12
    assert after.revision == 14


async def test_cancel_leaves_the_rest_and_still_takes_what_was_under_way(jobs: TagJobs) -> None:
    job = await stored(jobs, new_job())
    await claimed(jobs)
    await jobs.record(job.name, "me", replace(job.outcomes[0], state=ImageState.TAGGED), now=NOW)
    cancelled = await jobs.cancel(job.name, now=LATER)
    assert (cancelled.state, cancelled.ended_at) == (JobState.CANCELLED, LATER)
    assert [outcome.state for outcome in cancelled.outcomes] == ["tagged", "left", "left"]
    assert await jobs.renew("me", until=LATER) == set()
    assert await jobs.record(job.name, "me", replace(job.outcomes[1], state=ImageState.TAGGED), now=NOW)
    assert not await jobs.end(job.name, "me", lambda current: completed(current, LATER))
    assert (await jobs.get(job.name)).state == JobState.CANCELLED
    with pytest.raises(FailedPrecondition):
        await jobs.cancel(job.name, now=LATER)


async def test_a_failed_job_can_be_retried_for_its_failed_images(jobs: TagJobs) -> None:
    job = await stored(jobs, new_job())
    await claimed(jobs)
    with pytest.raises(FailedPrecondition):
        await jobs.retry(job.name)
    await jobs.record(job.name, "me", replace(job.outcomes[0], state=ImageState.TAGGED), now=NOW)
    await jobs.end(job.name, "me", lambda current: given_up(current, "gone", LATER))
    failed = await jobs.get(job.name)
    assert (failed.state, failed.error) == (JobState.FAILED, "gone")
    assert [outcome.message for outcome in failed.outcomes] == ["", "gone", "gone"]
    retried = await jobs.retry(job.name)
    assert (retried.state, retried.error, retried.ended_at) == (JobState.QUEUED, "", None)
    assert [outcome.state for outcome in retried.outcomes] == ["tagged", "pending", "pending"]
    assert not await jobs.record(job.name, "me", replace(job.outcomes[1], state=ImageState.TAGGED), now=NOW)
    assert (await claimed(jobs, "other")).name == job.name


async def test_lists_are_newest_first_paged_filtered_and_counted(jobs: TagJobs) -> None:
    for number in range(5):
        job = replace(new_job(f"t{number}", age_s=10 * (number // 2)), labels={"team": "pets"} if number < 2 else {})
        assert (await stored(jobs, job)).labels == job.labels
    await stored(jobs, new_job("elsewhere", project="q"))
    everything, total = await jobs.list("p", first_page(TAG_JOBS))
    assert [job.name[-2:] for job in everything] == ["t1", "t0", "t3", "t2", "t4"]
    assert total == 5

    async def read(query: Query) -> list[TagJob]:
        found, total = await jobs.list("p", query)
        assert total == 5
        return found

    assert await every_page(TAG_JOBS, read) == everything
    assert await every_page(TAG_JOBS, read, order_by="create_time") == everything[::-1]
    await jobs.cancel("projects/p/tagJobs/t0", now=LATER)
    found, total = await jobs.list("p", first_page(TAG_JOBS, filter="state = CANCELLED OR state = STATE_FAILED"))
    assert ([job.name[-2:] for job in found], total) == (["t0"], 1)
    assert found[0].count(ImageState.LEFT) == 3
    for text, count in (
        ('dataset = "projects/p/datasets/d"', 5),
        ("dataset = d", 5),
        ("dataset = e", 0),
        ("dataset != e AND dry_run = false", 5),
        ("dry_run = true", 0),
        ('labels.team = "pets"', 2),
        ("labels:team AND state = QUEUED", 1),
        ('end_time > "2000-01-01"', 1),
        ('NOT end_time > "2000-01-01"', 4),
        ("state = FAILED AND state = RUNNING", 0),
    ):
        query = first_page(TAG_JOBS, parent="projects/p", filter=text)
        assert (await jobs.list("p", query))[1] == count, text


async def test_old_ended_jobs_are_forgotten_with_their_request_ids(jobs: TagJobs) -> None:
    old = await jobs.create(new_job("old"), KEY)
    await stored(jobs, new_job("active"))
    await jobs.cancel(old.name, now=NOW)
    assert await jobs.forget(ended_before=NOW) == 0
    assert await jobs.forget(ended_before=LATER) == 1
    with pytest.raises(NotFound):
        await jobs.get(old.name)
    assert (await jobs.list("p", first_page(TAG_JOBS)))[1] == 1
    assert (await jobs.create(new_job("new"), replace(KEY, digest="y"))).name.endswith("new")


async def test_a_job_is_deleted_unless_the_check_refuses(jobs: TagJobs) -> None:
    job = new_job()
    await jobs.create(job, KEY)

    def refuse(found: TagJob) -> None:
        assert found == job
        raise FailedPrecondition("no", reason="TAG_JOB_ACTIVE")

    with pytest.raises(FailedPrecondition):
        await jobs.delete(job.name, refuse)
    assert await jobs.get(job.name) == job
    await jobs.delete(job.name, lambda found: None)
    for ask in (jobs.get(job.name), jobs.delete(job.name, lambda found: None)):
        with pytest.raises(NotFound):
            await ask
    await jobs.create(job, KEY)
    assert await jobs.get(job.name) == job
