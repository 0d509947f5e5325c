"""Receivers of whom nothing may be believed: each attempt ends in time, in words, and nothing inside is reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fiveshot.notifier.v1 import notifier_service_pb2 as service_pb

from services.chassis.errors import InvalidArgument
from services.chassis.nats_events import EventBus
from services.notifier.adapters.http_sender import HttpSender
from services.notifier.models.addresses import parse_networks
from services.notifier.ports import SendError
from tests.fixtures.receiver import (
    Answer,
    drips,
    endless,
    hangs_up,
    large_headers,
    no_http,
    receiver,
    stalls,
    status,
    tls_for,
)
from tests.integration.notifier.running import Running, State, serving


@pytest.mark.parametrize(
    ("answer", "reason", "code"),
    [
        (stalls, "TIMED_OUT", 0),
        (drips, "TIMED_OUT", 0),
        (large_headers, "ANSWER_INVALID", 0),
        (no_http, "ANSWER_INVALID", 0),
        (hangs_up, "ANSWER_INVALID", 0),
        (status(404), "REFUSED", 404),
        (status(500, body=b"secrets " * 1000), "REFUSED", 500),
        (status(100), "ANSWER_INVALID", 0),
    ],
)
async def test_a_bad_answer_is_a_failed_attempt_in_words(
    local: Running, answer: Answer, reason: str, code: int
) -> None:
    async with receiver(answer) as there:
        made = await local.create(there.url)
        request = service_pb.TestWebhookRequest(name=made.name)
        tested = await local.stub.TestWebhook(request)
    [attempt] = tested.attempts
    assert (tested.state, attempt.reason, attempt.status_code) == (State.STATE_FAILED, reason, code)
    assert attempt.message.endswith(".")
    assert not any(word in attempt.message for word in ("httpcore", "Error", "Traceback", "secrets", "site-packages"))


async def test_a_body_without_end_costs_little_and_its_status_counts(local: Running) -> None:
    async with receiver(endless) as there:
        made = await local.create(there.url)
        tested = await local.stub.TestWebhook(service_pb.TestWebhookRequest(name=made.name))
    assert (tested.state, tested.attempts[0].status_code) == (State.STATE_SUCCEEDED, 200)


async def test_a_redirect_is_not_followed(local: Running) -> None:
    async with receiver() as inside, receiver(status(307, f"location: {inside.url}")) as there:
        made = await local.create(there.url)
        tested = await local.stub.TestWebhook(service_pb.TestWebhookRequest(name=made.name))
        assert tested.attempts[0].reason == "REDIRECTED"
        assert inside.connections == 0


async def test_nobody_at_the_address_is_told_apart_from_a_receiver_that_refuses(local: Running, free_port: int) -> None:
    made = await local.create(f"http://127.0.0.1:{free_port}/")
    tested = await local.stub.TestWebhook(service_pb.TestWebhookRequest(name=made.name))
    assert tested.attempts[0].reason == "CONNECTION_FAILED"
    assert tested.attempts[0].message == f"Nobody takes connections at 127.0.0.1:{free_port}."


async def test_a_receiver_that_is_gone_disables_its_webhook(local: Running) -> None:
    async with receiver(status(410)) as there:
        await local.create(there.url)
        await local.publish()
        [delivery] = await local.ended(State.STATE_FAILED)
    assert delivery.attempts[0].reason == "GONE"
    assert (await local.get()).disabled


INSIDE = (
    "https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/",
    "https://localhost/", "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/",
    "https://169.254.169.254/latest/meta-data", "https://10.0.0.8/", "https://0.0.0.0/", "http://1.1.1.1/",
    "https://[fd00::1]/", "https://[64:ff9b::7f00:1]/", "https://1.1.1.1@127.0.0.1/", "https://no-such.invalid/",
)  # fmt: skip


async def test_an_address_inside_is_refused_however_it_is_written_and_nothing_is_stored(
    nats_url: str, sqlite_url: str, event_bus: EventBus
) -> None:
    async with serving(nats_url, sqlite_url, event_bus, allowed_networks=[]) as running:
        for url in INSIDE:
            with pytest.raises(InvalidArgument) as caught:
                await running.create(url)
            assert caught.value.violations[0].field == "webhook.url"
            assert caught.value.reason.startswith("WEBHOOK_"), url
        listed = await running.stub.ListWebhooks(service_pb.ListWebhooksRequest(parent=running.parent))
        assert listed.total_size == 0


async def test_a_network_that_the_operator_closes_is_not_reached_any_more(
    nats_url: str, sqlite_url: str, event_bus: EventBus
) -> None:
    async with receiver() as there:
        async with serving(nats_url, sqlite_url, event_bus) as before:
            made = await before.create(there.url)
        async with serving(nats_url, sqlite_url, event_bus, allowed_networks=[]) as after:
            tested = await after.stub.TestWebhook(service_pb.TestWebhookRequest(name=made.name))
        assert tested.attempts[0].reason == "WEBHOOK_ADDRESS_REFUSED"
        assert there.connections == 0


async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    """A name that leads elsewhere at each question, as one does whose owner is after what lies inside."""
    answers = [["127.0.0.1"], ["10.0.0.1"], ["127.0.0.1", "10.0.0.1"]]
    asked: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    sender = HttpSender(parse_networks(["127.0.0.0/8"]), timeout_s=5, resolve=resolve)
    async with receiver(host="hooks.example") as there:
        assert (await sender.post(there.url, {}, b"{}")).status == 204
        assert asked == ["hooks.example"]
        assert there.received[0].headers["host"] == f"hooks.example:{there.port}"
        for _ in range(2):
            with pytest.raises(InvalidArgument):
                await sender.post(there.url, {}, b"{}")
        assert there.connections == 1


async def test_tls_is_checked_against_the_name_and_those_who_vouch_for_it(tmp_path: Path) -> None:
    context, certificate = tls_for("hooks.example", tmp_path)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    def sender(**given: Any) -> HttpSender:
        return HttpSender(parse_networks(["127.0.0.0/8"]), timeout_s=5, resolve=resolve, **given)

    async with receiver(tls=context, host="hooks.example") as there:
        assert (await sender(ca_file=certificate).post(there.url, {}, b"{}")).status == 204
        with pytest.raises(SendError) as untrusted:
            await sender().post(there.url, {}, b"{}")
        with pytest.raises(SendError) as other:
            await sender(ca_file=certificate).post(there.url.replace("hooks.example", "other.example"), {}, b"{}")
        assert len(there.received) == 1
    assert untrusted.value.reason == other.value.reason == "TLS_FAILED"
    assert "self-signed" in str(untrusted.value)
    assert "other.example" in str(other.value)
