"""The schemas of events: they are fresh, every type has one, and what the services write passes them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from fiveshot.notifier.v1 import webhook_event_pb2
from fiveshot.trainer.v1 import training_event_pb2
from google.protobuf import json_format

from services.chassis.usage_events import usage_event
from services.notifier.models.event_types import EVENT_TYPES, TEST
from tools.event_schemas import FILE, render, schemas
from tools.marked_pages import DOCS


def check(event_type: str, data: Any) -> None:
    document = schemas()
    schema = {"$ref": f"#/properties/{event_type}", "properties": document["properties"], "$defs": document["$defs"]}
    jsonschema.Draft202012Validator(schema).validate(data)


def test_the_file_is_as_the_protos_say() -> None:
    assert FILE.read_text(encoding="utf-8") == render(), "run python -m tools.event_schemas --write"
    jsonschema.Draft202012Validator.check_schema(schemas())


def test_every_type_has_a_schema_and_a_row_and_a_webhook_can_ask_for_it() -> None:
    assert set(schemas()["properties"]) == {*EVENT_TYPES, TEST}
    page = (DOCS / "events.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^### .+?: `(fiveshot\.\w+)\.…`\n(.+?)(?=^##)", page, flags=re.MULTILINE | re.DOTALL))
    for name in (*EVENT_TYPES, TEST):
        group, _, kind = name.rpartition(".")
        assert f"\n| `{kind}` |" in sections[group], name


def test_the_data_of_jobs_and_webhooks_passes() -> None:
    job = training_event_pb2.TrainingJobEvent(event_id="e", sequence=7)
    job.create_time.FromDatetime(datetime(2026, 1, 1, tzinfo=UTC))
    job.progress.loss = float("nan")
    job.progress.step = 3
    check("fiveshot.training_job.progress", json.loads(json_format.MessageToJson(job)))
    hook = webhook_event_pb2.WebhookEvent(event_id="e", webhook="projects/a/webhooks/b", sequence=1)
    hook.disabled.reason = "Every attempt has failed."
    data = json.loads(json_format.MessageToJson(hook))
    check("fiveshot.webhook.disabled", data)
    for wrong in ({**data, "sequence": 1}, {"eventId": "e"}):
        with pytest.raises(jsonschema.ValidationError):
            check("fiveshot.webhook.disabled", wrong)


def test_the_data_of_usage_passes() -> None:
    data = {"stored_bytes": 12, "images": 1, "datasets": 1, "hour": "2026-01-01T12:00:00Z"}
    event = usage_event(
        "dataset", "stored_bytes", project="acme", source="projects/acme/datasetUsage", of="h", data=data
    )
    check(event["type"], json.loads(event["payload"]))
