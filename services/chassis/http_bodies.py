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

R = TypeVar("R", bound=Any)
H = TypeVar("H")

LENGTH_KEY = "x-fiveshot-content-length"
STATUS_KEY = "x-fiveshot-status"
IN_PIECES_KEY = "x-fiveshot-in-pieces"
HEAD_KEY = "x-fiveshot-head"
"""Of a call that asks for the headers alone."""
_NOT_MODIFIED = "304"


@dataclass(frozen=True)
class File:
    """A file on its way. size_bytes: None when not known. etag: changes with the bytes.

    chunks: checks the bytes, so it may raise at its very end.
    """

    file_name: str
    content_type: str
    size_bytes: int | None
    etag: str
    chunks: AsyncIterator[bytes]


async def send(file: File, context: Any) -> AsyncIterator[HttpBody]:
    """The file as the messages of one call; nothing but the headers when the caller has it already (If-None-Match), or
    asks for no more (HEAD), in which case the bytes are not read.

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
    waiting: bytes | None = None
    opened = False
    async for chunk in file.chunks:
        if waiting is not None:
            if not opened:
                await context.send_initial_metadata((*_headers(file), *_length(file), (IN_PIECES_KEY, "1")))
                opened = True
            yield HttpBody(content_type=file.content_type, data=waiting)
        waiting = chunk
    if not opened:
        await context.send_initial_metadata((*_headers(file), *_length(file)))
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
    )


def _length(file: File) -> tuple[tuple[str, str], ...]:
    return () if file.size_bytes is None else ((LENGTH_KEY, str(file.size_bytes)),)


def _has(context: Any, etag: str) -> bool:
    asked = _metadata(context).get("if-none-match", "")
    known = [part.strip().removeprefix("W/").strip('"') for part in asked.split(",")]
    return etag in known or "*" in known


def _metadata(context: Any) -> dict[str, str]:
    return dict(context.invocation_metadata() or ())
