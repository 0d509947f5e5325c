"""Files as raw HTTP bodies: `google.api.HttpBody`, with the headers that make it a file.

The gateway's transcoder writes the messages of such a stream as they are, and the call's initial metadata as headers.
It would drop a `content-length`, so that one travels under another name (see gateway/envoy_bytes.py).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

from google.api.httpbody_pb2 import HttpBody

from services.chassis import byte_ranges
from services.chassis.errors import OutOfRange

R = TypeVar("R", bound=Any)
H = TypeVar("H")

LENGTH_KEY = "x-fiveshot-content-length"
STATUS_KEY = "x-fiveshot-status"
IN_PIECES_KEY = "x-fiveshot-in-pieces"
HEAD_KEY = "x-fiveshot-head"
"""Of a call that asks for the headers alone."""
_NOT_MODIFIED, _PARTIAL, _NO_SUCH_PART = "304", "206", "416"


@dataclass(frozen=True)
class File:
    """A file on its way. size_bytes: None when not known; then it has no parts. etag: changes with the bytes.

    chunks: checks the bytes, so it may raise at its very end. part: reads some of them without those before; else they
    are taken out of chunks.
    """

    file_name: str
    content_type: str
    size_bytes: int | None
    etag: str
    chunks: AsyncIterator[bytes]
    part: Callable[[range], AsyncIterator[bytes]] | None = None


async def send(file: File, context: Any) -> AsyncIterator[HttpBody]:
    """The file, or the part of it that Range asks for, as the messages of one call; nothing but the headers when the
    caller has it already (If-None-Match), or asks for no more (HEAD), in which case the bytes are not read.

    Raises OutOfRange(reason=RANGE_NOT_SATISFIABLE) for a part that the file does not have.

    A chunk goes out when the next one is there: the last one, and a file of one chunk whole, only once `chunks` has
    found the bytes to be right. An error before the first message is an HTTP error; a later one cuts the body short,
    which over HTTP/1.1 only the end of the connection shows: the gateway ends it after a file in pieces.
    """
    if _has(context, file.etag):
        await context.send_initial_metadata((*_headers(file), (STATUS_KEY, _NOT_MODIFIED)))
        yield HttpBody(content_type=file.content_type)
        return
    if _metadata(context).get(HEAD_KEY):
        await context.send_initial_metadata((*_headers(file), *_length(file)))
        yield HttpBody(content_type=file.content_type)
        return
    part = await _part(file, context)
    headers = (*_headers(file), *_length(file, part))
    waiting: bytes | None = None
    opened = False
    async for chunk in _chunks(file, part):
        if waiting is not None:
            if not opened:
                await context.send_initial_metadata((*headers, (IN_PIECES_KEY, "1")))
                opened = True
            yield HttpBody(content_type=file.content_type, data=waiting)
        waiting = chunk
    if not opened:
        await context.send_initial_metadata(headers)
    yield HttpBody(content_type=file.content_type, data=waiting or b"")


async def received(requests: AsyncIterator[R], header: Callable[[R], H]) -> AsyncIterator[H | bytes]:
    """A raw body on its way in: what the fields of its first message say, then the bytes of every message.

    R: messages with an HttpBody `content`; Envoy writes what the address says into the first of them.
    """
    first = True
    async for request in requests:
        if first:
            yield header(request)
            first = False
        yield request.content.data


def disposition(file_name: str) -> str:
    """The Content-Disposition of a download (RFC 6266): the plain name for old clients, and the exact one in UTF-8."""
    plain = "".join(letter if _plain(letter) else "_" for letter in file_name)
    exact = "" if plain == file_name else f"; filename*=UTF-8''{quote(file_name, safe='')}"
    return f'attachment; filename="{plain}"{exact}'


def _plain(letter: str) -> bool:
    return letter.isascii() and letter.isprintable() and letter not in '"\\%'


def _headers(file: File) -> tuple[tuple[str, str], ...]:
    return (
        ("content-disposition", disposition(file.file_name)),
        ("etag", f'"{file.etag}"'),
        # A caller's own browser may keep it, and asks each time whether it has changed.
        ("cache-control", "private, no-cache"),
        ("x-content-type-options", "nosniff"),
        *((("accept-ranges", "bytes"),) if file.size_bytes is not None else ()),
    )


def _length(file: File, part: range | None = None) -> tuple[tuple[str, str], ...]:
    if file.size_bytes is None:
        return ()
    if part is None:
        return ((LENGTH_KEY, str(file.size_bytes)),)
    told = byte_ranges.content_range(part, file.size_bytes)
    return ((LENGTH_KEY, str(len(part))), (STATUS_KEY, _PARTIAL), ("content-range", told))


async def _part(file: File, context: Any) -> range | None:
    """The part that is asked for; None for the whole file."""
    asked = _metadata(context)
    if file.size_bytes is None or not byte_ranges.same_file(asked.get("if-range", ""), file.etag):
        return None
    try:
        return byte_ranges.asked_part(asked.get("range", ""), file.size_bytes)
    except OutOfRange:
        told = ("content-range", byte_ranges.content_range(None, file.size_bytes))
        await context.send_initial_metadata(((STATUS_KEY, _NO_SUCH_PART), told))
        raise


def _chunks(file: File, part: range | None) -> AsyncIterator[bytes]:
    # A part that is the whole is checked as the whole is.
    if part is None or len(part) == file.size_bytes:
        return file.chunks
    return file.part(part) if file.part is not None else byte_ranges.cut(file.chunks, part)


def _has(context: Any, etag: str) -> bool:
    asked = _metadata(context).get("if-none-match", "")
    known = [part.strip().removeprefix("W/").strip('"') for part in asked.split(",")]
    return etag in known or "*" in known


def _metadata(context: Any) -> dict[str, str]:
    return dict(context.invocation_metadata() or ())
