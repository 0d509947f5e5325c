"""When a watch that hears nothing gives up: not for being cut often, only for being without a connection too long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fiveshot.connection import Endpoint, Patience
from fiveshot.errors import Unavailable
from fiveshot.sync import calls

CUTS = 5


def heard() -> list[str]:
    """What a watch hears whose connection is cut some times before it hears anything."""
    cut = iter(range(CUTS))

    def start() -> Iterator[str]:
        if next(cut, None) is not None:
            raise Unavailable("cut")
        yield "the end"

    patience = Patience(reconnect_s=0, first_pause_s=0.001, longest_pause_s=0.001)
    channel = calls.Channel(Endpoint("127.0.0.1:1"), patience=patience)
    try:
        return list(channel.resumed(start))
    finally:
        channel.close()


def test_whoever_was_connected_is_lost_anew_however_little_it_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "CONNECTED_S", -1.0)
    assert heard() == ["the end"]


def test_whoever_never_was_gives_up_after_its_time() -> None:
    with pytest.raises(Unavailable):
        heard()
