"""The stores of webhooks and deliveries, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.errors import Aborted, AlreadyExists, InvalidArgument, NotFound, ResourceExhausted
from services.chassis.outbox import Outbox
from services.chassis.requests.keys import RequestKey
from services.chassis.sql import Database, utcnow
from services.chassis.sql_migrations import upgrade
from services.notifier.adapters.sql_deliveries import SqlDeliveryStore
from services.notifier.adapters.sql_tables import EVENTS
from services.notifier.adapters.sql_webhooks import SqlWebhookStore
from services.notifier.app import MIGRATIONS
from services.notifier.models.deliveries import Attempt, Claimed, Delivery, DeliveryState, Event, RetryPolicy
from services.notifier.models.webhooks import NewWebhook, Webhook, WebhookChanges
from services.notifier.ports import DELIVERIES, WEBHOOKS, DeliveryStore, WebhookStore
from tests.fixtures.lists import every_page, first_page

POLICY = RetryPolicy(first=timedelta(hours=1), longest=timedelta(hours=1))
LEASE = timedelta(minutes=1)


@dataclass
class Stores:
    """Both stores on one database, and an outbox to look into."""

    webhooks: WebhookStore
    deliveries: DeliveryStore
    db: Database
    outbox: Outbox

    async def webhook(self, webhook_id: str = "mine", project: str = "acme", **fields: Any) -> Webhook:
        new = NewWebhook(project, webhook_id, webhook_id, "https://example.com/", **fields)
        return await self.webhooks.create(new, "whsec_AAAA", key(), None)

    async def claim(self, limit: int = 10, each: int = 10, busy: dict[str, int] | None = None) -> list[Claimed]:
        return await self.deliveries.claim(limit, LEASE, busy or {}, each)


@pytest.fixture
async def stores(database_url: str) -> AsyncIterator[Stores]:
    await upgrade(database_url, MIGRATIONS)
    db, outbox = Database(database_url, pool_size=16), Outbox(EVENTS)
    yield Stores(SqlWebhookStore(db), SqlDeliveryStore(db, outbox, POLICY), db, outbox)
    await db.dispose()


def key(request_id: str = "", digest: str = "d", method: str = "CreateWebhook") -> RequestKey:
    return RequestKey("acme", method, request_id, digest)


def event(number: int = 1, project: str = "acme", kind: str = "created", **fields: Any) -> Event:
    source = f"projects/{project}/trainingJobs/j"
    made = Event(f"{project}-{number}", f"fiveshot.training_job.{kind}", source, project, utcnow(), {"n": number})
    return replace(made, **fields)


def failed() -> Attempt:
    return Attempt(utcnow(), 0.1, 500, "REFUSED", "The receiver answered 500.")


async def test_of_equal_requests_at_once_one_makes_the_webhook_and_all_get_it(stores: Stores) -> None:
    new = NewWebhook("acme", "mine", "Mine", "https://example.com/", labels={"team": "pets"})
    made = await asyncio.gather(*(stores.webhooks.create(new, f"whsec_{n}", key("r")) for n in range(8)))
    assert len({each.secret for each in made}) == 1
    assert await stores.webhooks.recall(key("r")) == made[0].name
    with pytest.raises(InvalidArgument):
        await stores.webhooks.create(new, "whsec_x", key("r", digest="other"))
    with pytest.raises(AlreadyExists):
        await stores.webhooks.create(new, "whsec_x", key("other"))
    assert await stores.webhooks.forget_requests(timedelta()) == 1


async def test_of_those_that_want_the_last_place_one_gets_it(stores: Stores) -> None:
    def admit(webhooks: int) -> None:
        if webhooks >= 3:
            raise ResourceExhausted("full")

    new = NewWebhook("acme", "", "Mine", "https://example.com/")
    created = [stores.webhooks.create(replace(new, webhook_id=f"w-{n}"), "whsec_x", key(), admit) for n in range(8)]
    answers = await asyncio.gather(*created, return_exceptions=True)
    assert sum(isinstance(each, Webhook) for each in answers) == 3
    assert await stores.webhooks.count("acme") == 3


async def test_webhooks_are_listed_by_page_and_filter(stores: Stores) -> None:
    for number in range(5):
        await stores.webhook(f"w-{number}", labels={"n": str(number)}, disabled=number == 3)
    await stores.webhook("elsewhere", project="other")

    async def page(query: Any) -> tuple[list[Webhook], int]:
        return await stores.webhooks.list("acme", query)

    async def rows(query: Any) -> list[Webhook]:
        return (await page(query))[0]

    found = await every_page(WEBHOOKS, rows)
    assert [each.webhook_id for each in found] == [f"w-{number}" for number in (4, 3, 2, 1, 0)]
    for filter, ids in (('labels.n = "2"', ["w-2"]), ("disabled = true", ["w-3"]), ('display_name = "W-1"', ["w-1"])):
        matching, total = await page(first_page(WEBHOOKS, filter=filter))
        assert ([each.webhook_id for each in matching], total) == (ids, 1)


async def test_an_update_changes_what_is_given_and_an_old_etag_is_refused(stores: Stores) -> None:
    made = await stores.webhook(event_types=("fiveshot.usage.*",), disabled=True)
    changed = await stores.webhooks.update("acme", "mine", WebhookChanges(disabled=False, event_types=()), made.etag)
    assert (changed.disabled, changed.event_types, changed.url) == (False, (), made.url)
    with pytest.raises(Aborted):
        await stores.webhooks.update("acme", "mine", WebhookChanges(url="https://other.example/"), made.etag)
    with pytest.raises(Aborted):
        await stores.webhooks.delete("acme", "mine", made.etag)
    assert await stores.webhooks.get("acme", "mine") == changed
    with pytest.raises(NotFound):
        await stores.webhooks.update("acme", "none", WebhookChanges(disabled=True), "")


async def test_an_event_is_kept_once_however_often_it_comes(stores: Stores) -> None:
    await stores.webhook("all")
    await stores.webhook("usage", event_types=("fiveshot.usage.*",))
    await stores.webhook("off", disabled=True)
    assert await stores.deliveries.keep([event(1), event(2, project="other"), event(3, kind="progress")]) == 1
    assert await stores.deliveries.keep([event(1)]) == 0
    repeated = await asyncio.gather(*(stores.deliveries.keep([event(4), event(5)]) for _ in range(6)))
    assert sorted(repeated) == [0, 0, 0, 0, 0, 2]
    assert await stores.deliveries.pending() == 3


async def test_a_webhook_gets_nothing_of_long_before_it_was_made(stores: Stores) -> None:
    made = await stores.webhook()
    times = {"old": timedelta(minutes=-2), "near": timedelta(seconds=-30), "new": timedelta()}
    events = [event(id=name, time=made.create_time + shift) for name, shift in times.items()]
    assert await stores.deliveries.keep(events) == 2


async def test_a_delivery_is_claimed_by_one(stores: Stores) -> None:
    await stores.webhook()
    await stores.deliveries.keep([event(number) for number in range(20)])
    taken = await asyncio.gather(*(stores.claim(limit=5, each=20) for _ in range(6)))
    ids = [each.delivery.delivery_id for some in taken for each in some]
    assert len(ids) == len(set(ids)) <= 20
    while more := await stores.claim(limit=5, each=20):
        ids += [each.delivery.delivery_id for each in more]
    assert len(ids) == len(set(ids)) == 20
    assert all('"n":' in each.delivery.body for some in taken for each in some)


async def test_a_webhook_with_much_to_send_leaves_room_for_others(stores: Stores) -> None:
    for webhook_id in ("loud", "quiet"):
        await stores.webhook(
            webhook_id,
            event_types=(f"fiveshot.training_job.{'created' if webhook_id == 'loud' else 'epoch_completed'}",),
        )
    await stores.deliveries.keep([event(number) for number in range(30)])
    await stores.deliveries.keep([event(99, kind="epoch_completed")])
    claimed = await stores.claim(limit=10, each=3, busy={"projects/acme/webhooks/loud": 1})
    assert sorted(each.webhook.webhook_id for each in claimed) == ["loud", "loud", "quiet"]


async def test_what_came_of_a_claim_is_written_down_once(stores: Stores) -> None:
    await stores.webhook()
    await stores.deliveries.keep([event()])
    [claimed] = await stores.claim()
    assert await stores.deliveries.record(replace(claimed, token="another"), failed()) is None
    recorded = await stores.deliveries.record(claimed, failed())
    assert recorded is not None
    assert (recorded.state, recorded.attempt_count) == (DeliveryState.PENDING, 1)
    assert await stores.deliveries.record(claimed, failed()) is None
    webhook = await stores.webhooks.get("acme", "mine")
    assert webhook.failing_since is not None
    due = await stores.deliveries.next_due()
    assert due is not None
    assert due == recorded.next_attempt_time
    assert await stores.claim() == []
    read = await stores.deliveries.get("acme", "mine", recorded.delivery_id)
    assert (read.attempts[0].status, read.body) == (500, claimed.delivery.body)


async def test_a_claim_that_ran_out_is_taken_by_the_next_and_the_first_comes_too_late(stores: Stores) -> None:
    await stores.webhook()
    await stores.deliveries.keep([event()])
    [first] = await stores.deliveries.claim(1, timedelta(), {}, 1)
    [second] = await stores.claim()
    assert second.delivery.event_id == first.delivery.event_id
    good = Attempt(utcnow(), 0.1, 200)
    assert await stores.deliveries.record(first, good) is None
    assert (await stores.deliveries.record(second, good)) is not None


async def test_a_disabled_webhook_waits_and_in_the_end_its_deliveries_are_given_up(stores: Stores) -> None:
    await stores.webhook()
    await stores.deliveries.keep([event()])
    await stores.webhooks.update("acme", "mine", WebhookChanges(disabled=True), "")
    assert (await stores.claim(), await stores.deliveries.next_due()) == ([], None)
    assert await stores.deliveries.give_up_late() == 0
    late = SqlDeliveryStore(stores.db, stores.outbox, replace(POLICY, give_up_after=timedelta()))
    await stores.webhooks.update("acme", "mine", WebhookChanges(disabled=False), "")
    await late.keep([event(2)])
    await stores.webhooks.update("acme", "mine", WebhookChanges(disabled=True), "")
    assert await late.give_up_late() == 1
    found, _ = await stores.deliveries.list("acme", "mine", first_page(DELIVERIES, filter="state = STATE_FAILED"))
    assert [each.event_id for each in found] == ["acme-2"]


async def test_a_webhook_that_is_disabled_writes_its_event_in_the_same_transaction(stores: Stores) -> None:
    await stores.webhook()
    await stores.deliveries.keep([event()])
    [claimed] = await stores.claim()
    await stores.deliveries.record(claimed, replace(failed(), status=410))
    async with stores.db.connect() as conn:
        [told] = await stores.outbox.read_after(conn, "projects/acme/webhooks/mine", 0)
    assert (told.type, told.subject) == (
        "fiveshot.webhook.disabled", "fiveshot.events.v1.acme.webhooks.mine.disabled",
    )  # fmt: skip
    assert (await stores.webhooks.get("acme", "mine")).disabled


async def test_what_ended_long_ago_is_forgotten_with_its_event(stores: Stores) -> None:
    await stores.webhook()
    await stores.deliveries.keep([event(1), event(2)])
    claimed = await stores.claim()
    await stores.deliveries.record(claimed[0], Attempt(utcnow(), 0.1, 200))
    assert await stores.deliveries.forget(timedelta(days=1)) == 0
    assert await stores.deliveries.forget(timedelta()) == 1
    assert await stores.deliveries.keep([event(1), event(2)]) == 1, "the one that was forgotten with its event"


async def test_deliveries_are_listed_by_page_and_filter(stores: Stores) -> None:
    await stores.webhook()
    for number in range(5):
        await stores.deliveries.keep([event(number)])
    [first, *_] = await stores.claim()
    await stores.deliveries.record(first, Attempt(utcnow(), 0.1, 200))

    async def page(query: Any) -> tuple[list[Delivery], int]:
        return await stores.deliveries.list("acme", "mine", query)

    async def rows(query: Any) -> list[Delivery]:
        return (await page(query))[0]

    found = await every_page(DELIVERIES, rows)
    assert [each.event_id for each in found] == [f"acme-{number}" for number in (4, 3, 2, 1, 0)]
    for filter, count in (
        ("state = SUCCEEDED", 1), ("state = STATE_PENDING", 4), ('event_id = "acme-3"', 1), ("attempt_count > 0", 1),
        ('event_type = "fiveshot.training_job.created"', 5),
    ):  # fmt: skip
        assert (await page(first_page(DELIVERIES, filter=filter)))[1] == count, filter
    with pytest.raises(NotFound):
        await stores.deliveries.list("acme", "none", first_page(DELIVERIES))
