"""Files as HTTP bodies: what goes out when, and under which name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from services.chassis import http_bodies
from services.chassis.errors import DataLoss, DomainError, OutOfRange
from services.chassis.http_bodies import File


class Context:
    """Records the headers."""

    def __init__(self, **headers: str) -> None:
        self._headers = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        self.sent: dict[str, str] | None = None

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        return self._headers

    async def send_initial_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        assert self.sent is None
        self.sent = dict(metadata)


async def _chunks(*parts: bytes, error: DomainError | None = None) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    if error:
        raise error


def _file(chunks: AsyncIterator[bytes], size_bytes: int = 0) -> File:
    return File("a.png", "image/png", size_bytes, "abc", chunks)


async def _received(file: File, context: Any) -> list[bytes]:
    return [body.data async for body in http_bodies.send(file, context)]


async def test_a_file_goes_out_with_its_name_length_and_etag() -> None:
    context = Context()
    assert await _received(_file(_chunks(b"one", b"two", b"three"), 11), context) == [b"one", b"two", b"three"]
    assert context.sent is not None
    assert context.sent["content-disposition"] == 'attachment; filename="a.png"'
    assert (context.sent["etag"], context.sent[http_bodies.LENGTH_KEY]) == ('"abc"', "11")


async def test_who_asks_for_the_headers_alone_gets_them_all_and_no_byte_is_read() -> None:
    context = Context(x_fiveshot_head="1")
    unread = _chunks(error=DataLoss("They were read"))
    assert await _received(_file(unread, 11), context) == [b""]
    assert context.sent is not None
    assert (context.sent["etag"], context.sent[http_bodies.LENGTH_KEY]) == ('"abc"', "11")


async def test_an_empty_file_is_an_empty_body() -> None:
    context = Context()
    assert await _received(_file(_chunks()), context) == [b""]
    assert context.sent is not None
    assert context.sent[http_bodies.LENGTH_KEY] == "0"


async def test_bytes_of_one_chunk_that_prove_wrong_are_an_error_and_no_answer() -> None:
    context = Context()
    with pytest.raises(DataLoss):
        await _received(_file(_chunks(b"one", error=DataLoss("damaged")), 3), context)
    assert context.sent is None


async def test_the_last_chunk_of_a_damaged_file_never_goes_out() -> None:
    got: list[bytes] = []
    sent = http_bodies.send(_file(_chunks(b"one", b"two", error=DataLoss("damaged")), 6), Context())
    got.append((await anext(sent)).data)
    with pytest.raises(DataLoss):
        await anext(sent)
    assert got == [b"one"]


@pytest.mark.parametrize("asked", ['"abc"', 'W/"abc"', '"old", "abc"', "*"])
async def test_who_has_the_file_gets_headers_alone(asked: str) -> None:
    context = Context(if_none_match=asked)
    assert await _received(_file(_chunks(b"one"), 3), context) == [b""]
    assert context.sent is not None
    assert context.sent[http_bodies.STATUS_KEY] == "304"
    assert http_bodies.LENGTH_KEY not in context.sent


async def test_who_has_another_file_gets_this_one() -> None:
    assert await _received(_file(_chunks(b"one"), 3), Context(if_none_match='"abd"')) == [b"one"]


async def test_a_part_of_a_file_goes_out_as_what_it_is() -> None:
    context = Context(range="bytes=2-7", if_range='"abc"')
    assert await _received(_file(_chunks(b"one", b"two", b"three"), 11), context) == [b"e", b"two", b"th"]
    assert context.sent is not None
    assert context.sent["content-range"] == "bytes 2-7/11"
    assert (context.sent[http_bodies.STATUS_KEY], context.sent[http_bodies.LENGTH_KEY]) == ("206", "6")
    assert (context.sent["accept-ranges"], context.sent["etag"]) == ("bytes", '"abc"')


async def test_a_part_is_read_by_itself_where_that_can_be_done() -> None:
    asked: list[range] = []

    def part(wanted: range) -> AsyncIterator[bytes]:
        asked.append(wanted)
        return _chunks(b"ree")

    unread = _chunks(error=DataLoss("They were read"))
    file = replace(_file(unread, 11), part=part)
    assert (await _received(file, Context(range="bytes=-3")), asked) == ([b"ree"], [range(8, 11)])


async def test_a_part_that_is_the_whole_is_checked_as_one() -> None:
    file = replace(_file(_chunks(b"one", error=DataLoss("damaged")), 3), part=lambda part: _chunks(b"one"))
    with pytest.raises(DataLoss):
        await _received(file, Context(range="bytes=0-"))


@pytest.mark.parametrize(
    "headers",
    [{"if_range": '"abd"'}, {"x_fiveshot_head": "1"}, {"if_none_match": '"abc"'}],
    ids=["another file", "headers alone", "has it already"],
)
async def test_a_range_counts_for_less_than_other_headers(headers: dict[str, str]) -> None:
    context = Context(range="bytes=1-", **headers)
    await _received(_file(_chunks(b"one"), 3), context)
    assert context.sent is not None
    assert "content-range" not in context.sent
    assert context.sent.get(http_bodies.STATUS_KEY) != "206"


async def test_a_file_without_a_known_size_has_no_parts() -> None:
    context = Context(range="bytes=1-")
    assert await _received(replace(_file(_chunks(b"one")), size_bytes=None), context) == [b"one"]
    assert context.sent is not None
    assert "accept-ranges" not in context.sent


async def test_a_part_that_is_not_there_is_told_with_the_size() -> None:
    context = Context(range="bytes=3-")
    with pytest.raises(OutOfRange):
        await _received(_file(_chunks(b"one"), 3), context)
    assert context.sent == {http_bodies.STATUS_KEY: "416", "content-range": "bytes */3"}


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("cat.jpg", 'attachment; filename="cat.jpg"'),
        ('a"b\\c.jpg', "attachment; filename=\"a_b_c.jpg\"; filename*=UTF-8''a%22b%5Cc.jpg"),
        ("猫.png", "attachment; filename=\"_.png\"; filename*=UTF-8''%E7%8C%AB.png"),
        ("a\r\nx: y.png", "attachment; filename=\"a__x: y.png\"; filename*=UTF-8''a%0D%0Ax%3A%20y.png"),
    ],
)
def test_a_name_stays_one_header_whatever_it_holds(name: str, header: str) -> None:
    assert http_bodies.disposition(name) == header
