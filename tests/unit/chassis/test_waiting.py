"""Patience with servers that are not up yet."""

from __future__ import annotations

import pytest

from services.chassis.errors import FailedPrecondition, Unavailable
from services.chassis.waiting import until_available


class Server:
    """A server that answers from the given call on."""

    def __init__(self, answers_at: int) -> None:
        self.calls = 0
        self.answers_at = answers_at

    async def call(self) -> None:
        """Counts and answers."""
        self.calls += 1
        if self.calls < self.answers_at:
            raise Unavailable("not yet")


async def test_a_call_is_repeated_until_it_is_answered() -> None:
    server = Server(answers_at=3)
    await until_available(server.call)
    assert server.calls == 3


async def test_patience_ends() -> None:
    server = Server(answers_at=100)
    with pytest.raises(Unavailable):
        await until_available(server.call, patience_s=0.25)
    assert 1 < server.calls < 5


async def test_other_errors_are_not_waited_out() -> None:
    async def call() -> None:
        raise FailedPrecondition("never")

    with pytest.raises(FailedPrecondition):
        await until_available(call)
