"""What the command line uploads and downloads, against a service that takes or refuses it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fiveshot import errors, folders
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.transfers import Upload

from gateway.cli import transfer
from gateway.cli.session import Session


class _Dataset:
    """Takes uploads as the service would, and refuses what is named `bad.png`."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.updates: list[Any] = []

    def GetImage(self, request: Any) -> Any:
        return dataset_pb2.Image(name=request.name, caption="as it was")

    def UpdateImage(self, request: Any) -> Any:
        self.updates.append(request)
        return request.image

    def UploadImage(self, requests: Any) -> Any:
        header, *chunks = list(requests)
        self.seen.append(header.header)
        if header.header.file_name == "bad.png":
            raise errors.InvalidArgument("It is damaged", reason="IMAGE_UNREADABLE")
        if header.header.file_name == "held.png":
            image = {"image": "projects/p/datasets/d/images/held", "file_name": "first.png"}
            raise errors.AlreadyExists("It is held", reason="IMAGE_DUPLICATE", metadata=image)
        if header.header.file_name == "denied.png":
            raise errors.PermissionDenied("No")
        return dataset_pb2.Image(name=header.header.file_name, size_bytes=sum(len(each.chunk) for each in chunks))


def _session(dataset: _Dataset) -> Session:
    session = Session(json=True)
    channel = SimpleNamespace(repeated=lambda once, timeout=None: once(timeout))
    session.__dict__["stubs"] = SimpleNamespace(dataset=dataset, channel=channel)
    return session


def _upload(session: Session, found: list[folders.Picture], **how: bool) -> Upload:
    return transfer.upload_pictures(session, "projects/p/datasets/d", found, **how)


def test_an_upload_goes_on_after_a_refused_picture(tmp_path: Path) -> None:
    content = bytes(600_000)
    for name in ("a.png", "bad.png", "c.jpg", "d.webp"):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "a.txt").write_text(" a red dog \n")
    dataset = _Dataset()
    result = _upload(_session(dataset), folders.find_pictures([tmp_path]).pictures)
    assert [(image.name, image.size_bytes) for image in result.images] == [("a.png", 600_000), ("c.jpg", 600_000)]
    assert [each.path.name for each in result.refused] == ["bad.png", "d.webp"]
    first = dataset.seen[0]
    assert (first.caption, first.size_bytes, first.sha256) == (
        "a red dog", 600_000, hashlib.sha256(content).hexdigest(),
    )  # fmt: skip
    assert transfer.as_json(result)["refused"][1]["reason"] == "IMAGE_TYPE_UNSUPPORTED"


def test_an_upload_can_be_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "held.png"):
        (tmp_path / name).write_bytes(b"x")
    result = _upload(_session(_Dataset()), folders.find_pictures([tmp_path]).pictures)
    assert ([image.name for image in result.images], result.refused) == (["a.png"], [])
    assert transfer.as_json(result)["present"] == [str(tmp_path / "held.png")]
    assert transfer.as_json(result)["heldAs"] == {str(tmp_path / "held.png"): "first.png"}
    transfer.tell(result)
    assert "held.png: The dataset already holds this picture, as first.png." in capsys.readouterr().err


@pytest.mark.parametrize("update", [False, True])
def test_a_changed_caption_of_a_picture_that_is_there_is_offered_or_updated(tmp_path: Path, update: bool) -> None:
    (tmp_path / "held.png").write_bytes(b"x")
    (tmp_path / "held.txt").write_text("as it is now")
    dataset, found = _Dataset(), folders.find_pictures([tmp_path]).pictures
    result = _upload(_session(dataset), found, update_present=update)
    assert list(result.differing) == ([] if update else [tmp_path / "held.png"])
    assert result.updated == ([tmp_path / "held.png"] if update else [])
    assert [(each.image.name, each.image.caption, list(each.update_mask.paths)) for each in dataset.updates] == (
        [("projects/p/datasets/d/images/held", "as it is now", ["caption"])] if update else []
    )


def test_a_jfif_file_is_sent_as_the_jpeg_that_it_is_with_the_repeats_of_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "5_sks cat"
    folder.mkdir()
    (folder / "a.JFIF").write_bytes(b"x")
    dataset = _Dataset()
    _upload(_session(dataset), folders.find_pictures([tmp_path]).pictures)
    assert [header.file_name for header in dataset.seen] == ["a.jpg"]
    assert [(each.image.num_repeats, list(each.update_mask.paths)) for each in dataset.updates] == [
        (5, ["num_repeats"])
    ]


def test_a_caption_that_is_no_text_is_refused_with_its_picture_alone(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a.txt").write_bytes("café".encode("latin-1"))
    (tmp_path / "b.txt").write_bytes("\ufeffcafé".encode())
    dataset = _Dataset()
    result = _upload(_session(dataset), folders.find_pictures([tmp_path]).pictures)
    assert [refusal.error.reason for refusal in result.refused] == ["CAPTION_UNREADABLE"]
    assert [header.caption for header in dataset.seen] == ["café"]


def test_a_file_name_that_is_no_text_is_refused_with_its_picture_alone(tmp_path: Path) -> None:
    for name in (b"\xff.png", "ünï ☃.png".encode()):
        (tmp_path / os.fsdecode(name)).write_bytes(b"x")
    result = _upload(_session(_Dataset()), folders.find_pictures([tmp_path]).pictures)
    assert [refusal.error.reason for refusal in result.refused] == ["FILE_NAME_INVALID"]
    assert [image.name for image in result.images] == ["ünï ☃.png"]


def test_an_upload_ends_at_an_error_that_meets_every_picture(tmp_path: Path) -> None:
    (tmp_path / "denied.png").write_bytes(b"x")
    with pytest.raises(errors.PermissionDenied):
        _upload(_session(_Dataset()), [folders.Picture(tmp_path / "denied.png")])
