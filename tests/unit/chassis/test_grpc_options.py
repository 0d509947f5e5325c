"""Options of channels and servers. gRPC passes over one that it does not know without a word."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[3]
_OPTION = re.compile(r"\"(grpc\.[a-z0-9_.]+)\", ")


def test_the_library_knows_every_option_that_we_set() -> None:
    named = {
        option
        for folder in ("services", "gateway", "sdk")
        for path in (ROOT / folder).rglob("*.py")
        for option in _OPTION.findall(path.read_text(encoding="utf-8"))
    }
    assert "grpc.keepalive_time_ms" in named
    core = find_spec("grpc._cython.cygrpc")
    assert core is not None
    assert core.origin is not None
    library = Path(core.origin).read_bytes()
    assert sorted(option for option in named if option.encode() not in library) == []
