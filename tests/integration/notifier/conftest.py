"""Fixtures of the notifier's integration tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.chassis.nats_events import EventBus
from tests.integration.notifier.running import Running, serving


@pytest.fixture
async def running(nats_url: str, database_url: str, event_bus: EventBus) -> AsyncIterator[Running]:
    """A notifier that may call this machine, on both databases."""
    async with serving(nats_url, database_url, event_bus) as made:
        yield made


@pytest.fixture
async def local(nats_url: str, sqlite_url: str, event_bus: EventBus) -> AsyncIterator[Running]:
    """The same on one, for what no database decides. An attempt takes a second at most."""
    async with serving(nats_url, sqlite_url, event_bus, attempt_timeout_s=1) as made:
        yield made
