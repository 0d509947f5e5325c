"""`fiveshot`: the root of the command line with its global options; the one place where errors become exit codes."""

from __future__ import annotations

import errno
import io
import os
import secrets
import signal
import sys
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from fiveshot import errors
from fiveshot.connection import default_data_folder
from fiveshot.errors import FailedPrecondition, FiveshotError, Internal, InvalidArgument

from gateway.cli import (  # noqa: F401  archives, images, crops, masks, edits, audit, preview, tags, measures, deleting, updating, own_base_models: commands of others
    archives,
    audit,
    audit_log,
    base_models,
    console,
    crops,
    dataset,
    deleting,
    demo,
    doctor,
    edits,
    epochs,
    events,
    images,
    keys,
    lookup,
    masks,
    measures,
    models,
    output,
    own_base_models,
    preview,
    previews,
    project,
    stack,
    tag_jobs,
    taggers,
    tags,
    train,
    updating,
    usage,
    webhooks,
    workers,
)
from gateway.cli.grouped import Grouped, markup_mode
from gateway.cli.session import Session
from gateway.supervisor.folder import FolderBusyError
from gateway.supervisor.run import StackError
from services.chassis import grpc_errors, logging
from services.chassis.errors import DomainError
from services.chassis.release import release

_GLOBAL_OPTIONS = ("--server", "--api-key", "--project", "--ca-file", "--data")
_GLOBAL_FLAGS = ("--json", "--trace")
_REMEDIES = {
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Check its permissions, or choose another place."),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "Make room on that disk, or choose another place."),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR), "Check the path."),
    errno.ENAMETOOLONG: "Give a shorter name.",
}


_MAKE, _RUN, _REST = "From photos to a model", "The stack on this machine", "Access and the rest"


class ErrorsBecomeExitCodes(Grouped):
    """Runs a command; an error of the API or of the machine is one line and an exit code, never a traceback."""

    panels = (_MAKE, _RUN, _REST)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Takes the global options from wherever they stand: `dataset list --json` is `--json dataset list`."""
        return super().parse_args(ctx, hoist(args))

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the command line and ends the process with its exit code."""
        kwargs["standalone_mode"] = False
        given = list(args[0]) if args and args[0] is not None else kwargs.get("args") or sys.argv[1:]
        try:
            code = super().main(*args, **kwargs)
        except typer.exceptions.TyperException as error:
            code = output.USAGE
            if type(error).__name__ == "NoArgsIsHelpError":
                # Its message is the whole help; Typer offers no public name for it.
                output.err.print(error.format_message(), markup=False)
            elif asks_json(given):
                remedy = f"See `{_command(error, self, given)} --help`."
                output.print_error(InvalidArgument(_sentence(error), reason="USAGE", remedy=remedy), as_json=True)
            else:
                output.say_error(f"{_sentence(error)} See `{_command(error, self, given)} --help`.")
        except typer.Abort:
            code = output.INTERRUPTED
        except SystemExit:
            # So ends a help whose reader has gone, as `head` does; a command's own output sees `invoke`.
            code = output.OK
        sys.exit(code if isinstance(code, int) else output.OK)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except FiveshotError as error:
            raise typer.Exit(self._tell(ctx, error)) from error
        except DomainError as error:
            # Of what the gateway does on this machine; the same kinds under other names.
            raise typer.Exit(self._tell(ctx, errors.from_status(grpc_errors.to_proto(error)))) from error
        except FolderBusyError as error:
            remedy = "Stop it with `fiveshot down`, or use another --data."
            raise typer.Exit(
                self._tell(ctx, FailedPrecondition(str(error), reason="STACK_RUNNING", remedy=remedy))
            ) from error
        except StackError as error:
            raise typer.Exit(self._tell(ctx, Internal(str(error), reason="STACK_FAILED"))) from error
        except BrokenPipeError as error:
            # The reader of our output has gone, as `head` does; Python would complain once more at its exit.
            sys.stdout = None
            raise typer.Exit(output.OK) from error
        except OSError as error:
            text = f"{error.strerror or error}{': ' + str(error.filename) if error.filename else ''}"
            remedy = _REMEDIES.get(error.errno or 0, "")
            raise typer.Exit(self._tell(ctx, Internal(text, reason="SYSTEM", remedy=remedy))) from error
        except KeyboardInterrupt as error:
            output.err.print("Interrupted.")
            raise typer.Exit(output.INTERRUPTED) from error
        except (typer.Exit, typer.Abort, typer.exceptions.TyperException):
            raise
        except Exception as error:
            if os.environ.get("FIVESHOT_DEBUG"):
                raise
            fault = " ".join(f"{type(error).__name__} {error}".split())
            text = f"This is a fault of fiveshot itself: {fault}"
            told = Internal(text, reason="FAULT", remedy="FIVESHOT_DEBUG=1 shows where.")
            raise typer.Exit(self._tell(ctx, told)) from error
        finally:
            if isinstance(ctx.obj, Session):
                ctx.obj.close()

    @staticmethod
    def _tell(ctx: Any, error: FiveshotError) -> int:
        if isinstance(ctx.obj, Session):
            error = lookup.with_suggestion(ctx.obj, error)
        output.print_error(error, as_json=isinstance(ctx.obj, Session) and ctx.obj.json)
        return output.exit_code(error)


def _command(error: Any, group: Any, args: list[str]) -> str:
    """The command in which a mistake was made; the parser of options does not say, so it is read from the arguments."""
    if getattr(error, "ctx", None):
        return str(error.ctx.command_path)
    path = ["fiveshot"]
    for word in hoist(args):
        if word in getattr(group, "commands", {}):
            group = group.commands[word]
            path.append(word)
    return " ".join(path)


def _sentence(error: Any) -> str:
    """A mistake in the command line as one sentence."""
    text = " ".join(error.format_message().split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def asks_json(args: list[str]) -> bool:
    """Whether --json stands among the arguments."""
    return "--json" in (args[: args.index("--")] if "--" in args else args)


def hoist(args: list[str]) -> list[str]:
    """The arguments with all global options first; what follows `--` stays as it is."""
    first: list[str] = []
    rest: list[str] = []
    left = iter(args)
    for argument in left:
        if argument == "--":
            rest += [argument, *left]
        elif argument in _GLOBAL_FLAGS or (argument.partition("=")[0] in _GLOBAL_OPTIONS and "=" in argument):
            first.append(argument)
        elif argument in _GLOBAL_OPTIONS:
            first += [argument, *list(islice(left, 1))]
        else:
            rest.append(argument)
    return first + rest


app = typer.Typer(
    name="fiveshot",
    cls=ErrorsBecomeExitCodes,
    help="Five photos in, your own image model out.",
    epilog=(
        "Exit codes: 0 done, 1 the job or the server failed, 2 wrong usage or argument, 3 not found, 4 not allowed, "
        "5 not reachable, 6 not possible in the present state, 7 over a limit, 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _told_version(asked: bool) -> None:
    if asked:
        output.say(release())
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    server: Annotated[
        str,
        typer.Option(envvar="FIVESHOT_SERVER", help="Gateway, host:port or https://host:port; default: local stack."),
    ] = "",
    api_key: Annotated[str, typer.Option(envvar="FIVESHOT_API_KEY", help="API key for the gateway.")] = "",
    project: Annotated[str, typer.Option(envvar="FIVESHOT_PROJECT", help="Project that ids belong to.")] = "",
    ca_file: Annotated[Path | None, typer.Option(envvar="FIVESHOT_CA_FILE", help="CA certificates for https.")] = None,
    data: Annotated[
        Path | None, typer.Option(envvar="FIVESHOT_DATA", help="Data folder of the local stack.", file_okay=False)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    trace: Annotated[
        bool, typer.Option("--trace", help="Have all calls recorded as one trace; prints its id to stderr.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_told_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Five photos in, your own image model out. These options may appear anywhere in a command."""
    ctx.obj = Session(server, api_key, project, json, ca_file, data or default_data_folder())
    if trace:
        trace_id = secrets.token_hex(16)
        ctx.obj.traceparent = f"00-{trace_id}-{secrets.token_hex(8)}-01"
        output.err.print(f"Trace {trace_id}", highlight=False)


def tell_version(ctx: typer.Context) -> None:
    """Print the version."""
    output.print_json({"version": release()}) if ctx.obj.json else output.say(release())


app.add_typer(dataset.app, name="dataset", rich_help_panel=_MAKE)
app.add_typer(train.app, name="train", rich_help_panel=_MAKE)
app.add_typer(epochs.app, name="epochs", rich_help_panel=_MAKE)
app.add_typer(models.app, name="models", rich_help_panel=_MAKE)
app.add_typer(previews.app, name="previews", rich_help_panel=_MAKE)
app.add_typer(base_models.app, name="base-models", rich_help_panel=_MAKE)
app.add_typer(taggers.app, name="taggers", rich_help_panel=_MAKE)
app.add_typer(tag_jobs.app, name="tag-jobs", rich_help_panel=_MAKE)
app.command("up", rich_help_panel=_RUN)(stack.up)
app.command("down", rich_help_panel=_RUN)(stack.down)
app.command("status", rich_help_panel=_RUN)(stack.status)
app.command("workers", rich_help_panel=_RUN)(workers.workers)
app.command("console", rich_help_panel=_RUN)(console.console)
app.command("doctor", rich_help_panel=_RUN)(doctor.doctor)
app.command("demo", rich_help_panel=_RUN)(demo.demo)
app.add_typer(keys.app, name="keys", rich_help_panel=_REST)
app.add_typer(project.app, name="project", rich_help_panel=_REST)
app.add_typer(events.app, name="events", rich_help_panel=_REST)
app.add_typer(webhooks.app, name="webhooks", rich_help_panel=_REST)
app.command("usage", rich_help_panel=_REST)(usage.usage)
app.command("audit-log", rich_help_panel=_REST)(audit_log.audit_log)
app.command("version", rich_help_panel=_REST)(tell_version)


def main() -> None:
    """Entry point of the `fiveshot` script. SIGTERM ends it as Ctrl-C does: what was begun is put away."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.errors_only()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A name or a sign that the terminal's encoding lacks is no reason to end.
            stream.reconfigure(errors="backslashreplace")
    app.rich_markup_mode = markup_mode()
    app(prog_name="fiveshot")


if __name__ == "__main__":
    main()
