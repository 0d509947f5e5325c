"""The console's built files: complete, small, and nothing in them that the Content-Security-Policy would stop."""

from __future__ import annotations

import base64
import gzip
import re
from pathlib import Path
from typing import Any

from gateway.envoy_console import console_routes
from gateway.settings import Settings

CONSOLE = Path(__file__).parents[3] / "gateway" / "console"
MAX_GZIPPED = 350_000


def _bodies(settings: Settings) -> dict[str, bytes]:
    routes: list[dict[str, Any]] = console_routes(settings)
    return {each["match"]["path"]: base64.b64decode(each["direct_response"]["body"]["inline_bytes"]) for each in routes}


def test_every_file_has_a_route_and_together_they_are_small() -> None:
    bodies = _bodies(Settings())
    dist = {f"/{path.relative_to(CONSOLE / 'dist')}": path for path in (CONSOLE / "dist").rglob("*") if path.is_file()}
    assert set(bodies) == {"/" if path == "/index.html" else path for path in dist}
    assert gzip.decompress(bodies["/"]) == dist["/index.html"].read_bytes()
    assert sum(map(len, bodies.values())) < MAX_GZIPPED
    assert _bodies(Settings(console=False)) == {}


def test_the_page_loads_only_what_is_there_and_runs_nothing_inline() -> None:
    page = (CONSOLE / "dist" / "index.html").read_text(encoding="utf-8")
    bodies = _bodies(Settings())
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(loaded) == 3
    assert set(loaded) <= set(bodies)
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", page)


def test_no_source_turns_text_into_markup() -> None:
    sources = [path for path in (CONSOLE / "src").rglob("*") if path.suffix in (".svelte", ".ts")]
    assert len(sources) > 30
    for path in sources:
        text = path.read_text(encoding="utf-8")
        # A style attribute in a template would be stopped by the policy; `style:` sets it by script.
        for forbidden in ("{@html", "innerHTML", "insertAdjacentHTML", "eval(", ' style="'):
            assert forbidden not in text, f"{forbidden} in {path.name}"
