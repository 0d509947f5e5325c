"""The pages name files that exist and link to pages that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "research/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")),
]
FOLDERS = ("services", "gateway", "sdk", "protos", "tools", "tests", "deploy", "benchmarks", "research", "docs")


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
    made_by_the_reader = {"api_keys.yaml", "budgets.toml", "captioner.toml"}
    missing = [name for name in named if not any(path.endswith(f"/{name}") for path in known)]
    assert set(missing) <= made_by_the_reader


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("index", ["docs/index.md", "docs/adr/index.md"])
def test_an_index_names_every_page_of_its_folder(index: str) -> None:
    path = ROOT / index
    linked = set(re.findall(r"\]\(([^)/]+\.md)\)", path.read_text(encoding="utf-8")))
    assert linked == {page.name for page in path.parent.glob("*.md")} - {path.name}


def test_decisions_are_numbered_without_gaps() -> None:
    pages = sorted(path for path in (ROOT / "docs" / "adr").glob("*.md") if path.name != "index.md")
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    for number, page in enumerate(pages, 1):
        assert page.read_text(encoding="utf-8").startswith(f"# {number}. ")
