"""Parts of files: what a Range header asks for, and what is cut out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.chassis.byte_ranges import asked_part, content_range, cut, same_file
from services.chassis.errors import OutOfRange


@pytest.mark.parametrize(
    ("value", "part"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-", range(10)),
        ("bytes=4-", range(4, 10)),
        ("bytes=4-6", range(4, 7)),
        ("bytes=4-99", range(4, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-99", range(10)),
        ("Bytes= 9- ", range(9, 10)),
    ],
)
def test_a_range_is_the_bytes_that_there_are_of_it(value: str, part: range) -> None:
    assert asked_part(value, 10) == part


@pytest.mark.parametrize(
    "value",
    ["", "bytes", "bytes=", "bytes=-", "bytes=5-4", "bytes=0-1,4-5", "pages=1-2", "bytes=a-b", "bytes=1-2x", "bytes=٣-",
     f"bytes={'9' * 19}-"],
)  # fmt: skip
def test_what_is_no_range_or_several_is_passed_over(value: str) -> None:
    assert asked_part(value, 10) is None


@pytest.mark.parametrize(
    ("value", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_a_range_without_a_byte_of_the_file_is_refused(value: str, size: int) -> None:
    with pytest.raises(OutOfRange) as refused:
        asked_part(value, size)
    assert refused.value.reason == "RANGE_NOT_SATISFIABLE"
    assert f"{size} bytes" in str(refused.value)


def test_what_went_out_is_told_with_the_size() -> None:
    assert content_range(range(4, 10), 10) == "bytes 4-9/10"
    assert content_range(None, 10) == "bytes */10"


@pytest.mark.parametrize(
    ("if_range", "same"),
    [("", True), ('"abc"', True), ('W/"abc"', False), ('"abd"', False), ("Fri, 27 Nov 2026 06:00:00 GMT", False)],
)
def test_a_part_goes_out_only_of_the_very_file(if_range: str, same: bool) -> None:
    assert same_file(if_range, "abc") is same


@pytest.mark.parametrize("part", [range(1), range(3, 4), range(2, 7), range(4, 8), range(9, 10), range(10)])
async def test_a_part_is_cut_out_of_chunks(part: range) -> None:
    read = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal read
        for chunk in (b"0123", b"45", b"", b"6789"):
            read += len(chunk)
            yield chunk

    got = [chunk async for chunk in cut(chunks(), part)]
    assert b"".join(got) == b"0123456789"[part.start : part.stop]
    assert all(got)
    assert read < part.stop + 4
