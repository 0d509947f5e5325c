# Made of fiveshot/aio/transfer.py by tools/sync_client.py; change that file.
"""Files up and down: pictures in parallel and in order, files checked against their digest before they get a name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiveshot import errors
from fiveshot.connection import new_request_id
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.folders import Picture
from fiveshot.layouts import EXTENSIONS, own_remedy, stored_name
from fiveshot.sync import platform
from fiveshot.sync.calls import Channel, Stubs
from fiveshot.sync.masks import upload_mask
from fiveshot.transfers import Refusal, Saved, Upload, UploadProgress
from google.protobuf.field_mask_pb2 import FieldMask

CHUNK_BYTES = 256 * 1024
DUPLICATE = "IMAGE_DUPLICATE"

OnProgress = Callable[[UploadProgress], None]


@dataclass
class Outcome:
    """What became of one picture. held: its image was there already, under the name held_as; differing: what it has
    otherwise. mask_error: of its mask, while the picture itself is stored."""

    image: dataset_pb2.Image | None = None
    held: bool = False
    held_as: str = ""
    differing: list[str] = field(default_factory=list)
    updated: bool = False
    error: errors.FiveshotError | None = None
    mask_error: errors.FiveshotError | None = None


class Uploader:
    """Uploads pictures to one dataset.

    parallel: so many at once. keep_order: each is completed after the one before it, so that the dataset's order is the
    given one; their bytes travel side by side all the same. update_present: give pictures that are there already the
    caption and the repeats that they have here. on_progress: called by one thread at a time.
    """

    def __init__(
        self,
        stubs: Stubs,
        dataset: str,
        *,
        parallel: int = 4,
        keep_order: bool = True,
        update_present: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        self._stubs, self._dataset = stubs, dataset
        self._parallel, self._keep_order, self._update_present = parallel, keep_order, update_present
        self._on_progress = on_progress
        self._moving = platform.Lock()
        self._sent, self._done = 0, 0

    def upload(self, pictures: Sequence[Picture]) -> Upload:
        """Uploads them all. A refused one is in the result and the others go on.

        Raises an error that would meet every picture: no access, no dataset, nothing reachable.
        """
        self._total_files = len(pictures)
        self._total_bytes = sum(_size(picture.path) for picture in pictures)
        outcomes = [Outcome() for _ in pictures]
        turns = [platform.Event() for _ in range(len(pictures) + 1)]
        turns[0].set()

        def one(number: int) -> None:
            try:
                before = turns[number] if self._keep_order else turns[0]
                outcomes[number] = self._one(pictures[number], before)
            finally:
                turns[number + 1].set()
            self._moved(pictures[number].path, 0, done=True)

        platform.each(range(len(pictures)), one, max(1, min(self._parallel, len(pictures))))
        return _result(pictures, outcomes)

    def _one(self, picture: Picture, before: platform.Event) -> Outcome:
        try:
            outcome = Outcome(image=self._send(picture, before))
        except errors.FiveshotError as error:
            if not _concerns_picture(error):
                raise
            return self._present(picture, error) if error.reason == DUPLICATE else Outcome(error=error)
        if picture.mask is not None and outcome.image is not None:
            try:
                outcome.image = upload_mask(self._stubs, outcome.image.name, picture.mask)
            except errors.FiveshotError as error:
                if not _concerns_picture(error):
                    raise
                outcome.mask_error = error
        return outcome

    def _send(self, picture: Picture, before: platform.Event) -> dataset_pb2.Image:
        file_name = _file_name(picture.path)
        caption = picture.text()
        try:
            data = platform.read_bytes(picture.path)
        except OSError as error:
            raise errors.InvalidArgument(
                f"{picture.path.name} cannot be read: {error.strerror}", field="file_name", reason="FILE_UNREADABLE",
                remedy="Check its permissions.",
            ) from None  # fmt: skip
        header = pb.UploadImageHeader(
            parent=self._dataset, file_name=file_name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest(),
            caption=caption, request_id=new_request_id(),
        )  # fmt: skip
        attempts = 0

        def once(left: float | None) -> Any:
            nonlocal attempts
            attempts += 1
            return self._stubs.dataset.UploadImage(self._requests(picture.path, header, data, before, attempts))

        image: dataset_pb2.Image = self._stubs.channel.repeated(once)
        own = _own_fields(picture)
        return self._update(dataset_pb2.Image(name=image.name, **own), list(own)) if own else image

    def _requests(
        self, path: Path, header: pb.UploadImageHeader, data: bytes, before: platform.Event, attempt: int
    ) -> Iterator[pb.UploadImageRequest]:
        yield pb.UploadImageRequest(header=header)
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = data[start : start + CHUNK_BYTES]
            if start + CHUNK_BYTES >= len(data):
                # The last bytes complete the picture; it is not its turn before that of the one before it has come.
                before.wait()
            yield pb.UploadImageRequest(chunk=chunk)
            if attempt == 1:
                self._moved(path, len(chunk))

    def _present(self, picture: Picture, refusal: errors.FiveshotError) -> Outcome:
        """A picture that the dataset holds already: what differs is changed, or named so that it can be."""
        name, text = refusal.metadata.get("image", ""), picture.text()
        given = _own_fields(picture) | ({"caption": text} if text else {})
        paths: list[str] = []
        if name and given:
            held = self._stubs.dataset.GetImage(pb.GetImageRequest(name=name))
            paths = sorted(path for path, value in given.items() if value != getattr(held, path))
        if paths and self._update_present:
            self._update(dataset_pb2.Image(name=name, **given), paths)
        held_as = refusal.metadata.get("file_name", "")
        return Outcome(held=True, held_as=held_as, differing=paths, updated=bool(paths) and self._update_present)

    def _update(self, image: dataset_pb2.Image, paths: Sequence[str]) -> dataset_pb2.Image:
        request = pb.UpdateImageRequest(image=image, update_mask=FieldMask(paths=paths))
        return self._stubs.dataset.UpdateImage(request)

    def _moved(self, path: Path, count: int, *, done: bool = False) -> None:
        with self._moving:
            self._sent += count
            self._done += int(done)
            if self._on_progress:
                self._on_progress(
                    UploadProgress(path, self._sent, self._total_bytes, self._done, self._total_files)
                )  # fmt: skip


def save(
    channel: Channel, start: Callable[[], Iterable[Any]], to: str | os.PathLike[str] | None, *,
    name: str = "", sha256: str = "", overwrite: bool = True,
) -> Saved:  # fmt: skip
    """Writes a download to a file, which gets its name only when it is complete and its digest is right.

    start: begins the stream; it is begun again when its connection is lost. to: a file, or a folder; None is the
    working folder. name: of the file in a folder, where the server names none. Raises AlreadyExists (without
    `overwrite`), DataLoss when the digest differs.
    """

    def once(left: float | None) -> Saved:
        return _save(start, None if to is None else Path(to), name, sha256, overwrite)

    return channel.repeated(once)


def content(channel: Channel, start: Callable[[], Iterable[Any]], *, sha256: str = "") -> bytes:
    """A whole download. Raises DataLoss when its digest differs."""

    def once(left: float | None) -> bytes:
        parts, digest = [], sha256
        for message in start():
            digest = digest or _file_of(message).get("sha256", "")
            parts.append(_bytes_of(message))
        data = b"".join(parts)
        _check(hashlib.sha256(data).hexdigest(), digest, "The file")
        return data

    return channel.repeated(once)


def _save(start: Callable[[], Iterable[Any]], to: Path | None, name: str, sha256: str, overwrite: bool) -> Saved:
    path: Path | None = None
    partial: Path | None = None
    running, size = hashlib.sha256(), 0
    file: Any = None
    try:
        for message in start():
            if path is None:
                about = _file_of(message)
                sha256 = sha256 or about.get("sha256", "")
                path = _place(to, name or about.get("file_name", ""), overwrite)
                partial = path.with_name(path.name + ".partial")
                file = partial.open("wb")
            data = _bytes_of(message)
            running.update(data)
            size += file.write(data)
        if path is None or partial is None:
            raise errors.NotFound("The file holds no data", reason="FILE_EMPTY", remedy="List what files there are.")
        file.close()
        _check(running.hexdigest(), sha256, str(path))
        os.replace(partial, path)
        return Saved(path, size, running.hexdigest())
    finally:
        if file is not None:
            file.close()
        if partial is not None:
            partial.unlink(missing_ok=True)


def _place(to: Path | None, name: str, overwrite: bool) -> Path:
    # A server names a file, never where it goes.
    own = Path(name).name or "download"
    path = Path(own) if to is None else to / own if to.is_dir() else to
    if path.exists() and not overwrite:
        raise errors.AlreadyExists(
            f"{path} already exists", field="to", reason="FILE_EXISTS", remedy="Choose another name, or overwrite it."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _check(found: str, wanted: str, what: str) -> None:
    if wanted and found != wanted:
        raise errors.DataLoss(
            f"{what} did not arrive as it was stored", reason="DIGEST_DIFFERS",
            remedy="Download it again; if it persists, report it.",
        )  # fmt: skip


def _bytes_of(message: Any) -> bytes:
    """The next bytes: of a download, or of a google.api.HttpBody."""
    data: bytes = message.data if "data" in message.DESCRIPTOR.fields_by_name else message.chunk
    return data


def _file_of(message: Any) -> dict[str, str]:
    """Name and digest, where the stream's messages carry them."""
    if "file" not in message.DESCRIPTOR.fields_by_name or not message.HasField("file"):
        return {}
    return {"file_name": message.file.file_name, "sha256": message.file.sha256}


def _file_name(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in EXTENSIONS:
        raise errors.InvalidArgument(
            f"{path.suffix or 'A file without extension'} is not a type that Fiveshot takes",
            field="file_name", reason="IMAGE_TYPE_UNSUPPORTED",
            remedy=own_remedy(suffix) or "Convert it to PNG or JPEG.",
        )  # fmt: skip
    if not path.name.isprintable():
        raise errors.InvalidArgument(
            "The file's name holds signs that are no text", field="file_name", reason="FILE_NAME_INVALID",
            remedy="Rename the file.",
        )  # fmt: skip
    return stored_name(path)


def _own_fields(picture: Picture) -> dict[str, Any]:
    """What its folder says of it, besides its caption."""
    fields: dict[str, Any] = {"num_repeats": picture.repeats} if picture.repeats else {}
    if picture.crop:
        left, top, right, bottom = picture.crop
        fields["crop"] = dataset_pb2.Crop(left=left, top=top, right=right, bottom=bottom)
    return fields


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _result(pictures: Sequence[Picture], outcomes: Sequence[Outcome]) -> Upload:
    result = Upload()
    for picture, outcome in zip(pictures, outcomes, strict=True):
        if outcome.error is not None:
            result.refused.append(Refusal(picture.path, outcome.error))
        elif outcome.image is not None:
            result.images.append(outcome.image)
            if outcome.mask_error is not None and picture.mask is not None:
                result.refused.append(Refusal(picture.mask, outcome.mask_error))
        elif outcome.held:
            result.present.append(picture.path)
            result.held_as[picture.path] = outcome.held_as
            if outcome.updated:
                result.updated.append(picture.path)
            elif outcome.differing:
                result.differing[picture.path] = outcome.differing
    return result


def _concerns_picture(error: errors.FiveshotError) -> bool:
    """Whether the error is about this picture, so that the next one may do better."""
    if error.reason.startswith(("IMAGE_", "REQUEST_INVALID")):
        return True
    return isinstance(error, errors.InvalidArgument | errors.AlreadyExists | errors.FailedPrecondition)
