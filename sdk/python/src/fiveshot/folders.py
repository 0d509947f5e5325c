"""What a folder of photos holds: pictures with captions and repeats as the common tools lay them out, and the rest.

    5_sks cat/         kohya: each picture in it is used 5 times per epoch
    NAME.txt, .caption the caption of NAME.jpg, in any case
    metadata.jsonl     imagefolder: {"file_name": "a.jpg", "text": "a cat"} a line
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fiveshot.errors import InvalidArgument, NotFound

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif")
# Pictures to a person: they are tried, so that the refusal says what to do.
_OTHER_PICTURES = (".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".svg", ".jxl", ".raw", ".cr2")
_CAPTIONS = (".txt", ".caption")
_METADATA = "metadata.jsonl"
_CAPTION, _OTHER = "caption without a picture", "file that is no picture"
_FOLDER, _LINE = "folder within, entered with recursive", f"line of {_METADATA} without its picture"
_PLURALS = {
    _CAPTION: "captions without a picture",
    _OTHER: "files that are no pictures",
    _FOLDER: "folders within, entered with recursive",
    _LINE: f"lines of {_METADATA} without their picture",
}
_REPEATS = re.compile(r"(\d{1,4})_(.+)")
_MAX_REPEATS = 1000


@dataclass(frozen=True)
class Picture:
    """A picture to upload. caption_file wins over caption. repeats: 0 leaves the dataset's."""

    path: Path
    caption_file: Path | None = None
    caption: str = ""
    repeats: int = 0

    def text(self) -> str:
        """Its caption, "" without one. Raises InvalidArgument(reason=CAPTION_UNREADABLE)."""
        return _read(self.caption_file) if self.caption_file else self.caption


@dataclass(frozen=True)
class PassedOver:
    """Something in a folder that is not uploaded, and why."""

    path: Path
    why: str


@dataclass
class Found:
    """What was found. words: the subject that kohya folders name, such as `sks cat`."""

    pictures: list[Picture] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    words: list[str] = field(default_factory=list)

    def passed_over_in_words(self) -> str:
        """One line that counts what was passed over; empty when nothing was."""
        counts = Counter(each.why for each in self.passed_over)
        return ", ".join(f"{count} {_PLURALS[why] if count > 1 else why}" for why, count in counts.items())


@dataclass(frozen=True)
class _How:
    recursive: bool
    captions: bool
    repeats: bool


def find_pictures(
    paths: Sequence[Path], *, recursive: bool = False, captions: bool = True, folder_repeats: bool = True
) -> Found:
    """Each file given, and from each folder its pictures by name; folders such as `5_sks cat` are always entered.

    captions: look for them. folder_repeats: take them from the folders' names.
    Raises NotFound for a path that is not there or a folder without pictures, InvalidArgument(METADATA_UNREADABLE).
    """
    found, how = Found(), _How(recursive, captions, folder_repeats)
    for path in paths:
        if path.is_dir():
            before = len(found.pictures)
            _folder(path, found, how, 0)
            if len(found.pictures) == before:
                raise NotFound(f"There is no picture in {path}", remedy=_remedy(found.passed_over))
        elif path.exists():
            beside = _captions(path.parent.iterdir()) if captions else {}
            found.pictures.append(Picture(path, beside.get(path.stem.lower())))
        else:
            raise NotFound(f"There is no file {path}", remedy="Check the path.")
    return found


def repeats_of(folder: Path) -> tuple[int, str]:
    """Repeats and words in the name of a kohya folder: `5_sks cat` is (5, "sks cat"); (0, "") for any other.

    A number that is no number of repeats, such as the year in `2024_holiday`, is part of a plain name.
    """
    match = _REPEATS.fullmatch(folder.name)
    repeats = int(match[1]) if match else 0
    return (repeats, match[2].strip()) if match and 1 <= repeats <= _MAX_REPEATS else (0, "")


def _folder(folder: Path, found: Found, how: _How, repeats: int) -> None:
    own, words = repeats_of(folder.resolve()) if how.repeats else (0, "")
    repeats = own or repeats
    if words and words not in found.words:
        found.words.append(words)
    inside = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    files = [entry for entry in inside if entry.is_file()]
    captions, texts = _captions(files), _metadata(folder) if how.captions else {}
    stems = {file.stem.lower() for file in files if _is_picture(file)}
    for file in files:
        if _is_picture(file):
            caption = captions.get(file.stem.lower())
            found.pictures.append(Picture(file, caption if how.captions else None, texts.pop(file.name, ""), repeats))
    for file in files:
        is_caption = file.suffix.lower() in _CAPTIONS
        if not _is_picture(file) and file.name != _METADATA and not (is_caption and file.stem.lower() in stems):
            found.passed_over.append(PassedOver(file, _CAPTION if is_caption else _OTHER))
    below = [entry for entry in inside if entry.is_dir() and not entry.is_symlink()]
    for entry in below:
        if how.recursive or (how.repeats and repeats_of(entry)[0]):
            _folder(entry, found, how, repeats)
        else:
            found.passed_over.append(PassedOver(entry, _FOLDER))
    absent = [folder / name for name in texts if not (folder / name).exists()]
    found.passed_over += [PassedOver(path, _LINE) for path in absent]
    if nested := {folder / name: text for name, text in texts.items() if (folder / name).exists()}:
        found.pictures = [
            Picture(each.path, each.caption_file, nested.get(each.path, each.caption), each.repeats)
            for each in found.pictures
        ]


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in (*EXTENSIONS, *_OTHER_PICTURES)


def _captions(files: Iterable[Path]) -> dict[str, Path]:
    """Caption files by the lower-case stem of their picture; .txt wins over .caption."""
    found = [file for file in files if file.suffix.lower() in _CAPTIONS and file.is_file()]
    found.sort(key=lambda file: _CAPTIONS.index(file.suffix.lower()), reverse=True)
    return {file.stem.lower(): file for file in found}


def _metadata(folder: Path) -> dict[str, str]:
    """Captions by file name out of metadata.jsonl, as the imagefolder layout of Hugging Face's datasets has it."""
    file = folder / _METADATA
    if not file.is_file():
        return {}
    return dict(_entry(file, number, line) for number, line in _lines(file))


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_read(file).splitlines(), start=1):
        if line.strip():
            yield number, line


def _entry(file: Path, number: int, line: str) -> tuple[str, str]:
    try:
        values: Any = json.loads(line)
    except ValueError:
        values = None
    name = values.get("file_name") if isinstance(values, dict) else None
    text = next((values[key] for key in ("text", "caption", "prompt") if key in values), "") if name else ""
    if not isinstance(name, str) or not isinstance(text, str):
        raise InvalidArgument(
            f"Line {number} of {file} is no entry of a picture", field="caption", reason="METADATA_UNREADABLE",
            remedy='Write lines such as {"file_name": "a.jpg", "text": "a cat"}, or set captions to False.',
        )  # fmt: skip
    return name, text.strip()


def _read(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig").strip()
    except OSError as error:
        raise InvalidArgument(
            f"{file.name} cannot be read: {error.strerror}", reason="FILE_UNREADABLE", remedy="Check its permissions."
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(
            f"Its caption {file.name} is not UTF-8 text", field="caption", reason="CAPTION_UNREADABLE",
            remedy="Save the file as UTF-8, or set captions to False.",
        ) from error  # fmt: skip


def _remedy(passed_over: Sequence[PassedOver]) -> str:
    folders = [each.path.name for each in passed_over if each.path.is_dir()]
    if folders:
        return f"Set recursive to enter {', '.join(folders[:5])}."
    return f"Fiveshot takes {', '.join(EXTENSIONS)}."
