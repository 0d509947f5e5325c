"""How commands speak: tables and sentences for people, JSON for programs, one line an error, telling exit codes.

0 done · 1 the job failed, or the server did · 2 wrong usage or argument · 3 not found · 4 not allowed ·
5 not reachable · 6 not possible in the present state · 7 over a limit · 130 interrupted
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import typer
from fiveshot import errors
from fiveshot.transfers import Saved
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from rich import markup
from rich.console import Console
from rich.text import Text

from gateway.cli import tables
from gateway.cli.interrupted import job_goes_on
from services.chassis.texts import shown

# What goes into a file or another program is never wrapped: a name that is broken in two finds nothing.
_UNWRAPPED = 100_000


def console(*, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    fixed = stream.isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, highlight=False, width=None if fixed else _UNWRAPPED)


out = console()
err = console(stderr=True)

OK, FAILED, USAGE, NOT_FOUND, NOT_ALLOWED, UNREACHABLE, STATE, LIMIT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130
_EXIT_CODES = {
    "INVALID_ARGUMENT": USAGE, "OUT_OF_RANGE": USAGE, "NOT_FOUND": NOT_FOUND, "UNAUTHENTICATED": NOT_ALLOWED,
    "PERMISSION_DENIED": NOT_ALLOWED, "UNAVAILABLE": UNREACHABLE, "DEADLINE_EXCEEDED": UNREACHABLE,
    "FAILED_PRECONDITION": STATE, "ALREADY_EXISTS": STATE, "ABORTED": STATE, "RESOURCE_EXHAUSTED": LIMIT,
}  # fmt: skip

# Remedies name fields of the API; people at the command line give options.
_OPTIONS_OF_FIELDS = {
    "Set create_model to": "Give --create to", "Set force to": "Give --force to",
    "Set recursive to": "Give --recursive to",
    "entered with recursive": "entered with --recursive", "set captions to False": "use --no-captions",
    "Choose another name, or overwrite it": "Choose another name with --to, or use --force",
    "Check that the server runs and that its address is right, then try again":
        "Check its address (--server, FIVESHOT_SERVER) and that it runs: `fiveshot status`",
    "set ignore_audit": "give --ignore-audit",
    "repeat the call with force": "give --force",
    "set force": "give --force",
    "GetBaseModel lists every parameter with its default and limits":
        "`fiveshot base-models show NAME` lists every parameter with its default and limits",
    "Correct the fields listed in the violations.": "",
}  # fmt: skip

# What a service cannot say, because it does not know whether its caller is a person at the command line.
_COMMANDS_OF_REASONS = {
    "DATASET_EMPTY": "Pictures are sent with `fiveshot dataset upload DATASET FOLDER`.",
    "DATASET_TOO_SMALL": "Pictures are sent with `fiveshot dataset upload DATASET FOLDER`.",
    "EPOCH_NOT_FOUND": "See `fiveshot epochs list JOB`.",
    "DATASET_EXISTS": "See `fiveshot dataset list`.",
}


def exit_code(error: errors.FiveshotError) -> int:
    """The exit code of an error."""
    return _EXIT_CODES.get(error.code, FAILED)


def describe(error: errors.FiveshotError, *, each_field: bool = True) -> str:
    """One line: what is wrong, what to do, and the stable reason; with each_field, what is wrong in every field too."""
    fields = ", ".join(dict.fromkeys(item.field for item in error.violations if item.field)) if each_field else ""
    parts = [error.message.rstrip(".") + "."]
    if each_field and len(error.violations) > 1:
        parts += [f"{item.field}: {item.description}." for item in error.violations]
    if error.remedy:
        parts.append(at_the_command_line(error.remedy))
    command = _COMMANDS_OF_REASONS.get(error.reason)
    parts += [command] if command and "`fiveshot " not in error.remedy else []
    mark = f"[{error.reason}{'; field ' + fields if fields else ''}]"
    return " ".join([*parts, mark]).replace("\n", " ")


def at_the_command_line(remedy: str) -> str:
    """A remedy in the words of the command line's options."""
    for field, option in _OPTIONS_OF_FIELDS.items():
        remedy = remedy.replace(field, option)
    return remedy


def escape(text: str) -> str:
    """The text without markup, and without what a terminal obeys: a server sends what strangers have written."""
    return markup.escape(shown(text))


def print_error(error: errors.FiveshotError, *, as_json: bool) -> None:
    """Tells of an error on stderr."""
    if as_json:
        status = MessageToDict(error.status())
        print(json.dumps({"error": status}, ensure_ascii=False), file=sys.stderr)
    elif len(error.violations) > 1:
        say_error(describe(error, each_field=False))
        for item in error.violations:
            err.print(escape("  " + " ".join(f"{item.field}: {item.description}".split())), soft_wrap=True)
    else:
        say_error(describe(error))


def say_error(text: str) -> None:
    """One line on stderr."""
    err.print(f"[bold red]Error:[/] {escape(' '.join(text.split()))}", soft_wrap=True)


def note(text: str) -> None:
    """One line on stderr that is no error; the terminal wraps it, so that a command in it can be copied."""
    err.print(escape(" ".join(text.split())), soft_wrap=True)


def next_step(session: Any, command: str) -> None:
    """Says which command usually comes next; a program that reads JSON needs no advice. session: the command's."""
    if not session.json:
        err.print(f"[dim]Next:[/] {escape(command)}", soft_wrap=True)


def say(text: str) -> None:
    """A sentence on stdout, without markup; in as many lines as the terminal needs, and one in a file."""
    for line in tables.in_lines(shown(text), out.width):
        out.print(Text(line), soft_wrap=True)


def to_json(message: Message) -> dict[str, Any]:
    """A message as the JSON API writes it, with every plain field."""
    return MessageToDict(message, always_print_fields_with_no_presence=True)


def print_json(value: Message | dict[str, Any] | list[Any]) -> None:
    """Prints one JSON document."""
    content = to_json(value) if isinstance(value, Message) else value
    print(json.dumps(content, ensure_ascii=False, indent=2))


def print_json_line(value: Message | dict[str, Any]) -> None:
    """Prints one JSON object on one line, at once; for streams."""
    content = to_json(value) if isinstance(value, Message) else value
    print(json.dumps(content, ensure_ascii=False), flush=True)


def print_list(key: str, items: Iterable[Message]) -> None:
    """Prints a list as `{"KEY": […]}`."""
    print_json({key: [to_json(item) for item in items]})


@contextmanager
def explained(text: str) -> Iterator[None]:
    """Says what a Ctrl-C in it leaves behind."""
    try:
        yield
    except KeyboardInterrupt:
        note(text)
        raise


@contextmanager
def left_running(noun: str, job: Callable[[], str]) -> Iterator[None]:
    """Says after a Ctrl-C in it that a job goes on, and how to follow and end it; the command ends then.

    noun: of its commands. job: its id or name as far as it is known by then; "" is the last one.
    """
    try:
        yield
    except KeyboardInterrupt:
        note(job_goes_on(noun, short(job())))
        raise typer.Exit(INTERRUPTED) from None


def saved(session: Any, write: Callable[[], Saved]) -> None:
    """Has a file written, and tells of it. session: the command's."""
    with explained("Nothing is kept of a file that is not whole. Give the same command again."):
        file = write()
    if session.json:
        print_json({"path": str(file.path), "sizeBytes": file.size, "sha256": file.sha256})
    else:
        say(f"{file.path} ({size(file.size)})")


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Prints rows as `tables.laid_out` lays them out. The first column names the row."""
    texts = [[shown(str(cell)) for cell in row] for row in rows]
    if not texts:
        say("Nothing found.")
        return
    for part in tables.laid_out(columns, texts, out.width, title=title):
        out.print(part, overflow="ignore", crop=False)


def facts(pairs: Iterable[tuple[str, object]], *, title: str = "") -> None:
    """Prints name and value lines; empty values are left out."""
    found = [(shown(name), shown(str(value))) for name, value in pairs if value not in ("", None)]
    if title:
        out.print(f"[bold]{escape(title)}[/]")
    for line in tables.named(found, out.width):
        out.print(line, overflow="ignore", crop=False, no_wrap=True)


def short(name: str) -> str:
    """The last part of a resource name."""
    return name.rsplit("/", 1)[-1]


def size(count: int) -> str:
    """Bytes for people: `1.2 MB`."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def duration(seconds: float) -> str:
    """Seconds for people: `1 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def when(timestamp: Timestamp) -> str:
    """A time in the user's zone; empty when unset."""
    if not timestamp.seconds:
        return ""
    return timestamp.ToDatetime(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def seconds_until(timestamp: Timestamp) -> float | None:
    """Seconds from now to a time; None when unset or past."""
    if not timestamp.seconds:
        return None
    left = (timestamp.ToDatetime(UTC) - datetime.now(UTC)).total_seconds()
    return left if left > 0 else None


def pretended(message: Message) -> str:
    """What is put after a job, an epoch or where a version comes from: ", pretended", or nothing."""
    return ", pretended" if getattr(message, "pretended", False) else ""


def enum_name(message: Message, field: str) -> str:
    """The name of an enum field's value without its prefix, in lower case: `running`."""
    descriptor = message.DESCRIPTOR.fields_by_name[field]
    assert descriptor.enum_type is not None
    value = descriptor.enum_type.values_by_number[getattr(message, field)].name
    for prefix in ("STATE_", "TAG_SOURCE_", "TAG_MODE_", "TYPE_", "OUTCOME_"):
        value = value.removeprefix(prefix)
    return value.lower()
