"""What /healthz says of what it found."""

from __future__ import annotations

import json

from gateway.stack_health import ServiceHealth, document


def test_all_well() -> None:
    status, body = document({"dataset": ServiceHealth("SERVING")})
    assert (status, json.loads(body)) == (200, {"status": "SERVING", "services": {"dataset": {"status": "SERVING"}}})


def test_what_a_service_can_do_without_is_named_and_does_no_harm() -> None:
    status, body = document({"trainer": ServiceHealth("SERVING", ("event bus: EVENT_BUS_UNAVAILABLE",))})
    assert status == 200
    assert json.loads(body)["services"]["trainer"]["away"] == ["event bus: EVENT_BUS_UNAVAILABLE"]


def test_what_a_service_lacks_is_named() -> None:
    wrong = ServiceHealth("NOT_SERVING", ("object store: OBJECT_STORE_UNAVAILABLE",))
    status, body = document({"dataset": ServiceHealth("SERVING"), "registry": wrong})
    assert status == 503
    assert json.loads(body)["services"]["registry"]["away"] == ["object store: OBJECT_STORE_UNAVAILABLE"]
