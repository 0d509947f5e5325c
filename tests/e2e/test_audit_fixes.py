"""Each finding of an audit on a running stack: the call that it brings is sent, and the finding is gone."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fiveshot import Client
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as ds
from google.protobuf.field_mask_pb2 import FieldMask
from PIL import Image, ImageFilter, ImageOps

from tests.fakes.photographs import photo_of_a_clock
from tests.fixtures.running_stack import PARENT, RunningStack

PAGE = Path(__file__).resolve().parents[2] / "docs" / "audit.md"
BY_A_PERSON = {"too-few", "watermark"}
"""Findings that only other photographs mend."""
_numbers = itertools.count()


def scene(seed: int, side: int = 256) -> Image.Image:
    """Patches of colour with grain: sharp, evenly lit, and unlike that of any other seed."""
    rng = np.random.default_rng(seed)
    patches = Image.fromarray(rng.integers(30, 226, (7, 7, 3), np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    grain = np.asarray(patches, np.int16) + rng.integers(-25, 26, (side, side, 3))
    return Image.fromarray(np.clip(grain, 10, 245).astype(np.uint8))


def lit(picture: Image.Image, factor: float, dark: float = 0) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(picture, np.float32) * factor - dark, 0, 255).astype(np.uint8))


def clock() -> Image.Image:
    return Image.open(BytesIO(photo_of_a_clock())).convert("RGB").resize((256, 256))


@dataclass
class Case:
    """A dataset of five good pictures, but for what is said. last: in place of the fifth. words: of its fifth image."""

    kind: str
    last: Callable[[], Image.Image] = lambda: scene(4)
    dataset: dict[str, Any] = field(default_factory=dict)
    captions: bool = True
    tags: tuple[str, ...] = ()
    words: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}{'-' if self.words or self.tags else ''}{'-'.join(sorted(self.words) or self.tags[:1])}"


_LONG = "on a very long and winding road that never comes to its end " * 8
_MANY = [dataset_pb2.Tag(label=f"{number} things") for number in range(60)]
_TAGS_TOO = {"text_from": dataset_pb2.TEXT_FROM_CAPTION_AND_TAGS}
CASES = [
    Case("near-duplicates", lambda: scene(0).resize((200, 200))),
    Case("too-small", lambda: scene(4, 40)),
    Case("bars", lambda: ImageOps.expand(scene(4), (0, 40, 0, 40), fill="black")),
    Case("text", words={"text_areas": [dataset_pb2.Crop(left=0.6, top=0.92, right=0.98, bottom=0.97)]}),
    Case("crop-loss", lambda: ImageOps.expand(clock(), (260, 0, 260, 0), fill=(150, 120, 96))),
    Case("blank", lambda: Image.new("RGB", (256, 256), (9, 8, 8))),
    Case("blurry", lambda: scene(4).filter(ImageFilter.GaussianBlur(6))),
    Case("underexposed", lambda: lit(scene(4), 0.3, 30)),
    Case("overexposed", lambda: lit(scene(4), 5)),
    Case("caption-too-long", words={"caption": _LONG}),
    Case("caption-too-long", words={"tags": _MANY}, dataset=_TAGS_TOO),
    Case("uneven-captions", clock, words={"caption": ""}),
    Case(
        "uneven-captions", words={"caption": "", "tags": [dataset_pb2.Tag(label="dog")]},
        dataset={"text_from": dataset_pb2.TEXT_FROM_CAPTION},
    ),
    Case("uneven-captions", words={"caption": _LONG[:180]}),
    Case("trigger-is-common", dataset={"trigger_word": "dog"}),
    Case("trigger-splits", dataset={"trigger_word": "s12345"}),
    Case("no-trigger-word", dataset={"trigger_word": ""}),
    Case("tag-on-all", captions=False, tags=("dog", "red collar")),
]  # fmt: skip


@pytest.fixture(scope="module")
def client(pretending: RunningStack) -> Iterator[Client]:
    with Client(pretending.server, api_key=pretending.api_key) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_call_of_a_finding_clears_it(pretending: RunningStack, client: Client, case: Case) -> None:
    name = f"{PARENT}/datasets/{case.kind}-{next(_numbers)}"
    try:
        _made(client, name, case)
        assert case.kind in _found(pretending, name), _found(pretending, name)
        mended = pretending.command("dataset", "audit", name, "--fix", case.kind)
        assert mended.stdout.splitlines()[0] == f"{case.kind}: done.", mended.output
        assert case.kind not in _found(pretending, name)
    finally:
        pretending.command("dataset", "delete", name)


def test_every_finding_of_the_page_is_tried_or_a_persons() -> None:
    table = PAGE.read_text(encoding="utf-8").partition("| finding |")[2].partition("\n\n")[0]
    kinds = {kind for row in table.splitlines()[2:] for kind in re.findall(r"`([a-z-]+)`", row.split("|")[1])}
    assert kinds == BY_A_PERSON | {case.kind for case in CASES}


def _found(stack: RunningStack, name: str) -> set[str]:
    audited = stack.command("--json", "dataset", "audit", name)
    return {finding["kind"] for finding in json.loads(audited.stdout).get("findings", ())}


def _made(client: Client, name: str, case: Case) -> None:
    fields = {"trigger_word": "sks", **case.dataset}
    dataset = dataset_pb2.Dataset(**fields)
    calls = client.stubs.dataset
    calls.CreateDataset(ds.CreateDatasetRequest(parent=PARENT, dataset_id=name.rsplit("/", 1)[1], dataset=dataset))
    for number, picture in enumerate([*map(scene, range(4)), case.last()]):
        buffer = BytesIO()
        picture.save(buffer, "PNG")
        image = _uploaded(client, name, f"{number}.png", buffer.getvalue())
        words: dict[str, Any] = {"caption": f"in a quiet place, view {number}"} if case.captions else {}
        if case.tags:
            words["tags"] = [dataset_pb2.Tag(label=label) for label in (*case.tags, f"view {number}")]
        words |= case.words if number == 4 else {}
        changed = dataset_pb2.Image(name=image.name, **words)
        calls.UpdateImage(ds.UpdateImageRequest(image=changed, update_mask=FieldMask(paths=list(words))))


def _uploaded(client: Client, name: str, file_name: str, data: bytes) -> dataset_pb2.Image:
    header, parts = ds.UploadImageHeader(parent=name, file_name=file_name), range(0, len(data), 2**18)
    sent = [ds.UploadImageRequest(chunk=data[part : part + 2**18]) for part in parts]
    image: dataset_pb2.Image = client.stubs.dataset.UploadImage(iter([ds.UploadImageRequest(header=header), *sent]))
    return image
