"""The notifier is killed between any two steps: every event arrives, at least once, under one `webhook-id`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from fiveshot.notifier.v1 import notifier_service_pb2 as service_pb
from standardwebhooks import Webhook

from services.chassis.nats_events import EventBus
from tests.fixtures.patience import within
from tests.fixtures.processes import async_child
from tests.fixtures.receiver import receiver
from tests.integration.notifier.dying import STEPS
from tests.integration.notifier.running import LOCAL, State, serving

ACK_WAIT_S = 1.0
SENT_BEFORE = ("sent", "recorded")
DATABASES = {step: ("sqlite", "postgresql")[number % 2] for number, step in enumerate(STEPS)}


# What each database has to bear; all ten together would cost a minute.
@pytest.mark.parametrize(("step", "database_url"), DATABASES.items(), indirect=["database_url"])
async def test_whoever_is_killed_loses_no_event(
    step: str, nats_url: str, database_url: str, event_bus: EventBus, tmp_path: Path
) -> None:
    given = {"ack_wait_s": ACK_WAIT_S, "attempt_timeout_s": 1.0}
    async with receiver() as there:
        async with serving(nats_url, database_url, event_bus, **given) as before:
            made = await before.create(there.url)
        variables = {
            "NOTIFIER_DATABASE_URL": database_url, "NOTIFIER_NATS_URL": nats_url,
            "NOTIFIER_ACK_WAIT_S": str(ACK_WAIT_S), "NOTIFIER_ALLOWED_NETWORKS": str(LOCAL).replace("'", '"'),
            "NOTIFIER_ATTEMPT_TIMEOUT_S": "1",
            "DIES_AT": step, "DIES_FOR": before.project,
        }  # fmt: skip
        argv = [sys.executable, "-m", "tests.integration.notifier.dying"]
        async with async_child(argv, env={**os.environ, **variables}) as process:
            event_ids = {await before.publish(number=number) for number in range(3)}
            async with within():
                await process.wait()
            assert process.returncode == -signal.SIGKILL
        already = len(there.received)
        assert (already > 0) is (step in SENT_BEFORE)
        async with serving(nats_url, database_url, event_bus, **given) as after:
            after.project = before.project
            last = await after.publish("epoch_completed")
            done = await after.ended(State.STATE_SUCCEEDED, 4)
            assert {each.event_id for each in done} == {*event_ids, last}
            listed = await after.stub.ListWebhookDeliveries(service_pb.ListWebhookDeliveriesRequest(parent=made.name))
            assert listed.total_size == 4
    assert {got.id for got in there.received} == {*event_ids, last}
    bodies: dict[str, set[bytes]] = {}
    for got in there.received:
        Webhook(made.secret).verify(got.body, got.headers)
        bodies.setdefault(got.id, set()).add(got.body)
    assert all(len(each) == 1 for each in bodies.values())
