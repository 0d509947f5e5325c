"""Patience with servers that are away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import stamina

from services.chassis import patience
from services.chassis.errors import DeadlineExceeded, DomainError, FailedPrecondition, NotFound, Unavailable
from services.chassis.patience import every, patiently
from tests.fixtures.patience import turns, within

ATTEMPTS = 20


class _Server:
    """Raises its failures one after the other, then answers."""

    def __init__(self, *failures: DomainError) -> None:
        self.failures = list(failures)
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"


@pytest.fixture
def no_pauses() -> Iterator[None]:
    """Attempts without pauses, at most ATTEMPTS."""
    with stamina.set_testing(True, attempts=ATTEMPTS):
        yield


@pytest.mark.usefixtures("no_pauses")
async def test_an_outage_is_waited_out() -> None:
    server = _Server(*[Unavailable("away")] * 6, DeadlineExceeded("slow"))
    assert await patiently(server, what="server", patience_s=10) == "answer"
    assert server.calls == 8


@pytest.mark.usefixtures("no_pauses")
async def test_what_was_raised_last_comes_out_when_patience_ends() -> None:
    server = _Server(*[Unavailable("away")] * (ATTEMPTS - 1), DeadlineExceeded("slow"))
    with pytest.raises(DeadlineExceeded):
        await patiently(server, what="server", patience_s=10)
    assert server.calls == ATTEMPTS


async def test_patience_is_counted_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.01)
    server = _Server(*[Unavailable("away")] * 10_000)
    with pytest.raises(Unavailable):
        await patiently(server, what="server", patience_s=0.1)
    assert 1 < server.calls < 10_000


async def test_no_patience_is_one_attempt() -> None:
    server = _Server(Unavailable("away"))
    with pytest.raises(Unavailable):
        await patiently(server, what="server", patience_s=0)
    assert server.calls == 1


@pytest.mark.parametrize("answer", [NotFound("no such thing"), FailedPrecondition("never")])
async def test_an_answer_that_is_an_error_is_not_repeated(answer: DomainError) -> None:
    server = _Server(answer)
    with pytest.raises(type(answer)):
        await patiently(server, what="server", patience_s=None)
    assert server.calls == 1


async def test_a_round_that_fails_is_left_to_the_next_one() -> None:
    server = _Server(Unavailable("away"), NotFound("gone"))
    answered = asyncio.Event()

    async def round() -> None:
        await server()
        answered.set()

    rounds = asyncio.create_task(every(0, round, what="test"))
    async with within():
        await answered.wait()
    rounds.cancel()
    assert server.calls >= 3


async def test_the_first_round_may_come_at_once() -> None:
    server = _Server()
    for at_once in (False, True):
        rounds = asyncio.create_task(every(3600, server, what="test", at_once=at_once))
        await turns()
        assert server.calls == at_once
        rounds.cancel()
