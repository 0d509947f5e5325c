"""What cannot be read of an archive, whatever it is."""

from __future__ import annotations

from services.chassis.errors import InvalidArgument
from services.chassis.zip_archives import Entry

_ARCHIVES = (".zip", ".rar", ".7z", ".tar", ".tgz", ".gz", ".cbz")


def archive_fault(entry: Entry) -> InvalidArgument | None:
    """Why an entry cannot be taken at all; None for one that can be tried."""
    if entry.fault:
        return InvalidArgument(
            f"{entry.path.name} {entry.fault}",
            field="content",
            reason="ARCHIVE_ENTRY_UNSUPPORTED",
            remedy="Pack the file itself, by the usual method.",
        )
    if entry.path.suffix.lower() in _ARCHIVES:
        return InvalidArgument(
            f"{entry.path.name} is an archive within the archive",
            field="content",
            reason="ARCHIVE_NESTED",
            remedy="Unpack it, and pack its pictures themselves.",
        )
    return None
