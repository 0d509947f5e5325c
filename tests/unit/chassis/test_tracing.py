"""How a trace is handed on: its spelling, calls that nobody records, and what events and runs belong to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.chassis import tracing
from services.chassis.outbox import new_event
from services.trainer.worker.run_parts import RunParts

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
KEPT, DROPPED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


def event(traceparent: str = "") -> str:
    """The trace of an event that is made now."""
    facts: dict[str, Any] = {"aggregate": "a", "sequence": 1, "type": "t", "subject": "s", "source": "s"}
    return new_event(**facts, payload="{}", traceparent=traceparent).traceparent


def test_a_span_goes_on_as_it_came_where_nothing_is_exported() -> None:
    assert tracing.current() == ""
    with tracing.span("work", parent=KEPT):
        assert tracing.current() == KEPT
        assert tracing.recorded()
    with tracing.span("work", parent=DROPPED):
        assert (tracing.current(), tracing.recorded()) == (DROPPED, False)
    assert tracing.current() == ""


@pytest.mark.parametrize("wrong", ["", "00-xx", f"01-{TRACE}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"{KEPT}\n"])
def test_what_is_no_traceparent_is_none(wrong: str) -> None:
    assert tracing.checked(wrong) == ""
    assert tracing.checked(KEPT) == KEPT


def test_a_span_of_a_parent_that_is_none_begins_a_trace() -> None:
    with tracing.span("work", parent="00-xx"):
        assert tracing.current() == ""


def test_calls_that_nobody_records_keep_the_trace_for_the_logs() -> None:
    with tracing.span("attempt", parent=KEPT), tracing.unrecorded():
        assert tracing.current() == DROPPED
    metadata: dict[str, str] = {}
    with tracing.unrecorded():
        tracing.add_to(metadata)
    # One of its own, since without any the other side would begin one and might record it.
    assert metadata["traceparent"].endswith("-00")
    assert tracing.checked(metadata["traceparent"])
    assert "baggage" not in metadata


def test_an_event_belongs_to_the_call_that_caused_it_else_to_its_job() -> None:
    job = f"00-{'ab' * 16}-{SPAN}-01"
    assert event() == ""
    assert event(job) == job
    with tracing.span("call", parent=KEPT):
        assert event(job) == KEPT
        with tracing.unrecorded():
            assert event(job) == job
            assert event() == DROPPED


async def test_the_parts_of_a_run_are_one_span_each_however_many_steps_they_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[tuple[str, float, float]] = []
    start = datetime(2026, 1, 1, tzinfo=UTC)
    now = start

    def passed(name: str, *, parent: str, since: datetime, until: datetime) -> None:
        assert parent == KEPT
        found.append((name, (since - start).total_seconds(), (until - start).total_seconds()))

    monkeypatch.setattr(tracing, "passed", passed)
    parts = RunParts(KEPT, lambda: now)
    for part, seconds in (("start", 2), ("training", 1), ("training", 1), ("sampling", 3), ("training", 0), ("x", 1)):
        now += timedelta(seconds=seconds)
        parts.spent(part, seconds)
    parts.end()
    parts.end()
    assert found == [("start", 0, 2), ("training", 2, 4), ("sampling", 4, 7), ("x", 7, 8)]
