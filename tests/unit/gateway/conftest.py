"""The command line as tests call it: no server but what they name."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _no_server_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIVESHOT_SERVER", "FIVESHOT_API_KEY", "FIVESHOT_PROJECT", "FIVESHOT_DATA"):
        monkeypatch.delenv(name, raising=False)
