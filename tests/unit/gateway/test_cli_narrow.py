"""A narrow terminal: no name is cut or broken, whatever is listed, and help tells every option whole."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from rich.cells import cell_len
from rich.console import Console

from gateway.cli import grouped, main, output, tables

WIDTH = 60


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=stream, width=WIDTH, highlight=False))
    return stream


def test_rows_that_do_not_fit_side_by_side_stand_below_each_other(written: io.StringIO) -> None:
    sentence = "Take the copies out: each would be learnt twice. To give a picture weight, raise its repeats."
    output.table(("finding", "severity", ">pictures", "what to do", "mend"), [
        ("near-duplicates", "attention", 3, sentence, "--fix near-duplicates"),
        ("small", "attention", 12, "", ""),
    ])  # fmt: skip
    lines = written.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= WIDTH
    assert [line for line in lines if not line.startswith(" ")] == ["finding near-duplicates", "finding small"]
    assert " ".join(sentence.split()[:6]) in written.getvalue()
    assert lines[-1].split() == ["pictures", "12"]


def test_no_name_is_broken_or_cut(written: io.StringIO) -> None:
    names = [f"{kind}-{'long-name-' * 8}end" for kind in ("first", "other", "fact", "file")]
    output.table(("dataset", "from"), [(names[0], f"made of {names[1]}, pretended")])
    output.facts([("name", names[2])])
    output.table(("file", *"abcdefghijklm"), [(names[3], *("x" * 9 for _ in range(13)))])
    words = written.getvalue().split()
    assert {names[0], names[2], names[3]} <= set(words)
    assert f"{names[1]}," in words


def test_a_table_gives_room_to_the_widest_column_last(written: io.StringIO) -> None:
    output.table(("a", "b"), [("n" * 20, f"{'word ' * 20}end"), ("m", "")])
    head, *rows = written.getvalue().splitlines()
    assert (head.split(), rows[0].split()[0]) == (["a", "b"], "n" * 20)
    assert max(map(cell_len, rows)) <= WIDTH
    assert written.getvalue().count("word") == 20


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("  → one", ["  → one"]),
        ("a-name-that-is-long b", ["a-name-that-is-long", "b"]),
        ("狐狐狐 狐狐", ["狐狐狐", "狐狐"]),
        ("", [""]),
    ],
)
def test_lines_are_broken_between_words_only(text: str, lines: list[str]) -> None:
    assert tables.in_lines(text, 8) == lines


def _pages(command: Any, path: str, parent: Any = None) -> Iterator[tuple[str, Any, Any]]:
    context = command.context_class(command, info_name=path, parent=parent, help_option_names=["-h", "--help"])
    yield path, command, context
    for name, inner in getattr(command, "commands", {}).items():
        yield from _pages(inner, name, context)


def test_the_help_of_a_narrow_terminal_names_every_option_and_command_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    monkeypatch.setattr(main.app, "rich_markup_mode", grouped.markup_mode())
    for path, command, context in _pages(typer.main.get_command(main.app), "fiveshot"):
        text = command.get_help(context)
        assert max(map(cell_len, text.splitlines())) <= WIDTH, path
        wanted = [*(each.opts[0] for each in command.params), *getattr(command, "commands", {})]
        names = [name for name in wanted if name.startswith("--") or name in getattr(command, "commands", {})]
        shown = set(text.replace(",", " ").split())
        hidden = {name for name, each in getattr(command, "commands", {}).items() if each.hidden}
        assert set(names) - hidden <= shown, path


def test_what_people_do_first_stands_first_in_the_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    root: Any = typer.main.get_command(main.app)
    names = root.list_commands(None)
    assert names[:2] == ["dataset", "train"]
    assert names.index("models") < names.index("up") < names.index("keys")
    monkeypatch.setenv("COLUMNS", "80")
    assert (grouped.markup_mode(), grouped.by("B", "A").panels) == ("rich", ("B", "A"))
