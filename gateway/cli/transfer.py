"""An upload at the command line: a bar while it runs, a line for what needs one, and its form as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fiveshot.folders import Picture
from fiveshot.sync.transfer import Uploader
from fiveshot.transfers import Upload, UploadProgress, named
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from gateway.cli import output
from gateway.cli.session import Session


def upload_pictures(
    session: Session, dataset: str, files: Sequence[Picture], *, update_present: bool = False
) -> Upload:
    """Uploads pictures side by side, in the given order; a refused one is in the result and the others go on.

    update_present: give pictures that are there already the caption and the repeats that they have here.
    Raises an error that would meet every picture (no access, no dataset, nothing reachable).
    """
    with sending(session) as show:
        uploader = Uploader(session.stubs, dataset, update_present=update_present, on_progress=show)
        return uploader.upload(files)


@contextmanager
def sending(session: Session) -> Iterator[Callable[[UploadProgress], None]]:
    """A bar on a terminal, for what it is given."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    quiet = session.json or not output.err.is_terminal
    with Progress(*columns, console=output.err, transient=True, disable=quiet) as progress:
        bar = progress.add_task("uploading", total=None)

        def show(now: UploadProgress) -> None:
            progress.update(bar, description=now.file.name[:40], completed=now.sent_bytes, total=now.total_bytes)

        yield show


def as_json(result: Upload) -> dict[str, Any]:
    """The form that `--json` prints."""
    why = [(each.path, each.error) for each in result.refused]
    return {
        "images": [output.to_json(image) for image in result.images],
        "present": [str(path) for path in result.present],
        "heldAs": {str(path): name for path, name in result.held_as.items()},
        "updated": [str(path) for path in result.updated],
        "differing": [str(path) for path in result.differing],
        "refused": [
            {"file": str(path), "reason": error.reason, "message": error.message, "remedy": error.remedy}
            for path, error in why
        ],
    }


def tell(result: Upload) -> None:
    """Names on stderr what was there already, and what was refused."""
    for path in result.present:
        said = f"{path}: The dataset already holds this picture"
        held_as = result.held_as.get(path, "")
        if held_as not in ("", path.name):
            said += f", as {held_as}"
        if path in result.updated:
            said += "; updated"
        elif path in result.differing:
            said += f", with another {named(result.differing[path])}"
        output.note(f"{said}.")
    for each in result.refused:
        output.say_error(f"{each.path}: {output.describe(each.error)}")
