"""Files up and down: pictures in checked chunks, artifacts verified against their digest before they get their name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import grpc
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from gateway.cli import output
from gateway.cli.folders import Picture
from gateway.cli.requests import new_request_id, repeated
from gateway.cli.session import Session
from services.chassis.errors import AlreadyExists, DataLoss, DomainError, FailedPrecondition, InvalidArgument
from services.chassis.picture_folders import EXTENSIONS, stored_name

T = TypeVar("T")
CHUNK_BYTES = 256 * 1024
DUPLICATE = "IMAGE_DUPLICATE"


class Chunk(Protocol):
    """A message of a download."""

    @property
    def chunk(self) -> bytes:
        """The next bytes."""
        ...


@dataclass(frozen=True)
class Refusal:
    """A picture that was not taken, and why."""

    path: Path
    error: DomainError

    def as_json(self) -> dict[str, str]:
        """The form that `--json` prints."""
        error = self.error
        return {"file": str(self.path), "reason": error.reason, "message": error.message, "remedy": error.remedy}


@dataclass
class Upload:
    """What became of an upload. present: what the dataset held already, so that an upload can be repeated.

    updated: those of them whose caption or repeats were changed; differing: those where they could be.
    """

    images: list[dataset_pb2.Image] = field(default_factory=list)
    present: list[Path] = field(default_factory=list)
    updated: list[Path] = field(default_factory=list)
    differing: list[Path] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The form that `--json` prints."""
        return {
            "images": [output.to_json(image) for image in self.images],
            "present": [str(path) for path in self.present],
            "updated": [str(path) for path in self.updated],
            "differing": [str(path) for path in self.differing],
            "refused": [each.as_json() for each in self.refused],
        }


@dataclass(frozen=True)
class Saved:
    """A file that was written."""

    path: Path
    size: int
    sha256: str

    def as_json(self) -> dict[str, Any]:
        """The form that `--json` prints."""
        return {"path": str(self.path), "sizeBytes": self.size, "sha256": self.sha256}


def upload_pictures(
    session: Session, dataset: str, files: Sequence[Picture], *, update_present: bool = False
) -> Upload:
    """Uploads pictures in order, one after the other, so that the dataset's order is the given one.

    update_present: give pictures that are there already the caption and the repeats that they have here.

    A picture that the service refuses is named on stderr and the next one goes on; an error that would meet every
    picture (no access, no dataset, nothing reachable) is raised.
    """
    result = Upload()
    total = sum(picture.path.stat().st_size for picture in files)
    text, speed = TextColumn("{task.description}"), TransferSpeedColumn()
    columns = (text, BarColumn(), DownloadColumn(), speed, TimeRemainingColumn())
    quiet = session.json or not output.err.is_terminal
    with Progress(*columns, console=output.err, transient=True, disable=quiet) as progress:
        bar = progress.add_task("uploading", total=total)
        for picture in files:
            file = picture.path
            progress.update(bar, description=file.name[:40])
            before = progress.tasks[bar].completed
            try:
                result.images.append(_upload(session, dataset, picture, lambda n: progress.advance(bar, n)))
            except (grpc.RpcError, DomainError) as error:
                refusal = error if isinstance(error, DomainError) else output.to_domain_error(error)
                if not _concerns_picture(refusal):
                    raise
                if refusal.reason == DUPLICATE:
                    result.present.append(file)
                    _present(session, picture, refusal, result, update_present)
                else:
                    result.refused.append(Refusal(file, refusal))
                    if not session.json:
                        output.say_error(f"{file}: {output.describe(refusal)}")
            progress.update(bar, completed=before + file.stat().st_size)
    return result


def sent_file(session: Session, file: Path, call: Callable[[Callable[[int], object]], T]) -> T:
    """What `call` answers, with progress on a terminal; a call whose line broke is made again.

    call: is given what tells how many bytes have been sent. It must carry its request_id.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    quiet = session.json or not output.err.is_terminal
    with Progress(*columns, console=output.err, transient=True, disable=quiet) as progress:
        bar = progress.add_task(file.name[:40], total=file.stat().st_size)
        return repeated(lambda: call(lambda sent: progress.update(bar, completed=sent)))


def file_pieces(file: Path, sent: Callable[[int], object]) -> Iterator[bytes]:
    """A file in pieces. sent: is told how many bytes have gone."""
    with file.open("rb") as opened:
        while data := opened.read(CHUNK_BYTES):
            yield data
            sent(opened.tell())


def download(chunks: Iterable[Chunk], path: Path, *, sha256: str = "", force: bool = False) -> Saved:
    """Writes a stream to a file. It gets its name only when complete and, with a digest given, right.

    Raises AlreadyExists (without `force`), DataLoss when the digest differs.
    """
    if path.exists() and not force:
        raise AlreadyExists(f"{path} already exists", remedy="Choose another name with --to, or use --force.")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    running, size = hashlib.sha256(), 0
    try:
        with partial.open("wb") as file:
            for message in chunks:
                running.update(message.chunk)
                size += file.write(message.chunk)
        if sha256 and running.hexdigest() != sha256:
            remedy = "Download it again; if it persists, report it."
            raise DataLoss(f"{path} did not arrive as it was stored", remedy=remedy)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return Saved(path, size, running.hexdigest())


def _upload(session: Session, dataset: str, picture: Picture, advance: Any) -> dataset_pb2.Image:
    file = picture.path
    suffix = file.suffix.lower()
    if suffix not in EXTENSIONS:
        raise InvalidArgument(
            f"{file.suffix or 'A file without extension'} is not a type that Fiveshot takes",
            field="file_name", reason="IMAGE_TYPE_UNSUPPORTED", remedy="Convert it to PNG or JPEG.",
        )  # fmt: skip
    if not file.name.isprintable():
        raise InvalidArgument(
            "The file's name holds signs that are no text", field="file_name", reason="FILE_NAME_INVALID",
            remedy="Rename the file.",
        )  # fmt: skip
    data = _bytes(file)
    header = pb.UploadImageHeader(
        parent=dataset, file_name=stored_name(file), size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(), caption=picture.text(), request_id=new_request_id(),
    )  # fmt: skip
    image = repeated(lambda: session.dataset.UploadImage(_requests(header, data, advance)))
    own = _own_fields(picture)
    return _update(session, dataset_pb2.Image(name=image.name, **own), list(own)) if own else image


def _present(session: Session, picture: Picture, refusal: DomainError, result: Upload, update: bool) -> None:
    """A picture that the dataset holds already: what differs is changed, or named so that it can be."""
    name, text = refusal.metadata.get("image", ""), picture.text()
    given, paths = _own_fields(picture) | ({"caption": text} if text else {}), []
    if name and given:
        held = session.dataset.GetImage(pb.GetImageRequest(name=name))
        paths = sorted(path for path, value in given.items() if value != getattr(held, path))
    said = f"{picture.path}: {refusal.message}"
    if paths and update:
        _update(session, dataset_pb2.Image(name=name, **given), paths)
        result.updated.append(picture.path)
        said += f"; {_and(paths)} updated"
    elif paths:
        result.differing.append(picture.path)
        said += f", with another {_and(paths)}"
    if not session.json:
        output.note(f"{said}.")


def _own_fields(picture: Picture) -> dict[str, Any]:
    """What its folder says of it, besides its caption."""
    fields: dict[str, Any] = {"num_repeats": picture.repeats} if picture.repeats else {}
    if picture.crop:
        left, top, right, bottom = picture.crop
        fields["crop"] = dataset_pb2.Crop(left=left, top=top, right=right, bottom=bottom)
    return fields


def _and(paths: Sequence[str]) -> str:
    return " and ".join({"num_repeats": "number of repeats"}.get(path, path) for path in paths)


def _update(session: Session, image: dataset_pb2.Image, paths: Sequence[str]) -> dataset_pb2.Image:
    return session.dataset.UpdateImage(pb.UpdateImageRequest(image=image, update_mask=FieldMask(paths=paths)))


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"{file.name} cannot be read: {error.strerror}", reason="FILE_UNREADABLE", remedy="Check its permissions."
        ) from error


def _requests(header: pb.UploadImageHeader, data: bytes, advance: Any) -> Iterator[pb.UploadImageRequest]:
    yield pb.UploadImageRequest(header=header)
    for start in range(0, len(data), CHUNK_BYTES):
        chunk = data[start : start + CHUNK_BYTES]
        yield pb.UploadImageRequest(chunk=chunk)
        advance(len(chunk))


def _concerns_picture(error: DomainError) -> bool:
    """Whether the error is about this picture, so that the next one may do better."""
    if error.reason.startswith(("IMAGE_", "REQUEST_INVALID")):
        return True
    return isinstance(error, InvalidArgument | AlreadyExists | FailedPrecondition)
