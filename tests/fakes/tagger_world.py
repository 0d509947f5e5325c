"""What surrounds the tagger's use cases: datasets in memory, a decoder that needs no files, scripted taggers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from services.chassis import request_context
from services.chassis.errors import Aborted, DomainError, InvalidArgument, NotFound
from services.chassis.names import etag_of
from services.chassis.request_context import RequestContext
from services.tagger.models.pictures import Category, Kind, Picture, Score, Scores, TaggerInfo
from services.tagger.models.tags import CaptionOrigin, DatasetRecord, Features, ImageRecord, Seen, Tag
from services.tagger.ports import Answer, Box

DATASET = "projects/acme/datasets/cats"


def score(label: str, value: float = 0.9, category: str = "general", *, measured: bool = False) -> Score:
    return Score(label, category, value, measured, "scripted", "" if measured else "abc")


class ScriptedTagger:
    """Gives the same scores for every picture; a picture whose first pixel is black is one that it cannot score."""

    def __init__(self, *scores: Score, id: str = "scripted", batch_size: int = 1, measures_only: bool = False) -> None:
        self._scores = scores
        self._info = TaggerInfo(
            id=id,
            display_name="Scripted",
            description="For tests.",
            domain="tests",
            vocabulary=tuple(item.label for item in scores),
            categories=(
                Category("character", 0.85, adaptive_floor=0.15, takes_threshold=False),
                Category("general", 0.35),
                Category("rating", 0.0, exclusive=True, takes_threshold=False),
                Category("colour", 0.2, takes_threshold=measures_only),
            ),
            model_sha256="" if measures_only else "abc",
            device="cpu",
            batch_size=batch_size,
            measures_only=measures_only,
        )
        self.batches: list[int] = []
        self.crash: Exception | None = None

    def describe(self) -> TaggerInfo:
        return self._info

    def available(self) -> bool:
        return True

    def infer(self, batch: Sequence[Picture]) -> list[Scores]:
        self.batches.append(len(batch))
        if self.crash is not None:
            raise self.crash
        unknown = InvalidArgument("The picture is black", remedy="Use another picture.")
        return [Scores(error=unknown) if not picture.rgb[0, 0].any() else Scores(self._scores) for picture in batch]


class ScriptedCaptioner:
    """Gives its answers one after the other, then the last one for ever; an error among them is raised."""

    def __init__(self, *answers: str | Answer | DomainError, id: str = "writer") -> None:
        self._answers = deque(answers or ("A cat on a wall.",))
        self._info = TaggerInfo(id, id, "", "tests", (), (), "", "remote", 2, kind=Kind.CAPTIONS, model="some-vl")
        self.prompts: list[str] = []
        self.seen: list[tuple[int, ...]] = []

    def describe(self) -> TaggerInfo:
        return self._info

    def available(self) -> bool:
        return True

    async def answer(self, picture: Picture, prompt: str, on_call: Callable[[], None]) -> Answer:
        on_call()
        self.prompts.append(prompt)
        self.seen.append(picture.rgb.shape)
        given = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
        if isinstance(given, DomainError):
            raise given
        return given if isinstance(given, Answer) else Answer(given)


class FakeKeptScores:
    """A KeptScores without a database."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], tuple[Scores, datetime]] = {}

    async def of(self, images: Sequence[str], fingerprint: str, now: datetime) -> dict[str, Scores]:
        found = {image: self.rows[image, fingerprint][0] for image in images if (image, fingerprint) in self.rows}
        for image, scores in found.items():
            self.rows[image, fingerprint] = scores, now
        return found

    async def keep(self, image: str, fingerprint: str, scores: Scores, now: datetime) -> None:
        self.rows[image, fingerprint] = scores, now

    async def forget_unused(self, before: datetime) -> int:
        old = [key for key, (_, used) in self.rows.items() if used < before]
        for key in old:
            del self.rows[key]
        return len(old)


class FakeDecoder:
    """Takes `picture:<n>` as a picture whose first pixel has the value n, and refuses everything else."""

    async def decode(self, data: bytes, *, field: str, owner: str) -> Picture:
        head, _, value = data.partition(b":")
        if head != b"picture":
            raise InvalidArgument("It cannot be read", field=field, reason="IMAGE_UNREADABLE", remedy="Resend.")
        return Picture(np.full((2, 2, 3), int(value), np.uint8), None, 2, 2)


@dataclass
class _Image:
    tags: tuple[Tag, ...] = ()
    data: bytes = b"picture:7"
    version: int = 1
    caption: str = ""
    caption_origin: CaptionOrigin | None = None
    crop: tuple[float, float, float, float] | None = None
    content_area: tuple[float, float, float, float] | None = None
    text_areas: tuple[Box, ...] = ()
    features: Features | None = None


@dataclass
class FakeDatasets:
    """A dataset with images that tests may change under the tagger's feet.

    failures: raised by the next calls, in order. before_write: called before each write, for edits that come between.
    """

    trigger_word: str = ""
    images: dict[str, _Image] = field(default_factory=dict)
    failures: deque[DomainError] = field(default_factory=deque)
    lost_answers: int = 0
    before_write: Callable[[str], None] = lambda _name: None
    callers: list[RequestContext] = field(default_factory=list)
    writes: int = 0

    def add(self, *names: str, tags: Sequence[Tag] = (), data: bytes = b"picture:7") -> list[str]:
        full = [f"{DATASET}/images/{name}" for name in names]
        for name in full:
            self.images[name] = _Image(tuple(tags), data)
        return full

    def edit(self, name: str, *tags: Tag) -> None:
        image = self.images[name]
        self.images[name] = replace(image, tags=tags, version=image.version + 1)

    def labels(self, name: str) -> list[str]:
        return [tag.label for tag in self.images[f"{DATASET}/images/{name}"].tags]

    async def get_dataset(self, name: str) -> DatasetRecord:
        self._called()
        if name != DATASET:
            raise NotFound("no such dataset", field="name")
        return DatasetRecord(name, self.trigger_word, len(self.images))

    async def list_images(self, dataset: str, filter: str) -> list[ImageRecord]:
        self._called()
        return [self._record(name) for name in self.images if filter in name.rsplit("/", 1)[1]]

    async def get_image(self, name: str) -> ImageRecord:
        self._called()
        return self._record(name)

    async def read_original(self, name: str) -> bytes:
        self._called()
        return self.images[name].data

    async def write_tags(self, image: str, tags: Sequence[Tag], etag: str, seen: Seen) -> ImageRecord:
        self.before_write(image)
        self._called()
        if self._record(image).etag != etag:
            raise Aborted("the image has changed", reason="ETAG_MISMATCH")
        self.edit(image, *tags)
        if seen.text_areas is not None:
            self.images[image].text_areas = seen.text_areas
        if seen.features is not None:
            self.images[image].features = seen.features
        self.writes += 1
        if self.lost_answers:
            self.lost_answers -= 1
            raise Aborted("a repeated write finds its own etag gone", reason="ETAG_MISMATCH")
        return self._record(image)

    async def write_crops(self, dataset: str, crops: Mapping[str, Box], etags: Mapping[str, str]) -> None:
        for name in crops:
            self.before_write(name)
        self._called()
        if any(self._record(name).etag != etags[name] for name in crops):
            raise Aborted("an image has changed", reason="ETAG_MISMATCH")
        for name, box in crops.items():
            self.images[name] = replace(self.images[name], crop=box, version=self.images[name].version + 1)
        self.writes += 1

    async def write_caption(self, image: str, caption: str, origin: CaptionOrigin, etag: str) -> ImageRecord:
        self.before_write(image)
        self._called()
        if self._record(image).etag != etag:
            raise Aborted("the image has changed", reason="ETAG_MISMATCH")
        self.caption(image, caption, origin)
        self.writes += 1
        if self.lost_answers:
            self.lost_answers -= 1
            raise Aborted("a repeated write finds its own etag gone", reason="ETAG_MISMATCH")
        return self._record(image)

    def caption(self, name: str, caption: str, origin: CaptionOrigin | None = None) -> None:
        image = self.images[name]
        self.images[name] = replace(image, caption=caption, caption_origin=origin, version=image.version + 1)

    def _called(self) -> None:
        self.callers.append(request_context.current())
        if self.failures:
            raise self.failures.popleft()

    def _record(self, name: str) -> ImageRecord:
        if name not in self.images:
            raise NotFound(f"There is no image {name}", field="name", remedy="It was deleted.")
        image = self.images[name]
        etag = etag_of(name, image.version)
        written = image.caption, image.caption_origin
        model = image.features.model_sha256 if image.features else ""
        boxes = image.crop, image.text_areas
        return ImageRecord(name, image.tags, etag, 1000, 1000, image.content_area, *written, *boxes, model)
