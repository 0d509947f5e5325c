"""Words for pictures on a running stack: a captioner that is added to it, another threshold, captions that changed."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fiveshot import Client
from fiveshot.errors import InvalidArgument

from tests.fakes.archives import zipped
from tests.fakes.photographs import photo_of_a_clock
from tests.fixtures.chat_server import ChatServer, chat_server, said
from tests.fixtures.patience import LIMIT_S, scaled
from tests.fixtures.running_stack import RunningStack

NAME = "words"


@contextmanager
def chat_server_beside() -> Iterator[ChatServer]:
    """A chat server in a thread of its own: the command line has none to spare."""
    ready, over = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    found: list[ChatServer] = []

    async def serve() -> None:
        async with chat_server() as server:
            found.append(server)
            ready.set()
            await over.wait()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert ready.wait(scaled(LIMIT_S))
        yield found[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


@pytest.fixture
def stack(filled_stack: RunningStack) -> Iterator[RunningStack]:
    """The stack with an empty dataset."""
    try:
        assert filled_stack.command("dataset", "create", NAME, "--trigger-word", "sks").exit_code == 0
        yield filled_stack
    finally:
        filled_stack.command("taggers", "remove", "writer")
        filled_stack.command("dataset", "delete", NAME)


def answer(stack: RunningStack, *arguments: str) -> Any:
    """What a command that succeeds prints as JSON."""
    done = stack.command("--json", *arguments)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.strip().splitlines()[-1] if "tag" in arguments else done.stdout)


def texts(stack: RunningStack) -> list[tuple[str, str]]:
    return [(each["source"], each["text"]) for each in answer(stack, "dataset", "show", NAME, "--texts")["texts"]]


def test_pictures_get_tags_captions_and_both(stack: RunningStack, tmp_path: Path) -> None:
    (tmp_path / "clock.png").write_bytes(photo_of_a_clock(1))
    assert stack.command("dataset", "upload", NAME, str(tmp_path / "clock.png")).exit_code == 0
    first = answer(stack, "dataset", "tag", NAME)
    again = answer(stack, "dataset", "tag", NAME, "--threshold", "0.99", "--mode", "overwrite-auto")
    assert (first.get("rescoredImages", 0), again["rescoredImages"]) == (0, 1)
    ((source, tags),) = texts(stack)
    assert source == "tags"
    folder = tmp_path / "Some.VL_Model"
    folder.mkdir()
    with chat_server_beside() as server:
        server.behave = lambda _: said("The image shows a clock on a wall.")
        (folder / "captioner.toml").write_text(f'address = "{server.address}"\nmodel = "some-vl"\n')
        assert stack.command("taggers", "add", str(folder), "--name", "writer").exit_code == 0
        refused = stack.command("taggers", "add", str(folder), "--name", "writer")
        assert "There is a tagger 'writer' already" in refused.stderr
        listed = {each["name"]: each for each in answer(stack, "taggers")["taggers"]}
        assert listed["taggers/writer"]["kind"] == "KIND_CAPTIONS"
        done = stack.command("dataset", "tag", NAME, "--captioner", "writer", "--subject", "clock")
        assert done.exit_code == 0, done.output
        assert "1 captioned" in done.stdout
        assert "1 calls to taggers/writer." in done.stdout
        server.behave = lambda _: said("A clock in a hall.")
        with Client(stack.server, api_key=stack.api_key) as client:
            job = client.datasets.get(NAME).update(subject="clock").tag(captioner="writer", mode="overwrite-auto")
            assert (job.tagged_images, job.captioner_calls) == (1, 1)
            assert texts(stack) == [("caption", "A sks clock in a hall.")]
            with pytest.raises(InvalidArgument, match="not a purpose"):
                client.datasets.get(NAME).tag(captioner="writer", purpose="fun")
    assert "the caption is trained, the tags are not" in done.stderr
    for text_from in ("caption-and-tags", "tags"):
        assert stack.command("dataset", "update", NAME, "--text-from", text_from).exit_code == 0
        ((source, text),) = texts(stack)
        assert (source, text.startswith("A sks clock in a hall")) == (text_from.replace("-and-", ", "), text != tags)


def test_a_changed_caption_in_an_archive_is_offered_and_taken_over(stack: RunningStack, tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    steps = (("a clock", "", False), ("another clock", "", False), ("another clock", "--update-captions", True))
    for caption, option, updated in steps:
        more = [option] if option else []
        archive.write_bytes(zipped({"3_clock/A.PNG": photo_of_a_clock(2), "3_clock/a.caption": caption.encode()}))
        done = stack.command("dataset", "upload", NAME, str(archive), *more)
        assert done.exit_code == 0, done.output
        assert ("1 updated" in done.stdout) == updated
        if caption == "another clock" and not more:
            assert "with another caption" in done.stderr
            assert "--update-captions takes them" in done.stdout
    assert texts(stack) == [("caption", "sks, another clock")]
