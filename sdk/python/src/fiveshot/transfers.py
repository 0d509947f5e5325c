"""What becomes of pictures and files that are moved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.errors import FiveshotError, InvalidArgument
from fiveshot.folders import PassedOver


@dataclass(frozen=True)
class UploadProgress:
    """How far an upload is. file: that which moved last. Bytes count what was handed to the connection."""

    file: Path
    sent_bytes: int
    total_bytes: int
    done_files: int
    total_files: int


@dataclass(frozen=True)
class Refusal:
    """A picture that was not taken, and why."""

    path: Path
    error: FiveshotError


@dataclass
class Upload:
    """What became of an upload; every list is in the order of the pictures given.

    images: stored now. present: held by the dataset already, so that an upload can be repeated; held_as: under which
    file name; updated: those of them whose caption or repeats were changed; differing: those where they could be, and
    with what. refused: why each was.
    passed_over: what lay in the folders and is no picture to upload, and why.
    """

    images: list[dataset_pb2.Image] = field(default_factory=list)
    present: list[Path] = field(default_factory=list)
    held_as: dict[Path, str] = field(default_factory=dict)
    updated: list[Path] = field(default_factory=list)
    differing: dict[Path, list[str]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)


class PicturesRefused(InvalidArgument):
    """Some pictures were refused; all others are stored. upload: what became of each."""

    def __init__(self, message: str, *, upload: Upload | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.upload = upload or Upload()

    @classmethod
    def of(cls, upload: Upload) -> PicturesRefused:
        """The error of an upload in which some were refused."""
        first = upload.refused[0]
        count, taken = len(upload.refused), len(upload.images) + len(upload.present)
        noun = "picture was" if count == 1 else "pictures were"
        return cls(
            f"{count} {noun} refused, {taken} are stored; {first.path.name}: {first.error.message}",
            upload=upload, field="file_name", reason=first.error.reason, remedy=first.error.remedy,
        )  # fmt: skip


@dataclass(frozen=True)
class Saved:
    """A file that was written. size: in bytes. sha256: in hex."""

    path: Path
    size: int
    sha256: str


def named(paths: Sequence[str]) -> str:
    """Fields of a picture in words: `caption and number of repeats`."""
    return " and ".join({"num_repeats": "number of repeats"}.get(path, path) for path in paths)
