"""The page of the command line says what the command line does, and leaves nothing unsaid."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
import typer

from gateway.cli.main import app, hoist
from gateway.supervisor.stack_settings import StackSettings
from tools.cli_docs import PAGE, exit_codes, parts, records, walk
from tools.marked_pages import DOCS, cell, refreshed, updated

ROOT = DOCS.parent


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert refreshed(page, parts()) == page, "run: python -m tools.cli_docs --write"


def test_every_command_and_every_option_is_explained() -> None:
    root: Any = typer.main.get_command(app)
    context = root.make_context("fiveshot", [], resilient_parsing=True)
    found = list(walk(root, context))
    assert {"dataset upload", "train watch", "models save", "demo", "up"} <= {
        inner.command_path.removeprefix("fiveshot ") for _, inner in found
    }
    for command, inner in [(root, context), *found]:
        assert command.help, inner.command_path
        for spelling, meaning in records(command, inner):
            assert re.sub(r"\[[^\]]*\]", "", meaning).strip(), f"{inner.command_path} {spelling} has no help"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/cli.md", "docs/deploy.md"])
def test_the_commands_on_a_page_can_be_typed_as_they_stand(page: str) -> None:
    root: Any = typer.main.get_command(app)
    known = {inner.command_path: command for command, inner in walk(root, typer.Context(root, info_name="fiveshot"))}
    text = (ROOT / page).read_text(encoding="utf-8")
    for line in re.findall(r"^ {0,4}(fiveshot [^[\n]+)$", text, re.MULTILINE):
        words = ["fiveshot", *hoist(shlex.split(line.replace("JOB", "job-1"), comments=True)[1:])]
        path = next(" ".join(words[:length]) for length in (3, 2) if " ".join(words[:length]) in known)
        # Raises when an option does not exist, or a value is missing.
        known[path].make_context(path, words[len(path.split()) :])


def test_every_status_of_the_api_has_an_exit_code() -> None:
    rows = exit_codes().splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["0", "1", "2", "3", "4", "5", "6", "7", "130"]
    assert "INVALID_ARGUMENT" in rows[2]
    assert "RESOURCE_EXHAUSTED" in rows[7]


def test_every_variable_of_the_stack_is_explained() -> None:
    assert all(field.description for field in StackSettings.model_fields.values())


def test_a_part_that_a_page_lacks_is_refused() -> None:
    assert updated("a <!-- x: begin --> old <!-- x: end --> b", "x", "new") == (
        "a <!-- x: begin -->\n\nnew\n\n<!-- x: end --> b"
    )
    with pytest.raises(ValueError, match="needs the lines <!-- y: begin -->"):
        updated("nothing", "y", "new")
    assert cell("a|b\n<c>") == "a\\|b &lt;c>"
