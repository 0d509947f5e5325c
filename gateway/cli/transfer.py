"""Files up and down: pictures in checked chunks, artifacts verified against their digest before they get their name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from gateway.cli import output
from gateway.cli.session import Session
from services.chassis.errors import AlreadyExists, DataLoss, DomainError, FailedPrecondition, InvalidArgument, NotFound

EXTENSIONS = (".png", ".jpg", ".jpeg")
# Files that are pictures to a person; in a folder they are named as refused, while others are passed over.
_OTHER_PICTURES = (".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".svg", ".jxl", ".raw", ".cr2")
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
    """What became of an upload. present: what the dataset held already, so that an upload can be repeated."""

    images: list[dataset_pb2.Image] = field(default_factory=list)
    present: list[Path] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The form that `--json` prints."""
        return {
            "images": [output.to_json(image) for image in self.images],
            "present": [str(path) for path in self.present],
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


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files to upload: each file given, and from each folder what is a picture, by name. Raises NotFound."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
            pictures = [p for p in inside if p.suffix.lower() in (*EXTENSIONS, *_OTHER_PICTURES)]
            if not pictures:
                raise NotFound(f"There is no picture in {path}", remedy=f"Fiveshot takes {', '.join(EXTENSIONS)}.")
            found += pictures
        elif path.exists():
            found.append(path)
        else:
            raise NotFound(f"There is no file {path}", remedy="Check the path.")
    return found


def upload_pictures(session: Session, dataset: str, files: Sequence[Path], *, captions: bool = True) -> Upload:
    """Uploads pictures in order, one after the other, so that the dataset's order is the given one.

    A picture that the service refuses is named on stderr and the next one goes on; an error that would meet every
    picture (no access, no dataset, nothing reachable) is raised.
    """
    result = Upload()
    total = sum(file.stat().st_size for file in files)
    text, speed = TextColumn("{task.description}"), TransferSpeedColumn()
    columns = (text, BarColumn(), DownloadColumn(), speed, TimeRemainingColumn())
    quiet = session.json or not output.err.is_terminal
    with Progress(*columns, console=output.err, transient=True, disable=quiet) as progress:
        bar = progress.add_task("uploading", total=total)
        for file in files:
            progress.update(bar, description=file.name[:40])
            before = progress.tasks[bar].completed
            try:
                result.images.append(_upload(session, dataset, file, captions, lambda n: progress.advance(bar, n)))
            except (grpc.RpcError, DomainError) as error:
                refusal = error if isinstance(error, DomainError) else output.to_domain_error(error)
                if not _concerns_picture(refusal):
                    raise
                if refusal.reason == DUPLICATE:
                    result.present.append(file)
                    if not session.json:
                        output.note(f"{file}: {refusal.message}.")
                else:
                    result.refused.append(Refusal(file, refusal))
                    if not session.json:
                        output.say_error(f"{file}: {output.describe(refusal)}")
            progress.update(bar, completed=before + file.stat().st_size)
    return result


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


def _upload(session: Session, dataset: str, file: Path, captions: bool, advance: Any) -> dataset_pb2.Image:
    if file.suffix.lower() not in EXTENSIONS:
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
    caption = read_caption(file) if captions else ""
    digest = hashlib.sha256(data).hexdigest()
    header = pb.UploadImageHeader(
        parent=dataset, file_name=file.name, size_bytes=len(data), sha256=digest, caption=caption
    )
    return session.dataset.UploadImage(_requests(header, data, advance))


def read_caption(picture: Path) -> str:
    """What NAME.txt beside a picture says; empty without one. Raises InvalidArgument(reason=CAPTION_UNREADABLE)."""
    file = picture.with_suffix(".txt")
    if not file.is_file():
        return ""
    try:
        return _bytes(file).decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"Its caption {file.name} is not UTF-8 text", field="caption", reason="CAPTION_UNREADABLE",
            remedy="Save the file as UTF-8, or use --no-captions.",
        ) from error  # fmt: skip


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
