"""Zip archives of pictures: up into a dataset as they are, and a frozen version down as one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from google.api.httpbody_pb2 import HttpBody

from gateway.cli import output
from gateway.cli.dataset import VERSIONS, Dataset, app
from gateway.cli.folders import Found, PassedOver
from gateway.cli.requests import new_request_id
from gateway.cli.session import Session
from gateway.cli.transfer import DUPLICATE, Refusal, Upload, download, file_pieces, sent_file
from services.chassis import grpc_errors
from services.chassis.errors import InvalidArgument, NotFound
from services.chassis.picture_folders import Why

_WHY = {
    pb.PassedOver.REASON_HIDDEN: Why.HIDDEN,
    pb.PassedOver.REASON_NO_PICTURE: Why.OTHER,
    pb.PassedOver.REASON_CAPTION_WITHOUT_PICTURE: Why.CAPTION,
    pb.PassedOver.REASON_LINE_WITHOUT_PICTURE: Why.LINE,
}


class Layout(StrEnum):
    """How the pictures lie in an exported archive."""

    KOHYA = "kohya"
    IMAGEFOLDER = "imagefolder"


def is_archive(path: Path) -> bool:
    """Whether a path is a zip archive by its name."""
    return path.suffix.lower() == ".zip" and path.is_file()


def upload_archives(
    session: Session, dataset: str, archives: Sequence[Path], found: Found, result: Upload, *,
    captions: bool, folder_repeats: bool,
) -> None:  # fmt: skip
    """Uploads archives, each in one call, and adds what became of their pictures to `found` and `result`."""
    for archive in archives:
        first = pb.ImportImagesRequest(
            parent=dataset, ignore_captions=not captions, ignore_folder_repeats=not folder_repeats,
            request_id=new_request_id(),
        )  # fmt: skip
        _add(session, archive, _imported(session, archive, first), found, result)


def _imported(session: Session, archive: Path, first: pb.ImportImagesRequest) -> pb.ImportImagesResponse:
    def requests(sent: Callable[[int], object]) -> Iterator[pb.ImportImagesRequest]:
        yield first
        for data in file_pieces(archive, sent):
            yield pb.ImportImagesRequest(content=HttpBody(data=data))

    return sent_file(session, archive, lambda sent: session.dataset.ImportImages(requests(sent)))


def _add(session: Session, archive: Path, answer: pb.ImportImagesResponse, found: Found, result: Upload) -> None:
    for one in answer.results:
        path = archive / one.file_name
        if one.WhichOneof("outcome") == "image":
            result.images.append(one.image)
            continue
        error = grpc_errors.from_proto(one.error)
        if error.reason == DUPLICATE:
            result.present.append(path)
        else:
            result.refused.append(Refusal(path, error))
        if not session.json:
            tell = output.note if error.reason == DUPLICATE else output.say_error
            tell(f"{path}: {output.describe(error)}")
    for each in answer.passed_over:
        found.passed_over.append(PassedOver(archive / each.path, _WHY.get(each.reason, Why.OTHER)))
    found.words += [words for words in answer.subjects if words not in found.words]


@app.command(rich_help_panel=VERSIONS)
def export(
    ctx: typer.Context,
    dataset: Dataset,
    version: Annotated[int | None, typer.Argument(min=1, help="Number of the version; the newest by default.")] = None,
    layout: Annotated[Layout, typer.Option(help="How the pictures lie in the archive.")] = Layout.KOHYA,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="Output file; defaults to a name of its own.")] = None,
    force: Annotated[bool, typer.Option(help="Overwrite an existing file.")] = False,
) -> None:
    """Download a frozen version as a zip archive: originals, final texts, repeats, crops."""
    session: Session = ctx.obj
    name = session.name("datasets", dataset)
    if "/versions/" in name:
        if version is not None:
            raise InvalidArgument("The version was given twice", field="version", remedy="Give it once.")
        name, _, number = name.partition("/versions/")
        version = int(number) if number.isdecimal() else None
    version = version or _newest(session, name)
    request = pb.ExportDatasetVersionRequest(name=f"{name}/versions/{version}", layout=layout)
    bodies = session.dataset.ExportDatasetVersion(request)
    path = to or Path(f"{output.short(name)}-v{version}-{layout}.zip")
    saved = download((pb.DownloadImageResponse(chunk=body.data) for body in bodies), path, force=force)
    output.print_json(saved.as_json()) if session.json else output.say(f"{saved.path} ({output.size(saved.size)})")


def _newest(session: Session, dataset: str) -> int:
    request = pb.ListDatasetVersionsRequest(parent=dataset, page_size=1)
    for version in session.dataset.ListDatasetVersions(request).versions:
        return int(version.name.rpartition("/")[2])
    remedy = f"Freeze it first: fiveshot dataset freeze {output.short(dataset)}"
    raise NotFound(f"{dataset} has no version", reason="RESOURCE_NOT_FOUND", remedy=remedy)
