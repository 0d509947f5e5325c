"""Captioners against a server that answers well, slowly, wrongly and with malice, through the real services."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from google.protobuf.field_mask_pb2 import FieldMask

from services.chassis.errors import NotFound
from tests.fixtures.chat_server import Asked, ChatServer, Reply, chat_server, said
from tests.integration.tagger.conftest import Suite, disc, running_suite

TagOptions, CaptionOptions = tagger_pb2.TagOptions, tagger_pb2.CaptionOptions
KEY = "sk-very-secret"


@pytest.fixture
async def server() -> AsyncIterator[ChatServer]:
    async with chat_server() as server:
        yield server


@pytest.fixture
async def captioned(server: ChatServer, dataset_target: str, tmp_path: Path) -> AsyncIterator[Suite]:
    """Both services with a captioner `writer`, and a dataset of the trigger word `sks`."""
    put(tmp_path / "taggers" / "writer", address=server.address)
    async with running_suite(dataset_target, tmp_path, taggers_dir=tmp_path / "taggers") as suite:
        yield suite


def put(folder: Path, *, key: str = KEY, **settings: object) -> None:
    """A captioner's folder, whole at once."""
    partial = folder.with_name(f".{folder.name}")
    partial.mkdir(parents=True)
    values = {"model": "some-vl", "api_key_file": "key", "first_pause_s": 0.0, "attempts": 3, **settings}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (partial / "captioner.toml").write_text("\n".join(lines), encoding="utf-8")
    (partial / "key").write_text(f"{key}\n", encoding="utf-8")
    os.rename(partial, folder)


def options(captioner: str = "writer", **fields: object) -> tagger_pb2.TagOptions:
    caption = CaptionOptions(class_noun="disc", token_limit=75)
    return TagOptions(captioner=f"taggers/{captioner}", caption=caption, **fields)  # type: ignore[arg-type]


async def listed(suite: Suite, id: str) -> tagger_pb2.Tagger:
    """A tagger as ListTaggers has it now."""
    answer = await suite.tagger.ListTaggers(tagger_service_pb2.ListTaggersRequest())
    return next(each for each in answer.taggers if each.name == f"taggers/{id}")


async def test_pictures_get_captions_with_their_origin(
    captioned: Suite, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    image = await captioned.upload("red", "a.png")
    crop = dataset_pb2.Image(name=image.name, crop=dataset_pb2.Crop(left=0.25, top=0.25, right=0.75, bottom=1.0))
    await captioned.datasets.UpdateImage(
        dataset_service_pb2.UpdateImageRequest(image=crop, update_mask=FieldMask(paths=["crop"]))
    )
    server.behave = lambda _: said('<think>Hm.</think>\n"The image shows a disc on a wall."')
    job = await captioned.run(options=options())
    stored = await captioned.image(image.name)
    assert (stored.caption, stored.training_text) == ("A sks disc on a wall.", "A sks disc on a wall.")
    assert stored.caption_origin == dataset_pb2.CaptionOrigin(captioner="writer", model="some-vl")
    assert (job.tagged_images, job.captioner_calls, job.options.captioner) == (1, 1, "taggers/writer")
    (asked,) = server.asked
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert (asked.body["model"], asked.body["max_tokens"]) == ("some-vl", 300)
    # What is trained is sent, made anew, and nothing of its file.
    assert asked.picture.size == (160, 240)
    assert not asked.picture.getexif()
    assert "a.png" not in json.dumps(asked.body)
    assert KEY not in capsys.readouterr().out


async def test_a_lone_picture_gets_a_caption(captioned: Suite) -> None:
    request = tagger_service_pb2.TagImageRequest(parent="projects/pets", content=disc("red"), options=options())
    answer = await captioned.tagger.TagImage(request)
    assert (answer.caption, list(answer.tags)) == ("A disc on a wall.", [])


async def test_a_captioner_is_added_changed_and_taken_away_without_a_restart(
    captioned: Suite, server: ChatServer, tmp_path: Path
) -> None:
    await captioned.upload("red", "a.png")
    with pytest.raises(NotFound) as caught:
        await captioned.start(options=options("second"))
    assert caught.value.field == "options.captioner"
    put(tmp_path / "taggers" / "second", address=server.address, model="other-vl")
    second = await listed(captioned, "second")
    assert (second.kind, second.model, second.fault) == (tagger_pb2.Tagger.KIND_CAPTIONS, "other-vl", "")
    job = await captioned.run(options=options("second", mode=tagger_pb2.TAG_MODE_OVERWRITE_AUTO))
    assert (job.tagged_images, server.asked[-1].body["model"]) == (1, "other-vl")
    (tmp_path / "taggers" / "second" / "captioner.toml").write_text('address = "ftp://x"\nmodel = ""', encoding="utf-8")
    fault = (await listed(captioned, "second")).fault
    assert fault.startswith("captioner.toml: address")
    assert str(tmp_path) not in fault
    with pytest.raises(NotFound, match="cannot be used") as caught:
        await captioned.start(options=options("second"))
    assert caught.value.reason == "TAGGER_FAULTY"


def _once(*replies: Reply) -> Callable[[Asked], Reply]:
    """Each in turn, then good answers."""
    left: Iterator[Reply] = iter(replies)
    return lambda _: next(left, said("A disc on a wall."))


ONCE = [
    Reply(500, b"oops"),
    Reply(503, b"", {"retry-after": "0"}),
    Reply(429, b"", {"retry-after": "0.01"}),
    Reply(200, b"{not json"),
    Reply(200, b"<html>please log in</html>"),
    Reply(200, b'{"choices": []}'),
    Reply(200, b'{"choices": [{"message": {"content": {"a": 1}}}]}'),
    Reply(200, b"[" * 100_000),
    Reply(200, b"\x1f\x8b\x08", {"content-encoding": "gzip"}),
    Reply(200, b"x", {"content-length": "100"}),
    said(""),
    said("I'm sorry, but I can't help with that."),
    said("", finish="content_filter"),
    said("Eine rote Scheibe liegt auf der Wand und ist rund."),
    said("A \ud83d disc"),
]


async def test_what_goes_wrong_once_is_asked_again(captioned: Suite, server: ChatServer) -> None:
    image = await captioned.upload("red", "a.png")
    for number, first in enumerate(ONCE):
        server.behave = _once(first, said(f"A disc on wall number {number}."))
        job = await captioned.run(options=options(mode=tagger_pb2.TAG_MODE_OVERWRITE_AUTO))
        assert (await captioned.image(image.name)).caption == f"A sks disc on wall number {number}.", first
        assert (job.tagged_images, job.captioner_calls) == (1, 2), first


async def test_what_a_hostile_server_sends_reaches_nobody(
    captioned: Suite, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    image = await captioned.upload("red", "a.png")
    async with chat_server() as elsewhere:
        evil = "EVIL<script>alert(1)</script>\x1b[31m"
        replies: list[Callable[[Asked], Reply]] = [
            lambda _: Reply(302, b"", {"location": f"{elsewhere.address}/chat/completions"}),
            lambda _: Reply(307, b"", {"location": f"{elsewhere.address}/chat/completions"}),
            lambda _: Reply(200, b"EVIL" * 4096, endless=True),
            lambda asked: said(asked.prompt),
            lambda _: Reply(401, evil.encode()),
            lambda _: Reply(400, evil.encode()),
            lambda _: Reply(500, evil.encode(), {"retry-after": "1e9"}),
            lambda _: Reply(429, b"", {"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"}),
        ]
        for number, behave in enumerate(replies):
            server.behave = behave
            job = await captioned.run(options=options())
            assert job.state == tagger_pb2.TagJob.STATE_FAILED, number
            assert job.captioner_calls <= 3, number
            told = f"{job}{capsys.readouterr()}"
            assert "EVIL" not in told, number
            assert KEY not in told, number
            assert server.address not in f"{job}", number
        assert not elsewhere.asked, "a picture went where the operator has not sent it"
    assert server.sent < 100_000_000
    assert not (await captioned.image(image.name)).caption
    server.behave = lambda _: said("A \u202edisc\x00 <img src=x onerror=alert(1)>on\r\na \x1b[31mwall.")
    await captioned.run(options=options())
    assert (await captioned.image(image.name)).caption == "A sks disc on a wall."


async def test_a_slow_server_is_given_up_and_no_more_than_allowed_are_asked_at_once(
    server: ChatServer, dataset_target: str, tmp_path: Path
) -> None:
    put(tmp_path / "taggers" / "slow", address=server.address, timeout_s=0.2, attempts=1)
    put(tmp_path / "taggers" / "narrow", address=server.address, parallel=1)
    async with running_suite(dataset_target, tmp_path, taggers_dir=tmp_path / "taggers", parallel_images=4) as suite:
        with ExitStack() as stack:
            never = asyncio.Event()
            stack.callback(never.set)
            for number in range(3):
                await suite.upload("red", f"{number}.png", data=_other(number))
            server.behave = lambda _: Reply(after=never.wait())
            job = await suite.run(options=options("slow"))
            assert (job.state, job.failed_images) == (tagger_pb2.TagJob.STATE_FAILED, 3)
            assert "did not answer in time" in job.error
        server.behave, server.most_under_way = (lambda _: said("A disc on a wall.")), 0
        job = await suite.run(options=options("narrow"))
        assert (job.tagged_images, server.most_under_way) == (3, 1)


async def test_a_cancelled_job_waits_for_no_answer(captioned: Suite, server: ChatServer) -> None:
    await captioned.upload("red", "a.png")
    never, reached = asyncio.Event(), asyncio.Event()

    def behave(_: Asked) -> Reply:
        reached.set()
        return Reply(after=never.wait())

    server.behave = behave
    job = await captioned.start(options=options())
    await reached.wait()
    await captioned.tagger.CancelTagJob(tagger_service_pb2.CancelTagJobRequest(name=job.name))
    ended = (await captioned.states(job))[-1]
    never.set()
    assert (ended.state, ended.tagged_images) == (tagger_pb2.TagJob.STATE_CANCELLED, 0)


def _other(number: int) -> bytes:
    return disc("red", 320 + number)
