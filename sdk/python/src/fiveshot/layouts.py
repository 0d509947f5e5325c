"""How sets of pictures lie in folders and archives, as the common tools write them: one set of rules, here and in the
service, which imports this module. Nothing but the standard library.

    5_sks cat/         kohya: each picture in it is used 5 times per epoch
    NAME.txt, .caption the caption of NAME.jpg, in any case
    metadata.jsonl     imagefolder: {"file_name": "a.jpg", "text": "a cat"} a line; ours has num_repeats, crop, mask
    masks/NAME.png     the mask of NAME.jpg beside that folder, or in a folder beside it: ai-toolkit, sd-scripts
    NAME-masklabel.png the mask of NAME.jpg, as OneTrainer has them
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath, PurePosixPath
from typing import Any, TypeVar

EXTENSIONS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif")
# Pictures to a person: they are tried, so that the refusal says what to do.
_RAW = (".raw", ".cr2", ".cr3", ".nef", ".arw", ".dng", ".raf", ".orf", ".rw2")
_HEIC = (".heic", ".heif")
_EXPORT = (
    "Export it as JPEG; on an iPhone, Settings > Camera > Formats > Most Compatible makes it write JPEG from then on."
)
_OTHER_PICTURES = (".gif", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".svg", ".jxl", *_HEIC, *_RAW)
# Other names of JPEG files, which the service knows as .jpg.
_JPEG_NAMES = (".jfif", ".jpe")
_CAPTIONS = (".txt", ".caption")
METADATA = "metadata.jsonl"
MAX_REPEATS = 1000
_REPEATS = re.compile(r"(\d{1,4})_(.+)")
_HIDDEN = "__MACOSX"
_MASK_FOLDERS = ("masks", "mask")
_MASK_ENDING = "-masklabel"

Edges = tuple[float, float, float, float]
PathT = TypeVar("PathT", bound=PurePath)


class Why(StrEnum):
    """Why something is passed over."""

    CAPTION = "caption without a picture"
    OTHER = "file that is no picture"
    FOLDER = "folder within, entered with recursive"
    LINE = f"line of {METADATA} without its picture"
    MASK = "mask without a picture"
    HIDDEN = "hidden file"
    SECOND = "second caption of a picture"
    LINK = "link to a folder or to nothing, or no file"


class LayoutError(ValueError):
    """A text of the set cannot be read. message: one sentence. reason: stable word. remedy: what to do about it."""

    def __init__(self, message: str, *, reason: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.reason, self.remedy = message, reason, remedy


@dataclass(frozen=True)
class Placed:
    """A picture of the set. caption_file wins over caption. repeats: 0 leaves the dataset's. crop: fractions."""

    path: PurePosixPath
    caption_file: PurePosixPath | None = None
    caption: str = ""
    repeats: int = 0
    crop: Edges | None = None
    mask: PurePosixPath | None = None


@dataclass
class Arranged:
    """What a set holds. words: the subjects that kohya folders name, such as `sks cat`."""

    pictures: list[Placed] = field(default_factory=list)
    passed_over: list[tuple[PurePosixPath, Why]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Line:
    text: str
    repeats: int
    crop: Edges | None
    mask: PurePosixPath | None = None


def arrange(
    files: Iterable[PurePosixPath],
    read: Callable[[PurePosixPath], bytes],
    *,
    captions: bool = True,
    folder_repeats: bool = True,
    top: str = "",
    exists: Callable[[PurePosixPath], bool] | None = None,
) -> Arranged:
    """The pictures among `files`, which are relative paths: those that metadata.jsonl lists in its order, then by name.

    read: gives the bytes of a metadata.jsonl. captions: look for them. folder_repeats: take them from the folders'
    names. top: the name of the folder that holds them all. exists: whether a path that is none of `files` is there.
    Raises LayoutError(METADATA_UNREADABLE).
    """
    found, present = Arranged(), sorted(files, key=_by_folder)
    lines: dict[PurePosixPath, _Line] = {}
    for file in present if captions else ():
        if _is_metadata(file):
            lines |= _lines(file, read(file))
    masks = _masks(present, lines)
    of_pictures = {mask for mask in masks.values() if mask}
    beside: dict[PurePosixPath, list[PurePosixPath]] = {}
    for file in present:
        if file in of_pictures:
            continue
        if is_mask(file) and masks:
            found.passed_over.append((file, Why.MASK))
            continue
        beside.setdefault(file.parent, []).append(file)
    for folder, inside in beside.items():
        repeats = _folder_repeats(folder, top, found) if folder_repeats else 0
        _folder(inside, found, lines, repeats, masks, captions=captions)
    there = exists or set(present).__contains__
    found.passed_over += [(path, Why.LINE) for path in lines if not there(path)]
    order = {path: number for number, path in enumerate(lines)}
    found.pictures.sort(key=lambda each: order.get(each.path, len(order)))
    return found


def is_hidden(path: PurePath) -> bool:
    """Whether a path is what systems leave behind, not what a person put there: `.DS_Store`, `__MACOSX/…`."""
    return any(part.startswith(".") or part == _HIDDEN for part in path.parts)


def is_mask(file: PurePath) -> bool:
    """Whether a picture is by its place or name the mask of another."""
    named = file.parent.name.lower() in _MASK_FOLDERS or file.stem.lower().endswith(_MASK_ENDING)
    return named and file.suffix.lower() == ".png"


def is_picture(file: PurePath) -> bool:
    """Whether a person would call it a picture; not all of them are taken."""
    return file.suffix.lower() in (*EXTENSIONS, *_OTHER_PICTURES)


def own_remedy(ending: str) -> str:
    """What to do about a picture of a type that is not taken, by its name's ending; "" where converting it is all."""
    if ending.lower() in _HEIC:
        return _EXPORT
    if ending.lower() in _RAW:
        return "Develop it in a raw converter and export it as JPEG or PNG."
    return ""


def stored_name(file: PurePath) -> str:
    """The name under which a picture is uploaded."""
    return f"{file.stem}.jpg" if file.suffix.lower() in _JPEG_NAMES else file.name


def repeats_of(name: str) -> tuple[int, str]:
    """Repeats and words in the name of a kohya folder: `5_sks cat` is (5, "sks cat"); (0, "") for any other.

    A number that is no number of repeats, such as the year in `2024_holiday`, is part of a plain name.
    """
    match = _REPEATS.fullmatch(name)
    repeats = int(match[1]) if match else 0
    return (repeats, match[2].strip()) if match and 1 <= repeats <= MAX_REPEATS else (0, "")


def caption_files(files: Iterable[PathT]) -> dict[str, PathT]:
    """Caption files by the lower-case stem of their picture; .txt wins over .caption."""
    found = [file for file in files if file.suffix.lower() in _CAPTIONS]
    found.sort(key=lambda file: _CAPTIONS.index(file.suffix.lower()), reverse=True)
    return {file.stem.lower(): file for file in found}


def caption_text(data: bytes, name: str) -> str:
    """The text of a caption file: UTF-8, or UTF-16 that says so, as Windows' editor writes it.

    Raises LayoutError(CAPTION_UNREADABLE).
    """
    try:
        return data.decode("utf-16" if data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise LayoutError(
            f"Its caption {name} is not UTF-8 text",
            reason="CAPTION_UNREADABLE",
            remedy="Save the file as UTF-8, or set captions to False.",
        ) from error


def _is_metadata(file: PurePath) -> bool:
    return file.name.lower() == METADATA


def _by_folder(path: PurePosixPath) -> list[tuple[bool, str]]:
    """Files before the folders beside them, each by name."""
    return [*((True, part) for part in path.parts[:-1]), (False, path.name)]


def _folder_repeats(folder: PurePosixPath, top: str, found: Arranged) -> int:
    """Those of the nearest folder around its files that names them."""
    named = [repeats_of(name) for name in (top, *folder.parts)]
    words = named[-1][1]
    if words and words not in found.words:
        found.words.append(words)
    return next((repeats for repeats, _ in reversed(named) if repeats), 0)


def _masks(files: list[PurePosixPath], lines: dict[PurePosixPath, _Line]) -> dict[PurePosixPath, PurePosixPath | None]:
    """Every picture that is no mask, with its mask where there is one; empty where all look like masks."""
    there = set(files)
    pictures = [file for file in files if is_picture(file) and not is_mask(file)]
    named = {file: line.mask for file, line in lines.items() if line.mask in there}
    beside: dict[tuple[PurePosixPath, str], PurePosixPath] = {}
    for file in filter(is_mask, files):
        stem = file.stem.lower()
        if stem.endswith(_MASK_ENDING):
            beside[file.parent, stem.removesuffix(_MASK_ENDING)] = file
        else:
            beside.setdefault((file.parent.parent, stem), file)
    return {
        picture: named.get(picture) or beside.get((picture.parent, picture.stem.lower()))
        or beside.get((picture.parent.parent, picture.stem.lower()))
        for picture in pictures
    }  # fmt: skip


def _folder(
    inside: list[PurePosixPath],
    found: Arranged,
    lines: dict[PurePosixPath, _Line],
    repeats: int,
    masks: dict[PurePosixPath, PurePosixPath | None],
    *,
    captions: bool,
) -> None:
    beside = caption_files(inside)
    stems = {file.stem.lower() for file in inside if is_picture(file)}
    for file in inside:
        is_caption = file.suffix.lower() in _CAPTIONS
        if is_picture(file):
            line = lines.get(file) or _Line("", 0, None)
            text = beside.get(file.stem.lower()) if captions else None
            found.pictures.append(Placed(file, text, line.text, line.repeats or repeats, line.crop, masks.get(file)))
        elif is_caption and captions and file.stem.lower() in stems:
            if file != beside[file.stem.lower()]:
                found.passed_over.append((file, Why.SECOND))
        elif not _is_metadata(file) and not (is_caption and file.stem.lower() in stems):
            found.passed_over.append((file, Why.CAPTION if is_caption else Why.OTHER))


def _lines(file: PurePosixPath, data: bytes) -> Iterator[tuple[PurePosixPath, _Line]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(f"{file} is not UTF-8 text") from error
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                values = json.loads(line)
                yield file.parent / _text(values["file_name"]), _line(values, file.parent)
            except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
                raise _unreadable(f"Line {number} of {file} is no entry of a picture") from error


def _line(values: dict[str, Any], folder: PurePosixPath) -> _Line:
    text = next((values[key] for key in ("text", "caption", "prompt") if values.get(key) is not None), "")
    repeats, crop = values.get("num_repeats"), values.get("crop")
    if repeats is not None and (type(repeats) is not int or not 0 <= repeats <= MAX_REPEATS):
        raise ValueError("num_repeats")
    mask = folder / _text(values["mask"]) if values.get("mask") is not None else None
    return _Line(_text(text).strip(), repeats or 0, None if crop is None else _edges(crop), mask)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("text")
    # JSON can spell half of a surrogate pair, which no store takes.
    value.encode()
    return value


def _edges(value: Any) -> Edges:
    left, top, right, bottom = (float(edge) for edge in value)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError("crop")
    return left, top, right, bottom


def _unreadable(message: str) -> LayoutError:
    return LayoutError(
        message,
        reason="METADATA_UNREADABLE",
        remedy='Write lines such as {"file_name": "a.jpg", "text": "a cat"}, or set captions to False.',
    )
