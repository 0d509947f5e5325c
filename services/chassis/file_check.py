"""Whether the bucket holds every file that a database names, and which files none names: after a restore, above all.

    python -m services.NAME.app check-files

prints a line of JSON for each finding and one with the counts, and ends with 1 when something is missing.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from services.chassis.s3 import ObjectStore


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a row names. owner: the resource that it belongs to. size_bytes: exact."""

    owner: str
    key: str
    size_bytes: int


class FileCheck:
    """Compares a service's part of the bucket with its database.

    prefix: of all its objects. named: reads every file that its rows name.
    """

    def __init__(self, objects: ObjectStore, prefix: str, named: Callable[[], AsyncIterator[NamedFile]]) -> None:
        self._objects = objects
        self._prefix = prefix
        self._named = named

    async def run(self, tell: Callable[[str], None]) -> bool:
        """Tells what it finds, a line each; whether nothing is missing. Raises Unavailable.

        Beside a service at work a file that is being stored counts as left over, and one that is being deleted may
        count as missing.
        """
        # Rows first: bytes are stored before the row that names them.
        named = {file.key: file async for file in self._named()}
        listed = {item.key: item.size_bytes async for item in self._objects.list(self._prefix)}
        missing = [file for key, file in named.items() if listed.get(key) != file.size_bytes]
        left_over = sorted(listed.keys() - named.keys())
        for file in missing:
            found = {"found_bytes": listed[file.key]} if file.key in listed else {}
            tell(json.dumps({"missing": file.key, "of": file.owner, **found}))
        for key in left_over:
            tell(json.dumps({"left_over": key, "size_bytes": listed[key]}))
        tell(json.dumps({"named": len(named), "missing": len(missing), "left_over": len(left_over)}))
        return not missing
