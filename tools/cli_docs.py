"""Writes the reference of the command line from the command line itself: commands, exit codes, variables.

python -m tools.cli_docs            the three parts of docs/cli.md
python -m tools.cli_docs --write    puts them into the page
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import typer
from fiveshot.errors import FiveshotError

from gateway.cli import output
from gateway.cli.main import app
from gateway.supervisor.stack_settings import StackSettings
from tools.marked_pages import DOCS, cell, refresh, table

PAGE = DOCS / "cli.md"
_HELP = "--help"
# Shell completion is Typer's own and explained by the page.
_HIDDEN = ("--install-completion", "--show-completion", _HELP)


def parts() -> dict[str, str]:
    """The generated parts of the page by name."""
    return {"commands": commands(), "exit codes": exit_codes(), "variables": variables()}


def commands() -> str:
    """Every command with its arguments and options, below a heading for each group."""
    root: Any = typer.main.get_command(app)
    context = root.make_context("fiveshot", [], resilient_parsing=True)
    blocks = ["### Options of every command", _options(root, context)]
    for command, inner in walk(root, context):
        if hasattr(command, "commands"):
            blocks.append(f"### {inner.command_path}\n\n{_sentences(command.help)}")
            continue
        usage = " ".join([inner.command_path, *_usage(command, inner)])
        blocks += [f"#### {inner.command_path}", f"```\n{usage}\n```", _sentences(command.help)]
        blocks.append(_options(command, inner))
    return "\n\n".join(block for block in blocks if block)


def walk(group: Any, context: Any) -> Iterator[tuple[Any, Any]]:
    """Every command below a group with its context, plain commands before groups."""
    found = [group.commands[name] for name in group.list_commands(context)]
    for command in sorted(found, key=lambda each: hasattr(each, "commands")):
        inner = type(context)(command, info_name=command.name, parent=context)
        yield command, inner
        if hasattr(command, "commands"):
            yield from walk(command, inner)


def records(command: Any, context: Any) -> list[tuple[str, str]]:
    """Spelling and help of each argument and option, as `--help` shows them."""
    shown = [parameter.get_help_record(context) for parameter in command.params]
    return [(left, right) for left, right in filter(None, shown) if not left.startswith(_HIDDEN) and _HELP not in left]


def exit_codes() -> str:
    """A row for each exit code, with the statuses of the API that lead to it."""
    meanings = {int(code): text for code, text in re.findall(r"(\d+) ([^,.]+)[,.]", str(app.info.epilog))}
    statuses: dict[int, list[str]] = {code: [] for code in meanings}
    for kind in FiveshotError.__subclasses__():
        statuses[output.exit_code(kind(""))].append(kind.code)
    rows = [(str(code), cell(text), ", ".join(statuses[code])) for code, text in meanings.items()]
    return table(("code", "meaning", "status of the API"), rows)


def variables() -> str:
    """The variables that the command line reads, and those that choose what `fiveshot up` starts."""
    root: Any = typer.main.get_command(app)
    named = [option for option in root.params if option.envvar]
    rows = [(f"`{option.envvar}`", f"`{option.opts[0]}`", cell(option.help or "")) for option in named]
    chosen = [
        (f"`FIVESHOT_{name.upper()}`", cell(field.description or ""))
        for name, field in StackSettings.model_fields.items()
    ]
    return "\n\n".join(
        [
            table(("variable", "option", "meaning"), rows),
            "What `fiveshot up` and `fiveshot demo` start, and what runs elsewhere:",
            table(("variable", "meaning"), chosen),
        ]
    )


def _usage(command: Any, context: Any) -> list[str]:
    return [re.sub(r"^\{(.*)\}$", r"\1", piece).upper() for piece in command.collect_usage_pieces(context)]


def _options(command: Any, context: Any) -> str:
    rows = [(f"`{left}`", cell(right)) for left, right in records(command, context)]
    return table(("argument or option", "meaning"), rows) if rows else ""


def _sentences(text: str | None) -> str:
    return " ".join((text or "").split())


def main(arguments: list[str]) -> int:
    """The exit code."""
    if arguments == ["--write"]:
        refresh(PAGE, parts())
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    print("\n\n".join(parts().values()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
