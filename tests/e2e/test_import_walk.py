"""Photos as people have them, by folder and by archive: both ways take the same, and name the same that they do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gateway.cli import output
from tests.fakes.archives import zipped
from tests.fakes.photographs import photo_of_a_clock
from tests.fixtures.running_stack import RunningStack

SETS = ("by-folder", "by-archive")


def _jpeg(seed: int) -> bytes:
    buffer = BytesIO()
    Image.open(BytesIO(photo_of_a_clock(seed))).convert("RGB").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _tree() -> dict[str, bytes]:
    line = {"file_name": "other/C.JFIF", "text": "by line", "num_repeats": 2}
    lost = {"file_name": "gone.png", "text": "of nothing"}
    return {
        "5_sks clock/A.PNG": photo_of_a_clock(1),
        "5_sks clock/a.TXT": b"\xef\xbb\xbfby txt\r\n",
        "5_sks clock/deep/B.Jpeg": _jpeg(2),
        "5_sks clock/deep/b.CAPTION": "by cäption".encode(),
        "other/C.JFIF": _jpeg(3),
        "other/plain.jpg": _jpeg(4),
        "METADATA.jsonl": "\n".join(json.dumps(each) for each in (line, lost)).encode(),
        "broken.png": b"GIF89a",
        "notes.md": b"x",
        "lost.txt": b"of nothing",
        ".DS_Store": b"x",
    }


@pytest.fixture
def stack(filled_stack: RunningStack) -> Iterator[RunningStack]:
    """The stack with two empty datasets."""
    try:
        for name in SETS:
            assert filled_stack.command("dataset", "create", name, "--trigger-word", "sks").exit_code == 0
        yield filled_stack
    finally:
        for name in SETS:
            filled_stack.command("dataset", "delete", name)


@pytest.fixture
def ways(tmp_path: Path) -> dict[str, Path]:
    """The folder and the archive of the same tree, by the dataset that they go to."""
    _write(tmp_path, _tree())
    return dict(zip(SETS, (tmp_path / "photos", tmp_path / "photos.zip"), strict=True))


def _write(place: Path, tree: dict[str, bytes]) -> None:
    for name, data in tree.items():
        path = place / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (place / "photos.zip").write_bytes(zipped(tree))


def _upload(stack: RunningStack, name: str, path: Path, *options: str) -> dict[str, Any]:
    done = stack.command("--json", "dataset", "upload", name, str(path), "--recursive", *options)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (output.USAGE if answer["refused"] else output.OK), done.output
    return answer


def _images(stack: RunningStack, name: str) -> set[tuple[str, str, int]]:
    found = json.loads(stack.command("--json", "dataset", "images", name).stdout)["images"]
    return {(each["fileName"], each.get("caption", ""), each.get("numRepeats", 0)) for each in found}


def test_both_ways_take_the_same_and_name_the_rest(stack: RunningStack, ways: dict[str, Path]) -> None:
    told = {}
    for name, path in ways.items():
        answer = _upload(stack, name, path)
        told[name] = (
            {(Path(each["path"]).name, each["why"]) for each in answer["passedOver"]},
            [(Path(each["file"]).name, each["reason"]) for each in answer["refused"]],
            _images(stack, name),
        )
    passed_over, refused, images = told["by-folder"]
    assert images == {
        ("A.PNG", "by txt", 5), ("B.Jpeg", "by cäption", 5), ("C.jpg", "by line", 2), ("plain.jpg", "", 0),
    }  # fmt: skip
    assert {name for name, _ in passed_over} == {"notes.md", "lost.txt", "gone.png", ".DS_Store"}
    assert refused == [("broken.png", "IMAGE_TYPE_MISMATCH")]
    assert told["by-archive"] == told["by-folder"]


def test_both_ways_offer_what_has_changed(stack: RunningStack, ways: dict[str, Path], tmp_path: Path) -> None:
    for name, path in ways.items():
        _upload(stack, name, path)
    _write(tmp_path, _tree() | {"5_sks clock/a.TXT": b"changed"})
    for name, path in ways.items():
        offered = _upload(stack, name, path)
        assert [Path(each).name for each in offered["differing"]] == ["A.PNG"]
        assert ("A.PNG", "by txt", 5) in _images(stack, name)
        taken = _upload(stack, name, path, "--update-captions")
        assert [Path(each).name for each in taken["updated"]] == ["A.PNG"]
        assert ("A.PNG", "changed", 5) in _images(stack, name)
        assert _upload(stack, name, path)["differing"] == []
