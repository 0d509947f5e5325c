"""Folders as people have them: kohya's, imagefolder's, and those that grew by themselves."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fiveshot import errors
from fiveshot.folders import Found, find_pictures
from fiveshot.layouts import LayoutError, Why, caption_text, repeats_of


def _files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def _names(found: Found) -> list[str]:
    return [each.path.name for each in found.pictures]


def test_a_folder_gives_its_pictures_in_order_and_names_the_rest(tmp_path: Path) -> None:
    _files(tmp_path, "b.PNG", "a.jpg", "c.webp", "d.jfif", "a.txt", "lost.txt", ".hidden.png", "notes.md", "sub/e.jpg")
    found = find_pictures([tmp_path])
    assert _names(found) == ["a.jpg", "b.PNG", "c.webp", "d.jfif"]
    assert [each.path.name for each in found.passed_over] == ["lost.txt", "notes.md", "sub", ".hidden.png"]
    assert found.passed_over_in_words() == (
        "1 caption without a picture, 1 file that is no picture, 1 folder within, entered with recursive, 1 hidden file"
    )
    assert _names(find_pictures([tmp_path], recursive=True)) == ["a.jpg", "b.PNG", "c.webp", "d.jfif", "e.jpg"]
    assert _names(find_pictures([tmp_path / "notes.md"])) == ["notes.md"]


def test_a_folder_without_pictures_says_what_would_help(tmp_path: Path) -> None:
    _files(tmp_path, "sub/a.jpg", "other/notes.md")
    with pytest.raises(errors.NotFound, match="Set recursive to enter other, sub"):
        find_pictures([tmp_path])
    with pytest.raises(errors.NotFound, match=r"takes \.png"):
        find_pictures([tmp_path / "other"])
    with pytest.raises(errors.NotFound, match="no file"):
        find_pictures([tmp_path / "absent"])


@pytest.mark.parametrize(
    ("name", "repeats", "words"),
    [
        ("5_sks cat", 5, "sks cat"), ("10_x_y", 10, "x_y"), ("1000_a", 1000, "a"), ("2024_holiday", 0, ""),
        ("0_sks", 0, ""), ("5_", 0, ""), ("cat", 0, ""), ("5 sks", 0, ""),
    ],
)  # fmt: skip
def test_repeats_stand_in_the_name_of_a_kohya_folder(name: str, repeats: int, words: str) -> None:
    assert repeats_of(name) == (repeats, words)


def test_kohya_folders_are_entered_and_give_their_repeats(tmp_path: Path) -> None:
    _files(tmp_path, "5_sks cat/a.jpg", "2_sks cat far/b.jpg", "c.jpg", "more/d.jpg")
    found = find_pictures([tmp_path])
    assert [(each.path.name, each.repeats) for each in found.pictures] == [("c.jpg", 0), ("b.jpg", 2), ("a.jpg", 5)]
    assert found.words == ["sks cat far", "sks cat"]
    assert [(each.repeats) for each in find_pictures([tmp_path / "5_sks cat"]).pictures] == [5]
    plain = find_pictures([tmp_path], recursive=True, folder_repeats=False)
    assert [each.repeats for each in plain.pictures] == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"a.TXT": "by txt"}, "by txt"),
        ({"A.caption": "by caption"}, "by caption"),
        ({"a.caption": "by caption", "a.txt": "by txt"}, "by txt"),
        ({"metadata.jsonl": json.dumps({"file_name": "a.jpg", "text": "by line"})}, "by line"),
        ({"metadata.jsonl": json.dumps({"file_name": "a.jpg", "text": "by line"}), "a.txt": "by txt"}, "by txt"),
        ({"METADATA.JSONL": json.dumps({"file_name": "a.jpg", "text": "by line"})}, "by line"),
        ({}, ""),
    ],
)
def test_captions_beside_a_picture(tmp_path: Path, files: dict[str, str], text: str) -> None:
    _files(tmp_path, "a.jpg")
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    found = find_pictures([tmp_path])
    assert [each.text() for each in found.pictures] == [text]
    assert {each.why for each in found.passed_over} == (
        {Why.SECOND} if len(files) > 1 and "a.caption" in files else set()
    )
    assert find_pictures([tmp_path / "a.jpg"]).pictures[0].text() in (text, "")
    assert [each.text() for each in find_pictures([tmp_path], captions=False).pictures] == [""]


def test_metadata_reaches_into_folders_and_names_what_is_not_there(tmp_path: Path) -> None:
    _files(tmp_path, "sub/a.jpg")
    lines = [{"file_name": "sub/a.jpg", "text": "deep"}, {"file_name": "gone.jpg", "text": "x"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    found = find_pictures([tmp_path], recursive=True)
    assert [each.text() for each in found.pictures] == ["deep"]
    assert found.passed_over_in_words() == "1 line of metadata.jsonl without its picture"


@pytest.mark.parametrize("line", ["no json", "[]", "{}", '{"file_name": 3}', '{"file_name": "a.jpg", "text": 3}'])
def test_a_wrong_line_of_metadata_is_named(tmp_path: Path, line: str) -> None:
    _files(tmp_path, "a.jpg")
    (tmp_path / "metadata.jsonl").write_text(f'{{"file_name": "a.jpg", "text": "x"}}\n{line}\n')
    with pytest.raises(errors.InvalidArgument, match="Line 2 of") as refused:
        find_pictures([tmp_path])
    assert refused.value.reason == "METADATA_UNREADABLE"


def test_masks_are_found_where_the_common_tools_have_them(tmp_path: Path) -> None:
    for name in (
        "a.jpg", "a-masklabel.png", "5_sks/b.jpg", "5_sks/masks/B.png", "c.png", "masks/c.png", "masks/gone.png",
        "d.jpg", "e.jpg", "cut/e.png", "metadata.jsonl",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b'{"file_name": "e.jpg", "mask": "cut/e.png"}' if name == "metadata.jsonl" else b"x")
    found = find_pictures([tmp_path], recursive=True)
    masks = {
        str(each.path.relative_to(tmp_path)): each.mask and str(each.mask.relative_to(tmp_path))
        for each in found.pictures
    }
    assert masks == {
        "a.jpg": "a-masklabel.png", "5_sks/b.jpg": "5_sks/masks/B.png", "c.png": "masks/c.png", "d.jpg": None,
        "e.jpg": "cut/e.png",
    }  # fmt: skip
    assert found.passed_over_in_words() == "1 mask without a picture"


def test_a_folder_of_nothing_but_what_looks_like_masks_holds_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "masks"
    folder.mkdir()
    (folder / "carnival.png").write_bytes(b"x")
    found = find_pictures([tmp_path])
    assert [(each.path.name, each.mask) for each in found.pictures] == [("carnival.png", None)]


def test_what_a_walk_does_not_enter_or_read_is_named(tmp_path: Path) -> None:
    _files(tmp_path, "set/a.jpg", "set/A.caption", "set/a.TXT", "elsewhere/b.jpg", "elsewhere/c.jpg")
    (tmp_path / "set" / "linked.jpg").symlink_to(tmp_path / "elsewhere" / "b.jpg")
    (tmp_path / "set" / "lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "set" / "5_sks").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "self").symlink_to(tmp_path / "set")
    os.mkfifo(tmp_path / "set" / "pipe.jpg")
    found = find_pictures([tmp_path / "set"], recursive=True)
    assert _names(found) == ["a.jpg", "linked.jpg"]
    assert {each.path.name: each.why for each in found.passed_over} == {
        "A.caption": Why.SECOND, "5_sks": Why.LINK, "lost.jpg": Why.LINK, "pipe.jpg": Why.LINK, "self": Why.LINK,
    }  # fmt: skip
    with pytest.raises(errors.NotFound, match="no file"):
        find_pictures([tmp_path / "set" / "pipe.jpg"])


@pytest.mark.parametrize(
    "data",
    [
        "ein Fuchs, 狐".encode(), "ein Fuchs, 狐\r\n".encode("utf-8-sig"), "ein Fuchs, 狐\r\n".encode("utf-16"),
        b"\xfe\xff" + "ein Fuchs, 狐".encode("utf-16-be"),
    ],
)  # fmt: skip
def test_captions_are_read_as_editors_write_them(data: bytes) -> None:
    assert caption_text(data, "a.txt") == "ein Fuchs, 狐"


@pytest.mark.parametrize("data", ["café".encode("latin-1"), b"\xff\xfea"])
def test_a_caption_that_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(LayoutError, match=r"a\.txt is not UTF-8"):
        caption_text(data, "a.txt")
