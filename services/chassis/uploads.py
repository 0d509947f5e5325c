"""Uploads as streams of messages: first a header, then the bytes, each message within its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from services.chassis.errors import DeadlineExceeded, InvalidArgument

T = TypeVar("T")
Header = TypeVar("Header")


async def header_of(
    messages: AsyncIterator[Header | bytes], kind: type[Header], *, idle_s: float, field: str = "header"
) -> Header:
    """What comes first, a `kind`. idle_s: the longest pause before it. field: what the error names.

    Raises InvalidArgument(UPLOAD_HEADER_MISSING), also where nothing comes at all; DeadlineExceeded(UPLOAD_STALLED).
    """
    first = await _next(messages, idle_s)
    if not isinstance(first, kind):
        raise InvalidArgument(
            "The upload does not begin with a header",
            field=field,
            reason="UPLOAD_HEADER_MISSING",
            remedy="Say in the first message what comes and where it goes, then send the bytes.",
        )
    return first


async def chunks_of(
    messages: AsyncIterator[Header | bytes], *, idle_s: float, field: str = "header"
) -> AsyncIterator[bytes]:
    """The bytes that follow a header. idle_s: the longest pause before each piece. field: what the error names.

    Raises InvalidArgument(UPLOAD_HEADER_REPEATED) and DeadlineExceeded(UPLOAD_STALLED).
    """
    while (message := await _next(messages, idle_s)) is not None:
        if not isinstance(message, bytes):
            raise InvalidArgument(
                "The upload has a second header",
                field=field,
                reason="UPLOAD_HEADER_REPEATED",
                remedy="Upload every file in a call of its own.",
            )
        yield message


async def _next(messages: AsyncIterator[T], idle_s: float) -> T | None:
    try:
        async with asyncio.timeout(idle_s):
            return await anext(messages, None)
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"The upload paused for more than {idle_s:g} s", reason="UPLOAD_STALLED", remedy="Upload the file again."
        ) from error
