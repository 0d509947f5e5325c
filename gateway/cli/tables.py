"""How rows and facts lie in a terminal of a given width: no word is broken, so that every name can be copied whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

# Between two columns.
_GAP = 2
# Cells: what is longer is a sentence, whose column is made no narrower than that; a file's name keeps so many.
_SENTENCE, _LEAST_SENTENCE = 40, 20
_LEAST_NAME = 24

Row = Sequence[str]


def laid_out(columns: Row, rows: Sequence[Row], width: int, *, title: str = "") -> Iterator[Table | Text]:
    """The rows as a table; one below the other, a line for each of their cells, where they don't fit side by side.

    columns: their heads; one that begins with `>` is set right, one with `?` goes where the width does not suffice.
    width: cells. A column in which no row has anything is left out, and a file's name takes at most half of the width.
    """
    heads = [column.lstrip(">?") for column in columns]
    whole = rows
    if heads[0] == "file":
        rows = [(in_the_middle(row[0], max(_LEAST_NAME, width // 2)), *row[1:]) for row in rows]
    filled = [any(row[number] for row in rows) for number in range(len(columns))]
    widths = _widths(columns, heads, rows, filled, width)
    if not widths:
        if title:
            yield Text(title, style="italic")
        for row in whole:
            yield from _below_each_other(heads, row, width)
        return
    table = Table(title=title or None, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for number, size in enumerate(widths):
        if size:
            table.add_column(Text(heads[number]), justify="right" if ">" in columns[number][:2] else "left", width=size)
    for row in rows:
        table.add_row(*(Text(cell) for cell, size in zip(row, widths, strict=True) if size))
    yield table


def named(pairs: Sequence[tuple[str, str]], width: int) -> Iterator[Text]:
    """Name and value in two columns, in lines of so many cells; a word that is longer makes its line longer."""
    left = max((cell_len(name) for name, _ in pairs), default=0) + _GAP
    for name, value in pairs:
        head = set_cell_size(name, left)
        for line in in_lines(value, width - left):
            text = Text(head, style="dim")
            yield text.append(line, style="not dim")
            head = " " * left


def in_lines(text: str, width: int) -> list[str]:
    """The text in lines of at most so many cells, broken between words only."""
    lines: list[str] = []
    for paragraph in text.split("\n"):
        line, *words = paragraph.split(" ")
        for word in words:
            longer = f"{line} {word}"
            if line.strip() and cell_len(longer) > width:
                lines.append(line)
                longer = word
            line = longer
        lines.append(line)
    return lines


def in_the_middle(text: str, most: int) -> str:
    """The text with its middle left out where it is wider than so many cells: the end of a file's name tells most."""
    if cell_len(text) <= most:
        return text
    head, tail = set_cell_size(text, most // 2), text[-1:]
    while cell_len(head) + cell_len(tail) + 2 <= most:
        tail = text[-len(tail) - 1 :]
    return f"{head.rstrip()}…{tail}"


def _below_each_other(heads: Row, row: Row, width: int) -> Iterator[Text]:
    """A row whose first cell names it, and what else it says."""
    yield Text(f"{heads[0]} {row[0]}".strip(), style="bold")
    pairs = [(f"  {head}", cell) for head, cell in zip(heads[1:], row[1:], strict=True) if cell]
    yield from named(pairs, width)


def _widths(columns: Row, heads: Row, rows: Sequence[Row], filled: list[bool], width: int) -> list[int]:
    """Cells for each column, 0 for one that is left out; empty when the rows do not fit side by side."""
    wanted = [
        max(cell_len(head), *(cell_len(row[number]) for row in rows)) if filled[number] else 0
        for number, head in enumerate(heads)
    ]
    least = [
        _least(heads[number], [row[number] for row in rows], size)
        if number and ">" not in columns[number][:2]
        else size
        for number, size in enumerate(wanted)
    ]
    spare = [number for number, column in enumerate(columns) if column.startswith("?") and filled[number]]
    while spare and _together(wanted) > width:
        number = spare.pop()
        wanted[number] = least[number] = 0
    if _together(least) > width:
        return []
    while _together(wanted) > width:
        widest = max(range(len(wanted)), key=lambda number: (wanted[number] > least[number], wanted[number]))
        wanted[widest] -= 1
    return wanted


def _least(head: str, cells: Row, natural: int) -> int:
    """Below so many cells a column would break a word, or make a tower of a sentence."""
    if not natural:
        return 0
    longest = max(cell_len(word) for text in (head, *cells) for word in text.split() or [""])
    return max(longest, min(natural, _LEAST_SENTENCE)) if natural > _SENTENCE else longest


def _together(widths: Sequence[int]) -> int:
    there = [size for size in widths if size]
    return sum(there) + _GAP * (len(there) - 1)
