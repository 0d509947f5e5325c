"""Webhooks on a whole stack: from the command line and the client to a receiver, through gateway, trainer and NATS."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fiveshot import AsyncClient
from fiveshot.aio.webhooks import WebhookDelivery
from fiveshot.dataset.v1 import dataset_service_pb2 as ds
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as tr
from standardwebhooks import Webhook

from tests.fixtures.patience import until
from tests.fixtures.receiver import receiver, status
from tests.fixtures.running_stack import PARENT, RunningStack


async def test_what_a_job_does_arrives_signed_at_the_receiver(filled_stack: RunningStack) -> None:
    async def told(*arguments: str) -> Any:
        done = await asyncio.to_thread(filled_stack.command, "--json", *arguments)
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    async with receiver(status(500), status(204)) as there:
        made = await told("webhooks", "create", there.url, "--id", "e2e", "--event", "fiveshot.training_job.*")
        assert [each["name"] for each in (await told("webhooks", "list"))["webhooks"]] == [made["name"]]
        failed = await asyncio.to_thread(filled_stack.command, "webhooks", "test", "e2e")
        assert failed.exit_code == 6
        assert "The receiver answered 500." in failed.output
        async with filled_stack.caller() as caller:
            version = await caller.call(
                caller.dataset.CreateDatasetVersion, ds.CreateDatasetVersionRequest(parent=f"{PARENT}/datasets/full")
            )
            job = training_job_pb2.TrainingJob(dataset_version=version.name, base_model="baseModels/fiveshot-tiny")
            request = tr.CreateTrainingJobRequest(
                parent=PARENT, training_job_id="for-hooks", training_job=job, ignore_audit=True
            )
            created = await caller.call(caller.trainer.CreateTrainingJob, request)
            await caller.call(caller.trainer.CancelTrainingJob, tr.CancelTrainingJobRequest(name=created.name))

        def types() -> set[str]:
            return {json.loads(got.body)["type"] for got in there.received}

        await until(lambda: {"fiveshot.training_job.created", "fiveshot.training_job.state_changed"} <= types())
        for got in there.received:
            Webhook(made["secret"]).verify(got.body, got.headers)
        event = next(json.loads(got.body) for got in there.received if b"training_job.created" in got.body)
        assert (event["source"], event["subject"]) == (created.name, "default")
        assert event["data"]["created"]["job"]["name"] == created.name

        async with AsyncClient(filled_stack.server, api_key=filled_stack.api_key) as fs:
            webhook = await fs.webhooks.get("e2e")

            async def one_succeeded() -> list[WebhookDelivery]:
                return await webhook.find_deliveries("state = SUCCEEDED").first(1)

            # A delivery is noted after the receiver has answered.
            [first] = await until(one_succeeded)
            await first.redeliver()
            await until(lambda: [got.id for got in there.received].count(first.event_id) == 2)
            assert (await webhook.test()).status_code == 204
            assert await webhook.rotate_secret() != made["secret"]
            await webhook.update(event_types=["fiveshot.usage.*"], disabled=True)
            assert (await fs.webhooks.get("e2e")).event_types == ["fiveshot.usage.*"]
            await webhook.delete()
        assert (await told("webhooks", "list"))["webhooks"] == []
        used = (await told("usage"))["budgets"]
        assert next(each for each in used if each["budget"] == "webhooks")["limit"] == "20"


async def test_what_is_wrong_is_said_by_field_and_nothing_is_stored(filled_stack: RunningStack) -> None:
    path = "/v1/projects/default/webhooks"
    before = await filled_stack.http("GET", path)
    for webhook, field in (
        ({"url": "ftp://example.com/"}, "webhook.url"),
        ({"url": "https://10.0.0.1/"}, "webhook.url"),
        ({"url": "https://169.254.169.254/latest/"}, "webhook.url"),
        ({"url": "http://127.0.0.1:9/", "eventTypes": ["fiveshot.training_job.done"]}, "webhook.event_types"),
        ({"url": "http://127.0.0.1:9/" + "a" * 3000}, "webhook.url"),
    ):
        code, answer = await filled_stack.http("POST", path, {"webhook": webhook})
        assert code == 400, answer
        details = [each for each in answer["details"] if "fieldViolations" in each]
        assert details[0]["fieldViolations"][0]["field"] == field, answer
    assert (await filled_stack.http("POST", path, {}))[0] == 400
    assert await filled_stack.http("GET", path) == before
