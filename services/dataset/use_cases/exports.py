"""A frozen version as a zip archive: the originals with their final texts, as the common tools lay them out.

Nothing is deflated, since pictures are, so the length is known before the first byte and memory holds one chunk.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import astuple, dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from zipfile import ZipFile, ZipInfo

from fiveshot.layouts import METADATA

from services.chassis.budgets import DOWNLOADS, UNLIMITED, AtOnce
from services.chassis.listing.pages import ListRequest
from services.dataset.models.names import VersionRef
from services.dataset.models.resources import DatasetVersion, VersionImage
from services.dataset.use_cases.images import Download, ImageVerbs, View
from services.dataset.use_cases.versions import VersionVerbs

_PAGE = 1000
_MASKS = "masks"
_NO_FILE_NAME = '<>:"/\\|?*'
"""What some systems do not let a file be called."""
_LOCAL_BYTES, _DESCRIPTOR_BYTES, _CENTRAL_BYTES, _END_BYTES = 30, 16, 46, 22
_LONG_FORM = 1 << 31
"""From here on zip needs longer records, and their length is not foretold."""


class Layout(StrEnum):
    """kohya: folders such as `5_sks cat` and a text beside each picture. imagefolder: all in one folder."""

    KOHYA = "kohya"
    IMAGEFOLDER = "imagefolder"


@dataclass(frozen=True)
class _File:
    """A file of the archive: a picture of the version, its mask, or a text."""

    path: str
    image: VersionImage | None = None
    text: bytes = b""
    mask: bool = False

    @property
    def size(self) -> int:
        if self.image is None:
            return len(self.text)
        return self.image.mask.size_bytes if self.mask and self.image.mask else self.image.picture.size_bytes


class ExportVerb:
    """ExportDatasetVersion."""

    def __init__(self, versions: VersionVerbs, images: ImageVerbs, at_once: AtOnce | None = None) -> None:
        """at_once: counts downloads."""
        self._at_once = at_once or AtOnce(UNLIMITED, DOWNLOADS)
        self._versions = versions
        self._images = images

    async def open(self, ref: VersionRef, layout: Layout) -> Download:
        """The archive. Raises NotFound; its chunks raise NotFound when it is deleted meanwhile, and DataLoss."""
        version = await self._versions.get(ref)
        files = _files(version, await self._all_images(ref), layout)
        name = f"{ref.dataset.dataset}-v{ref.number}-{layout}.zip"
        chunks = self._at_once.during(ref.dataset.project, self._zip(version, files), field="name")
        return Download(name, "application/zip", _length(files), f"{version.etag}-{layout}", chunks)

    async def _all_images(self, ref: VersionRef) -> list[VersionImage]:
        images: list[VersionImage] = []
        token = ""
        while True:
            found, token, _ = await self._versions.list_images(ListRequest(ref.name, _PAGE, token))
            images += found
            if not token:
                return images

    async def _zip(self, version: DatasetVersion, files: list[_File]) -> AsyncIterator[bytes]:
        out = _Out()
        with ZipFile(out, "w") as archive:
            for file in files:
                info = ZipInfo(file.path, version.create_time.timetuple()[:6])
                info.external_attr = 0o644 << 16
                info.file_size = file.size
                with archive.open(info, "w") as entry:
                    async for chunk in self._chunks(file):
                        entry.write(chunk)
                        yield out.taken()
        yield out.taken()

    async def _chunks(self, file: _File) -> AsyncIterator[bytes]:
        if file.image is None:
            yield file.text
            return
        form = View.MASK if file.mask else View.ORIGINAL
        async for chunk in (await self._images.download(file.image.ref, form)).chunks:
            yield chunk


def _files(version: DatasetVersion, images: list[VersionImage], layout: Layout) -> list[_File]:
    files: list[_File] = []
    lines: list[str] = []
    taken: set[str] = set()
    words = _plain(version.trigger_word) or version.ref.dataset.dataset
    for image in images:
        fields = image.fields
        folder = f"{fields.num_repeats}_{words}/" if layout is Layout.KOHYA else ""
        path = PurePosixPath(folder + _free_name(image.picture.file_name, taken))
        files.append(_File(str(path), image=image))
        if layout is Layout.KOHYA and fields.caption:
            files.append(_File(str(path.with_suffix(".txt")), text=fields.caption.encode()))
        crop = astuple(fields.crop) if fields.crop else None
        line = {"file_name": str(path), "text": fields.caption, "num_repeats": fields.num_repeats, "crop": crop}
        if image.mask is not None:
            mask = str(PurePosixPath(_MASKS, path.name).with_suffix(".png"))
            files.append(_File(mask, image=image, mask=True))
            line["mask"] = mask
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    return [_File(METADATA, text="".join(lines).encode()), *files]


def _free_name(file_name: str, taken: set[str]) -> str:
    """The picture's name, with a number when another has it: a caption belongs to all pictures of one stem."""
    path = PurePosixPath(_plain(file_name))
    stem, number = path.stem, 1
    while stem.casefold() in taken:
        number += 1
        stem = f"{path.stem[:200]}-{number}"
    taken.add(stem.casefold())
    return stem + path.suffix


def _plain(text: str) -> str:
    fit = (letter if letter.isprintable() and letter not in _NO_FILE_NAME else "_" for letter in text)
    return "".join(fit).strip(" .")


def _length(files: list[_File]) -> int | None:
    names = sum(len(file.path.encode()) for file in files)
    each = _LOCAL_BYTES + _DESCRIPTOR_BYTES + _CENTRAL_BYTES
    length = sum(file.size for file in files) + 2 * names + each * len(files) + _END_BYTES
    return length if length < _LONG_FORM and len(files) < 0xFFFF else None


class _Out:
    """Where the archive is written to, and taken from before the next chunk."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, data: bytes) -> int:
        self._waiting += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """What waits can still be taken."""

    def taken(self) -> bytes:
        data = bytes(self._waiting)
        self._waiting.clear()
        return data
