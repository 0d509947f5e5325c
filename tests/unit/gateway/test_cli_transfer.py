"""What the command line uploads and downloads, against a service that takes or refuses it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.cli import transfer
from gateway.cli.session import Session
from services.chassis import errors


def test_a_folder_gives_its_pictures_in_order(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.webp", "a.txt", ".hidden.png", "notes.md"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    assert [path.name for path in transfer.find_pictures([tmp_path])] == ["a.jpg", "b.PNG", "c.webp"]
    assert transfer.find_pictures([tmp_path / "notes.md"]) == [tmp_path / "notes.md"]
    with pytest.raises(errors.NotFound, match="no picture"):
        transfer.find_pictures([tmp_path / "sub"])


class _Dataset:
    """Takes uploads as the service would, and refuses what is named `bad.png`."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def UploadImage(self, requests: Any) -> Any:
        header, *chunks = list(requests)
        self.seen.append(header.header)
        if header.header.file_name == "bad.png":
            raise errors.InvalidArgument("It is damaged", reason="IMAGE_UNREADABLE")
        if header.header.file_name == "held.png":
            raise errors.AlreadyExists("The dataset holds this picture already", reason="IMAGE_DUPLICATE")
        if header.header.file_name == "denied.png":
            raise errors.PermissionDenied("No")
        from fiveshot.dataset.v1 import dataset_pb2

        return dataset_pb2.Image(name=header.header.file_name, size_bytes=sum(len(each.chunk) for each in chunks))


def _session(dataset: _Dataset) -> Session:
    session = Session(json=True)
    session.__dict__["dataset"] = dataset
    return session


def test_an_upload_goes_on_after_a_refused_picture(tmp_path: Path) -> None:
    content = bytes(600_000)
    for name in ("a.png", "bad.png", "c.jpg", "d.webp"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "a.txt").write_text(" a red dog \n")
    dataset = _Dataset()
    result = transfer.upload_pictures(_session(dataset), "projects/p/datasets/d", transfer.find_pictures([tmp_path]))
    assert [(image.name, image.size_bytes) for image in result.images] == [("a.png", 600_000), ("c.jpg", 600_000)]
    assert [each.path.name for each in result.refused] == ["bad.png", "d.webp"]
    first = dataset.seen[0]
    assert (first.caption, first.size_bytes, first.sha256) == (
        "a red dog", 600_000, hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    assert result.as_json()["refused"][1]["reason"] == "IMAGE_TYPE_UNSUPPORTED"


def test_an_upload_can_be_repeated(tmp_path: Path) -> None:
    for name in ("a.png", "held.png"):
        (tmp_path / name).write_bytes(b"x")
    result = transfer.upload_pictures(_session(_Dataset()), "projects/p/datasets/d", transfer.find_pictures([tmp_path]))
    assert ([image.name for image in result.images], result.refused) == (["a.png"], [])
    assert result.as_json()["present"] == [str(tmp_path / "held.png")]


def test_a_caption_that_is_no_text_is_refused_with_its_picture_alone(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "b.txt").write_bytes("\ufeffcafé".encode())
    dataset = _Dataset()
    result = transfer.upload_pictures(_session(dataset), "projects/p/datasets/d", transfer.find_pictures([tmp_path]))
    assert [refusal.error.reason for refusal in result.refused] == ["CAPTION_UNREADABLE"]
    assert [header.caption for header in dataset.seen] == ["café"]


def test_a_file_name_that_is_no_text_is_refused_with_its_picture_alone(tmp_path: Path) -> None:
    for name in (b"\xff.png", "ünï ☃.png".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    result = transfer.upload_pictures(_session(_Dataset()), "projects/p/datasets/d", transfer.find_pictures([tmp_path]))
    assert [refusal.error.reason for refusal in result.refused] == ["FILE_NAME_INVALID"]
    assert [image.name for image in result.images] == ["ünï ☃.png"]


def test_an_upload_ends_at_an_error_that_meets_every_picture(tmp_path: Path) -> None:
    (tmp_path / "denied.png").write_bytes(b"x")
    with pytest.raises(errors.PermissionDenied):
        transfer.upload_pictures(_session(_Dataset()), "projects/p/datasets/d", [tmp_path / "denied.png"])


def test_a_download_gets_its_name_only_when_whole_and_right(tmp_path: Path) -> None:
    chunks = [SimpleNamespace(chunk=b"ab"), SimpleNamespace(chunk=b"c")]
    digest = hashlib.sha256(b"abc").hexdigest()
    path = tmp_path / "new" / "file"
    saved = transfer.download(chunks, path, sha256=digest)
    assert (path.read_bytes(), saved.size, saved.sha256) == (b"abc", 3, digest)
    with pytest.raises(errors.AlreadyExists):
        transfer.download(chunks, path)
    with pytest.raises(errors.DataLoss):
        transfer.download(chunks[:1], path, sha256=digest, force=True)
    assert path.read_bytes() == b"abc"
    assert [each.name for each in path.parent.iterdir()] == ["file"]
