"""Events of the stream reach webhooks: signed, filtered, tried again, listed, sent again."""

from __future__ import annotations

import json

import pytest
from fiveshot.notifier.v1 import notifier_service_pb2 as service_pb
from standardwebhooks import Webhook, WebhookVerificationError

from services.chassis.errors import FailedPrecondition, NotFound
from services.chassis.nats_events import EventBus
from tests.fixtures.patience import until
from tests.fixtures.receiver import receiver, stalls, status
from tests.integration.notifier.running import Running, State, serving


async def test_an_event_arrives_signed_as_standard_webhooks_says(running: Running) -> None:
    async with receiver() as there:
        made = await running.create(there.url)
        event_id = await running.publish("epoch_completed")
        [got] = await there.got(1)
        [delivery] = await running.ended(State.STATE_SUCCEEDED)
    assert made.secret.startswith("whsec_")
    read = Webhook(made.secret).verify(got.body, got.headers)
    assert read["data"]["note"] == "größer ✓"
    assert read["type"] == "fiveshot.training_job.epoch_completed"
    assert read["id"] == got.id == event_id == delivery.event_id
    assert got.path == "/hooks?of=mine"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["host"] == f"127.0.0.1:{there.port}"
    with pytest.raises(WebhookVerificationError):
        Webhook(made.secret).verify(got.body + b" ", got.headers)
    whole = await running.stub.GetWebhookDelivery(service_pb.GetWebhookDeliveryRequest(name=delivery.name))
    assert json.loads(whole.body) == read
    assert (delivery.body, delivery.attempt_count, delivery.attempts[0].status_code) == ("", 1, 204)
    assert delivery.HasField("end_time")
    assert not delivery.HasField("next_attempt_time")
    webhook = await running.get()
    assert webhook.HasField("last_success_time")
    assert webhook.secret == ""


async def test_each_webhook_gets_what_it_asks_for_of_its_own_project(running: Running) -> None:
    async with receiver() as all_of_it, receiver() as epochs, receiver() as progress:
        await running.create(all_of_it.url, "all")
        await running.create(epochs.url, "epochs", event_types=["fiveshot.training_job.epoch_completed"])
        await running.create(progress.url, "progress", event_types=["fiveshot.training_job.progress"])
        sent = {kind: await running.publish(kind) for kind in ("created", "progress", "epoch_completed")}
        await running.publish("created", project=f"{running.project}-other")
        last = await running.publish("state_changed")
        await until(lambda: [each.id for each in all_of_it.received if each.id == last])
        assert {each.id for each in all_of_it.received} == {sent["created"], sent["epoch_completed"], last}
        assert [each.id for each in await epochs.got(1)] == [sent["epoch_completed"]]
        assert [each.id for each in await progress.got(1)] == [sent["progress"]]


async def test_a_receiver_that_fails_gets_the_event_again_under_the_same_id(running: Running) -> None:
    async with receiver(status(500), status(503, "retry-after: 0"), status(200)) as there:
        made = await running.create(there.url)
        event_id = await running.publish()
        [delivery] = await running.ended(State.STATE_SUCCEEDED)
    assert [each.id for each in there.received] == [event_id] * 3
    assert len({each.body for each in there.received}) == 1
    for got in there.received:
        Webhook(made.secret).verify(got.body, got.headers)
    assert [(each.status_code, each.reason) for each in delivery.attempts] == [
        (500, "REFUSED"), (503, "REFUSED"), (200, ""),
    ]  # fmt: skip
    assert not (await running.get()).HasField("failing_since")


async def test_a_receiver_that_stalls_holds_up_no_other(nats_url: str, sqlite_url: str, event_bus: EventBus) -> None:
    async with receiver(stalls) as slow, receiver() as quick:
        given = {"attempts_at_once": 5, "attempts_per_webhook": 2}
        async with serving(nats_url, sqlite_url, event_bus, **given) as running:
            await running.create(slow.url, "slow")
            await running.create(quick.url, "quick")
            for number in range(20):
                await running.publish(number=number)
            await running.ended(State.STATE_SUCCEEDED, 20, "quick")
            assert len(slow.received) == 2
            waiting = await running.deliveries("slow", "state = STATE_PENDING AND attempt_count = 0")
            assert len(waiting) == 20


async def test_a_delivery_that_was_given_up_is_sent_again_when_asked(
    nats_url: str, database_url: str, event_bus: EventBus
) -> None:
    given = {"give_up_hours": 0.1 / 3600, "retry_first_s": 30.0}
    async with (
        receiver(status(500), status(204)) as there,
        serving(nats_url, database_url, event_bus, **given) as running,
    ):
        await running.create(there.url)
        event_id = await running.publish()
        [failed] = await running.ended(State.STATE_FAILED)
        request = service_pb.RedeliverWebhookDeliveryRequest(name=failed.name)
        again = await running.stub.RedeliverWebhookDelivery(request)
        assert again.state == State.STATE_PENDING
        [done] = await running.ended(State.STATE_SUCCEEDED)
        assert (done.name, done.attempt_count) == (failed.name, 2)
        assert [each.id for each in there.received] == [event_id, event_id]
        with pytest.raises(NotFound) as gone:
            await running.stub.RedeliverWebhookDelivery(
                service_pb.RedeliverWebhookDeliveryRequest(name=f"{running.parent}/webhooks/mine/deliveries/d-none")
            )
        assert gone.value.reason == "DELIVERY_NOT_FOUND"
        await running.update(["disabled"], disabled=True)
        with pytest.raises(FailedPrecondition) as caught:
            await running.stub.RedeliverWebhookDelivery(request)
        assert caught.value.reason == "WEBHOOK_DISABLED"


async def test_long_failure_disables_a_webhook_and_an_event_says_so(
    nats_url: str, database_url: str, event_bus: EventBus
) -> None:
    given = {"give_up_hours": 0.2 / 3600, "disable_after_hours": 0.01 / 3600, "retry_first_s": 0.05}
    async with receiver(status(500)) as bad, receiver() as good:
        async with serving(nats_url, database_url, event_bus, **given) as running:
            await running.create(bad.url)
            await running.create(good.url, "watch")
            await running.publish()
            told = (await good.got(2))[1]
            event = json.loads(told.body)
            assert event["type"] == "fiveshot.webhook.disabled"
            assert event["source"] == f"{running.parent}/webhooks/mine"
            assert event["data"]["disabled"]["reason"].endswith("The receiver answered 500.")
            webhook = await running.get()
            assert webhook.disabled
            assert webhook.disabled_reason == event["data"]["disabled"]["reason"]
            before = len(bad.received)
            unseen = await running.publish("state_changed")
            await until(lambda: unseen in [each.id for each in good.received])
            bad.answers = [status(204)]
            enabled = await running.update(["disabled"], disabled=False)
            assert (enabled.disabled_reason, enabled.HasField("failing_since")) == ("", False)
            seen = await running.publish("epoch_completed")
            await until(lambda: seen in [each.id for each in bad.received])
            assert unseen not in [each.id for each in bad.received[before:]]


async def test_a_test_tells_at_once_what_came_of_it(running: Running) -> None:
    async with receiver(status(200), status(500)) as there:
        made = await running.create(there.url, disabled=True)
        request = service_pb.TestWebhookRequest(name=made.name)
        good = await running.stub.TestWebhook(request)
        bad = await running.stub.TestWebhook(request)
    assert (good.state, bad.state) == (State.STATE_SUCCEEDED, State.STATE_FAILED)
    assert bad.attempts[0].message == "The receiver answered 500."
    read = Webhook(made.secret).verify(there.received[0].body, there.received[0].headers)
    assert read["type"] == good.event_type == "fiveshot.webhook.test"
    assert not (await running.get()).HasField("failing_since")
    with pytest.raises(NotFound):
        await running.stub.TestWebhook(service_pb.TestWebhookRequest(name=f"{running.parent}/webhooks/none"))


async def test_both_secrets_sign_while_they_are_changed_over(running: Running) -> None:
    async with receiver() as there:
        made = await running.create(there.url)
        rotate = service_pb.RotateWebhookSecretRequest(name=made.name, request_id="once")
        rotated = await running.stub.RotateWebhookSecret(rotate)
        assert rotated.secret != made.secret
        assert rotated.HasField("previous_secret_expire_time")
        assert (await running.stub.RotateWebhookSecret(rotate)).secret == rotated.secret
        await running.publish()
        [got] = await there.got(1)
        for secret in (made.secret, rotated.secret):
            Webhook(secret).verify(got.body, got.headers)
        last = await running.stub.RotateWebhookSecret(
            service_pb.RotateWebhookSecretRequest(name=made.name, overlap_hours=0)
        )
        await running.publish("state_changed")
        got = (await there.got(2))[1]
        Webhook(last.secret).verify(got.body, got.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(rotated.secret).verify(got.body, got.headers)


async def test_a_webhook_that_is_deleted_takes_its_deliveries_along(running: Running) -> None:
    async with receiver(status(500)) as there:
        made = await running.create(there.url)
        await running.publish()
        await there.got(1)
        await running.stub.DeleteWebhook(service_pb.DeleteWebhookRequest(name=made.name))
        with pytest.raises(NotFound):
            await running.deliveries()
        again = await running.create(there.url)
        assert (await running.deliveries()) == []
        assert again.etag != made.etag
