"""The pictures in the files and folders that a person names; `fiveshot.layouts` has the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fiveshot.errors import InvalidArgument, NotFound
from fiveshot.layouts import (
    EXTENSIONS,
    Edges,
    LayoutError,
    Why,
    arrange,
    caption_files,
    caption_text,
    is_hidden,
    is_mask,
    repeats_of,
)  # fmt: skip

_PLURALS = {
    Why.CAPTION: "captions without a picture",
    Why.OTHER: "files that are no pictures",
    Why.FOLDER: "folders within, entered with recursive",
    Why.LINE: "lines of metadata.jsonl without their picture",
    Why.HIDDEN: "hidden files",
    Why.MASK: "masks without a picture",
    Why.SECOND: "second captions of a picture",
    Why.LINK: "links to a folder or to nothing, or no files",
}


@dataclass(frozen=True)
class Picture:
    """A picture to upload. caption_file wins over caption. repeats: 0 leaves the dataset's. crop: fractions. mask: its
    mask's file."""

    path: Path
    caption_file: Path | None = None
    caption: str = ""
    repeats: int = 0
    crop: Edges | None = None
    mask: Path | None = None

    def text(self) -> str:
        """Its caption, "" without one. Raises InvalidArgument(reason=CAPTION_UNREADABLE)."""
        if self.caption_file is None:
            return self.caption
        try:
            return caption_text(_read(self.caption_file), self.caption_file.name)
        except LayoutError as error:
            raise _typed(error) from error


@dataclass(frozen=True)
class PassedOver:
    """Something in a folder or an archive that is not uploaded, and why."""

    path: Path
    why: Why


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


@dataclass
class _Walk:
    """Visible files relative to the top, the folders that were not entered, and what else is passed over."""

    recursive: bool
    repeats: bool
    files: list[PurePosixPath] = field(default_factory=list)
    closed: list[Path] = field(default_factory=list)
    others: list[PassedOver] = field(default_factory=list)

    def enter(self, folder: Path, at: PurePosixPath) -> None:
        for entry in sorted(_inside(folder)):
            if is_hidden(PurePosixPath(entry.name)):
                self.others.append(PassedOver(entry, Why.HIDDEN))
            elif entry.is_file():
                self.files.append(at / entry.name)
            elif entry.is_dir() and not entry.is_symlink():
                own = is_mask(PurePosixPath(entry.name) / "any.png") or (self.repeats and repeats_of(entry.name)[0])
                if self.recursive or own:
                    self.enter(entry, at / entry.name)
                else:
                    self.closed.append(entry)
            else:
                # A linked folder may lead out of what was given, or back into it; a pipe never ends.
                self.others.append(PassedOver(entry, Why.LINK))


def find_pictures(
    paths: Sequence[Path], *, recursive: bool = False, captions: bool = True, folder_repeats: bool = True
) -> Found:
    """Each file given, and from each folder its pictures by name; folders such as `5_sks cat` are always entered.

    captions: look for them. folder_repeats: take them from the folders' names.
    Raises NotFound for a path that is no file or a folder without pictures, InvalidArgument: METADATA_UNREADABLE,
    FILE_UNREADABLE.
    """
    found = Found()
    for path in paths:
        if path.is_dir():
            _folder(path, found, _Walk(recursive, folder_repeats), captions=captions)
        elif path.is_file():
            beside = caption_files(_inside(path.parent)) if captions else {}
            found.pictures.append(Picture(path, beside.get(path.stem.lower())))
        else:
            raise NotFound(f"There is no file {path}", remedy="Check the path.")
    return found


def _folder(folder: Path, found: Found, walk: _Walk, *, captions: bool) -> None:
    walk.enter(folder, PurePosixPath())
    try:
        arranged = arrange(
            walk.files, lambda file: _read(folder / file), captions=captions, folder_repeats=walk.repeats,
            top=folder.resolve().name, exists=lambda file: (folder / file).exists(),
        )  # fmt: skip
    except LayoutError as error:
        raise _typed(error) from error
    passed_over = [PassedOver(folder / path, why) for path, why in arranged.passed_over]
    passed_over += [PassedOver(closed, Why.FOLDER) for closed in walk.closed]
    passed_over += walk.others
    if not arranged.pictures:
        raise NotFound(f"There is no picture in {folder}", remedy=_remedy(walk.closed))
    for each in arranged.pictures:
        text = folder / each.caption_file if each.caption_file else None
        mask = folder / each.mask if each.mask else None
        found.pictures.append(Picture(folder / each.path, text, each.caption, each.repeats, each.crop, mask))
    found.passed_over += passed_over
    found.words += [words for words in arranged.words if words not in found.words]


def _inside(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise _unreadable(folder, error) from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(path: Path, error: OSError) -> InvalidArgument:
    return InvalidArgument(
        f"{path.name} cannot be read: {error.strerror}", reason="FILE_UNREADABLE", remedy="Check its permissions."
    )


def _typed(error: LayoutError) -> InvalidArgument:
    return InvalidArgument(error.message, field="caption", reason=error.reason, remedy=error.remedy)


def _remedy(closed: Sequence[Path]) -> str:
    if closed:
        return f"Set recursive to enter {', '.join(folder.name for folder in closed[:5])}."
    return f"Fiveshot takes {', '.join(EXTENSIONS)}."
