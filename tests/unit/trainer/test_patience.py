"""Repeating what fails because a server is away."""

from __future__ import annotations

import pytest

from services.chassis.errors import NotFound, Unavailable
from services.trainer.worker import patience
from services.trainer.worker.patience import patiently
from tests.fixtures.patience import within


class _Server:
    def __init__(self, failures: list[Exception]) -> None:
        self.failures = failures
        self.calls = 0

    async def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(patience, "LONGEST_PAUSE_S", 0.004)


async def test_an_outage_is_waited_out() -> None:
    server = _Server([Unavailable("away")] * 6)
    assert await patiently(server, what="server", patience_s=10) == "answer"
    assert server.calls == 7


async def test_patience_has_an_end() -> None:
    server = _Server([Unavailable("away")] * 10_000)
    async with within():
        with pytest.raises(Unavailable):
            await patiently(server, what="server", patience_s=0.05)


async def test_an_answer_that_is_an_error_is_not_repeated() -> None:
    server = _Server([NotFound("no such thing")])
    with pytest.raises(NotFound):
        await patiently(server, what="server", patience_s=10)
    assert server.calls == 1
