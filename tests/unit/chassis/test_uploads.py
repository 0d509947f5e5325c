from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.chassis.errors import DeadlineExceeded, InvalidArgument
from services.chassis.uploads import chunks_of, header_of


async def stream(*messages: str | bytes) -> AsyncIterator[str | bytes]:
    for message in messages:
        yield message


async def stalled() -> AsyncIterator[str | bytes]:
    yield "header"
    await asyncio.Event().wait()


async def test_the_header_comes_first_and_the_bytes_follow() -> None:
    messages = stream("header", b"a", b"", b"bc")
    assert await header_of(messages, str, idle_s=60) == "header"
    assert [chunk async for chunk in chunks_of(messages, idle_s=60)] == [b"a", b"", b"bc"]


@pytest.mark.parametrize("messages", [(), (b"bytes",)], ids=["nothing", "bytes"])
async def test_an_upload_without_a_header_is_refused(messages: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await header_of(stream(*messages), str, idle_s=60, field="content")
    assert (refused.value.reason, refused.value.field) == ("UPLOAD_HEADER_MISSING", "content")


async def test_a_second_header_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        _ = [chunk async for chunk in chunks_of(stream(b"a", "header"), idle_s=60)]
    assert (refused.value.reason, refused.value.field) == ("UPLOAD_HEADER_REPEATED", "header")


async def test_a_caller_that_stops_sending_is_given_up() -> None:
    messages = stalled()
    await header_of(messages, str, idle_s=60)
    with pytest.raises(DeadlineExceeded) as late:
        _ = [chunk async for chunk in chunks_of(messages, idle_s=0.01)]
    assert late.value.reason == "UPLOAD_STALLED"
