"""The part of a file that a caller of HTTP asks for (RFC 9110, 14), so that a download that broke off goes on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from services.chassis.errors import OutOfRange

_RANGE = re.compile(r"bytes=\s*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))\s*", re.ASCII | re.IGNORECASE)


def asked_part(value: str, size_bytes: int) -> range | None:
    """The bytes that a Range header asks for, of a file of so many; None where the whole file is the answer.

    Several parts at once, other units and what is no range are passed over, as RFC 9110 allows. Raises
    OutOfRange(reason=RANGE_NOT_SATISFIABLE) for a part that holds no byte of the file.
    """
    found = _RANGE.fullmatch(value)
    if found is None:
        return None
    first, last, suffix = found.groups()
    if suffix is not None:
        part = range(max(0, size_bytes - int(suffix)), size_bytes)
    elif last and int(last) < int(first):
        return None
    else:
        part = range(int(first), min(int(last) + 1, size_bytes) if last else size_bytes)
    if not part:
        raise OutOfRange(
            f"The file has {size_bytes} bytes, none of them in the range that was asked for",
            reason="RANGE_NOT_SATISFIABLE",
            remedy="Ask for a range within the file; who has all of its bytes already needs no more.",
        )
    return part


def content_range(part: range | None, size_bytes: int) -> str:
    """The value of Content-Range; part: None of an answer without bytes."""
    return f"bytes {f'{part.start}-{part.stop - 1}' if part is not None else '*'}/{size_bytes}"


def same_file(if_range: str, etag: str) -> bool:
    """Whether If-Range lets a part go out: the file is still the one of which the caller has a beginning.

    Dates are passed over, as no file is sent with one; then the answer is the whole file.
    """
    return not if_range or if_range.strip() == f'"{etag}"'


async def cut(chunks: AsyncIterator[bytes], part: range) -> AsyncIterator[bytes]:
    """That part of a stream. What lies before it is read and dropped, what follows is not read."""
    at = 0
    async for chunk in chunks:
        wanted = chunk[max(0, part.start - at) : part.stop - at]
        at += len(chunk)
        if wanted:
            yield wanted
        if at >= part.stop:
            return
