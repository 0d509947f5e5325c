"""Makes the client for threads (`fiveshot.sync`) of the one for asyncio (`fiveshot.aio`): every rule stands once.

    python -m tools.sync_client --write     writes sdk/python/src/fiveshot/sync
    python -m tools.sync_client             fails when it is not what --write would write

What the two really do differently is in `platform.py`, written by hand on both sides.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "sdk" / "python" / "src" / "fiveshot"
BY_HAND = ("__init__.py", "platform.py")
_HEAD = "# Made of fiveshot/aio/{name} by tools/sync_client.py; change that file.\n"
# In this order. An awaited value is the value itself.
_RULES = [
    (r"\basync (def|for|with)\b", r"\1"),
    (r"\bawait ", ""),
    (r"\bAwaitable\[(\w+)\]", r"\1"),
    (r"from collections\.abc import ((?:\w+, )*)Awaitable(?:, )?", r"from collections.abc import \1"),
    (r"\bAsync(Client|Iterator|Iterable|Generator)\b", r"\1"),
    (r"__a(iter|next|enter|exit)__", r"__\1__"),
    (r"\ba(next|iter)\(", r"\1("),
    (r"\bfiveshot\.aio\b", "fiveshot.sync"),
    (r"\bfrom fiveshot import AsyncClient\b", "from fiveshot import Client"),
    (r"\basyncio\.run\(main\(\)\)", "main()"),
]


def synchronous(name: str, code: str) -> str:
    """The counterpart of a module, with its imports sorted and its lines laid out."""
    for pattern, replacement in _RULES:
        code = re.sub(pattern, replacement, code)
    code = _HEAD.format(name=name) + code
    for task in (["check", "--quiet", "--select", "I", "--fix"], ["format", "--quiet"]):
        ruff = [str(Path(sys.executable).parent / "ruff"), *task]
        place = ["--stdin-filename", str(PACKAGE / "sync" / name), "-"]
        code = subprocess.run([*ruff, *place], input=code, capture_output=True, text=True, check=True).stdout
    return code


def wanted() -> dict[Path, str]:
    """What each generated file should hold."""
    sources = sorted(path for path in (PACKAGE / "aio").glob("*.py") if path.name not in BY_HAND)
    return {PACKAGE / "sync" / path.name: synchronous(path.name, path.read_text(encoding="utf-8")) for path in sources}


def stale() -> list[str]:
    """Names of generated files that are missing, differ, or have no source."""
    files = wanted()
    kept = {path for path in (PACKAGE / "sync").glob("*.py") if path.name not in BY_HAND}
    differing = {path for path, code in files.items() if path not in kept or path.read_text(encoding="utf-8") != code}
    return sorted(path.name for path in differing | (kept - files.keys()))


def main() -> None:
    if sys.argv[1:] == ["--write"]:
        for path, code in wanted().items():
            path.write_text(code, encoding="utf-8")
    elif found := stale():
        raise SystemExit(f"Run `python -m tools.sync_client --write`. Differs: {', '.join(found)}")


if __name__ == "__main__":
    main()
