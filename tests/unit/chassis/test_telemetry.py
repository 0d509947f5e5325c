"""Metrics stay bounded, and a wait is no work."""

from __future__ import annotations

import asyncio

from prometheus_client import CollectorRegistry, Histogram

from services.chassis import telemetry
from services.chassis.signals import WAITED, wait


def test_words_of_others_become_a_bounded_number_of_series() -> None:
    words = telemetry.Words()
    assert words("OUT_OF_MEMORY") == "OUT_OF_MEMORY"
    assert {words(odd) for odd in ("", "lower", "A B", "A" * 49, "Ü", "/home/x")} == {"OTHER"}
    told = {words(f"REASON_{number}") for number in range(500)}
    assert len(told) == 100
    assert "OTHER" in told
    assert words("OUT_OF_MEMORY") == "OUT_OF_MEMORY"


def test_time_is_observed_also_when_the_block_raises() -> None:
    registry = CollectorRegistry()
    seconds = Histogram("seconds", "Of a block.", ("kind",), registry=registry)
    try:
        with telemetry.timing(seconds, "bad"):
            raise KeyError
    except KeyError:
        pass
    assert registry.get_sample_value("seconds_count", {"kind": "bad"}) == 1


async def test_whoever_measures_a_call_hears_how_long_it_waited_for_news() -> None:
    waited: list[float] = []
    WAITED.set(waited)
    told, never = asyncio.Event(), asyncio.Event()
    told.set()
    await wait(told, 60)
    await wait(never, 0.001)
    assert len(waited) == 2
    assert waited[1] >= 0.001
