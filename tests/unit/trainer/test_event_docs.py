"""The page about events says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fiveshot.trainer.v1 import training_event_pb2
from google.protobuf import json_format

from services.chassis.cloud_events import event_subject
from services.chassis.nats_events import STREAM

PAGE = (Path(__file__).parents[3] / "docs" / "events.md").read_text(encoding="utf-8")
Event = training_event_pb2.TrainingJobEvent


def test_every_type_is_listed_with_all_fields_of_its_payload() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| (.+?) \|", PAGE, flags=re.MULTILINE))
    payloads = {field.name: field for field in Event.DESCRIPTOR.oneofs[0].fields}
    assert rows.keys() >= payloads.keys()
    for name, field in payloads.items():
        assert f"`{field.json_name}" in rows[name], name
        assert field.message_type is not None
        for part in field.message_type.fields:
            assert part.json_name in rows[name], f"{name}.{part.json_name}"


def test_subject_and_stream_are_those_of_the_code() -> None:
    assert f"`{STREAM}`" in PAGE
    assert event_subject("acme", "trainingJobs", "x", "y").replace(".x.y", "").replace("acme", "{project}") in PAGE


def test_the_example_is_a_real_event() -> None:
    found = re.search(r"```json\n(.+?)```", PAGE, flags=re.DOTALL)
    assert found
    message = json_format.ParseDict(json.loads(found.group(1)), Event())
    assert message.state_changed.error.reason == "LOSS_NOT_FINITE"
