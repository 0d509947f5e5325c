"""Pages of docs/ in which a part is generated: the lines between `<!-- NAME: begin -->` and `<!-- NAME: end -->`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"


def updated(page: str, name: str, content: str) -> str:
    """The page with `content` in its part `name`. Raises ValueError when the page has no such part."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"the page needs the lines {begin} and {end}")
    return f"{head}{begin}\n\n{content.strip()}\n\n{end}{tail}"


def refresh(path: Path, parts: dict[str, str]) -> None:
    """Writes every part of a page anew."""
    path.write_text(refreshed(path.read_text(encoding="utf-8"), parts), encoding="utf-8")


def refreshed(page: str, parts: dict[str, str]) -> str:
    """The page with all its parts as they are now."""
    for name, content in parts.items():
        page = updated(page, name, content)
    return page


def cell(text: str) -> str:
    """Text that can stand in a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table; the cells are Markdown already."""
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
