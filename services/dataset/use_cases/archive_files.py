"""The files of an archive that is taken in: which are pictures, what their texts say, what is wrong with them."""

from __future__ import annotations

from pathlib import PurePosixPath

from fiveshot.layouts import Arranged, LayoutError, arrange, stored_name

from services.chassis.errors import InvalidArgument
from services.chassis.zip_archives import Archive, Entry
from services.dataset.models.checks import MAX_CAPTION, MAX_FILE_NAME

FIELD = "content"
"""The field of the request that holds the archive."""
MAX_CAPTION_FILE = 64 * 1024
_MAX_METADATA = 8 * 1024 * 1024
_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tgz", ".gz", ".cbz")


def arranged(archive: Archive, files: list[PurePosixPath], *, captions: bool, folder_repeats: bool) -> Arranged:
    """What lies in the archive among `files`. Raises InvalidArgument(METADATA_UNREADABLE)."""
    try:
        return arrange(
            files,
            lambda path: small(archive, path, _MAX_METADATA),
            captions=captions,
            folder_repeats=folder_repeats,
        )
    except LayoutError as error:
        raise unreadable(error) from error


def unreadable(error: LayoutError) -> InvalidArgument:
    """A text that cannot be read, as the caller of an import is told."""
    return InvalidArgument(
        error.message,
        field="caption",
        reason=error.reason,
        remedy="Mend the text, or set ignore_captions.",
    )


def fault_of(entry: Entry) -> InvalidArgument | None:
    """Why a file of the archive cannot be read."""
    if entry.fault:
        return InvalidArgument(
            f"{entry.path.name} {entry.fault}",
            field=FIELD,
            reason="ARCHIVE_ENTRY_UNSUPPORTED",
            remedy="Pack the file itself, by the usual method.",
        )
    if entry.path.suffix.lower() in _ARCHIVES:
        return InvalidArgument(
            f"{entry.path.name} is an archive within the archive",
            field=FIELD,
            reason="ARCHIVE_NESTED",
            remedy="Unpack it, and pack its pictures themselves.",
        )
    return None


def small(archive: Archive, path: PurePosixPath, limit: int) -> bytes:
    """A text of the archive. Raises InvalidArgument."""
    if archive.entries[path].size_bytes > limit:
        raise InvalidArgument(
            f"{path} has more than {limit} bytes",
            field="caption",
            reason="CAPTION_TOO_LONG",
            remedy=f"Shorten the text; a caption has at most {MAX_CAPTION} characters.",
        )
    return b"".join(archive.chunks(path))


def checked_caption(caption: str) -> str:
    """The caption. Raises InvalidArgument(CAPTION_TOO_LONG)."""
    if len(caption) > MAX_CAPTION:
        raise InvalidArgument(
            f"The caption has {len(caption)} characters, and {MAX_CAPTION} are allowed",
            field="caption",
            reason="CAPTION_TOO_LONG",
            remedy="Shorten it.",
        )
    return caption


def file_name(path: PurePosixPath) -> str:
    """The name under which a picture is stored. Raises InvalidArgument(FILE_NAME_INVALID)."""
    name = stored_name(path)
    if len(name) > MAX_FILE_NAME:
        raise InvalidArgument(
            f"The file's name has more than {MAX_FILE_NAME} characters",
            field="file_name",
            reason="FILE_NAME_INVALID",
            remedy="Rename the file.",
        )
    return name
