"""The page about webhooks says what the code does."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.notifier.models.deliveries import RetryPolicy
from services.notifier.settings import Settings
from services.notifier.use_cases.sending import reasons
from services.notifier.use_cases.signing import new_secret, signed_headers
from tools.event_schemas import schemas
from tools.marked_pages import DOCS

PAGE = (DOCS / "webhooks.md").read_text(encoding="utf-8")


def test_the_receiver_in_python_takes_what_we_sign_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"```python\n(.+?)```", PAGE, flags=re.DOTALL)
    assert found
    names: dict[str, Any] = {}
    exec(found.group(1), names)
    old, secret, body, now = new_secret(), new_secret(), '{"type": "a", "data": {"größe": 1}}', datetime.now(UTC)
    headers = signed_headers("id-1", body, [secret, old], now)
    assert names["handle"](secret, body.encode(), headers) == names["handle"](old, body.encode(), headers) == 204
    assert capsys.readouterr().out == "a {'größe': 1}\n" * 2
    late = signed_headers("id-1", body, [secret], now - timedelta(minutes=6))
    for key, sent, with_headers in (
        (new_secret(), body, headers), (secret, body + " ", headers), (secret, body, late),
        (secret, body, {**headers, "webhook-id": "id-2"}), (secret, body, {}),
    ):  # fmt: skip
        assert names["handle"](key, sent.encode(), with_headers) == 401


def test_the_example_is_an_event() -> None:
    found = re.search(r"```json\n(.+?)```", PAGE, flags=re.DOTALL)
    assert found
    event = json.loads(found.group(1))
    assert event["type"] in schemas()["properties"]
    assert event["data"].keys() <= schemas()["properties"][event["type"]]["properties"].keys()


def test_every_reason_and_setting_is_named() -> None:
    assert all(f"`{reason}`" in PAGE for reason in reasons() if reason)
    named = set(re.findall(r"NOTIFIER_([A-Z_]+)", PAGE))
    assert named <= {name.upper() for name in Settings.model_fields}


def test_the_defaults_of_the_settings_are_those_of_the_rules() -> None:
    fields, policy = Settings.model_fields, RetryPolicy()
    assert timedelta(seconds=fields["retry_first_s"].default) == policy.first
    assert timedelta(seconds=fields["retry_longest_s"].default) == policy.longest
    assert timedelta(hours=fields["give_up_hours"].default) == policy.give_up_after
    assert timedelta(hours=fields["disable_after_hours"].default) == policy.disable_after
