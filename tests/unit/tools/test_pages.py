"""The pages name files that exist and link to pages that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/benchmarks.md",
    "docs/cli.md",
    "docs/deploy.md",
    "docs/errors.md",
)
FOLDERS = ("services", "gateway", "protos", "tools", "tests", "deploy", "benchmarks", "docs")


def files() -> set[str]:
    """Every file of the repository, with a slash in front of its path."""
    found = {f"/{path.name}" for path in ROOT.iterdir() if path.is_file()}
    for folder in FOLDERS:
        paths = (ROOT / folder).rglob("*")
        found |= {f"/{path.relative_to(ROOT)}" for path in paths if path.is_file() and "__pycache__" not in path.parts}
    return found


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    text, known = (ROOT / page).read_text(encoding="utf-8"), files()
    named = re.findall(r"`([\w./-]+\.(?:py|toml|yaml|proto|sql|conf|md))(?:: \w+)?`", text)
    # `adapters/sql_jobs.py` in the middle of a walk is short for the service that it is about.
    made_by_the_reader = {"api_keys.yaml"}
    missing = [name for name in named if not any(path.endswith(f"/{name}") for path in known)]
    assert set(missing) <= made_by_the_reader


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target
