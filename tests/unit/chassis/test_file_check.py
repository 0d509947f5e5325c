"""What `check-files` says: what a row names and the bucket lacks, and what the bucket holds and no row names."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, cast

from services.chassis.file_check import FileCheck, NamedFile
from services.chassis.s3 import ObjectInfo, ObjectStore

OWNER = "projects/acme/models/cat/versions/1"


class Bucket:
    """Keys and sizes."""

    def __init__(self, **sizes: int) -> None:
        self._sizes = sizes

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        for key, size in self._sizes.items():
            if key.startswith(prefix):
                yield ObjectInfo(key, size, "", "", None)


async def found(bucket: Bucket, *named: NamedFile) -> tuple[bool, list[dict[str, Any]]]:
    async def rows() -> AsyncIterator[NamedFile]:
        for file in named:
            yield file

    lines: list[str] = []
    whole = await FileCheck(cast(ObjectStore, bucket), "r_", rows).run(lines.append)
    return whole, [json.loads(line) for line in lines]


async def test_a_bucket_that_holds_what_rows_name_is_whole_and_strangers_are_not_its_own() -> None:
    bucket = Bucket(r_a=3, other=5)
    assert await found(bucket, NamedFile(OWNER, "r_a", 3)) == (True, [{"named": 1, "missing": 0, "left_over": 0}])


async def test_an_absent_file_is_missing_and_so_is_one_that_was_cut_off() -> None:
    whole, lines = await found(Bucket(r_a=2), NamedFile(OWNER, "r_a", 3), NamedFile(OWNER, "r_b", 1))
    assert not whole
    assert lines == [
        {"missing": "r_a", "of": OWNER, "found_bytes": 2},
        {"missing": "r_b", "of": OWNER},
        {"named": 2, "missing": 2, "left_over": 0},
    ]


async def test_what_no_row_names_is_left_over_and_nothing_is_missing_for_it() -> None:
    assert await found(Bucket(r_a=3)) == (
        True,
        [{"left_over": "r_a", "size_bytes": 3}, {"named": 0, "missing": 0, "left_over": 1}],
    )
