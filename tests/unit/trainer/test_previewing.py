"""What a job would train on: the same cut as the engine makes, and facts of every text."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fiveshot.trainer.v1 import training_picture_pb2
from PIL import Image

from services.trainer.engine.job import TrainItem
from services.trainer.engine.pictures import Picture, views_of
from services.trainer.models.base import TextSource, TrainingImage, TrainingSet
from services.trainer.proto_mapping.pictures import picture_to_proto
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.plan import PictureSize
from services.trainer.use_cases import previewing
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.planning import Planner
from services.trainer.use_cases.previewing import SeenPicture, TrainingPreview
from tests.unit.trainer.test_planning import MODEL, REQUEST

BUCKETED = {"aspect_buckets": True, "resolution": 64}


class Datasets:
    """One set of photos, and what was drawn of them."""

    def __init__(self, *images: TrainingImage) -> None:
        self.data = TrainingSet("", "", "sks", images)
        self.drawn: list[tuple[str, Crop, tuple[int, int]]] = []

    async def look(self, name: str) -> TrainingSet:
        return self.data

    async def pin(self, name: str) -> TrainingSet:
        raise AssertionError("a preview freezes nothing")

    async def draw(self, image: str, part: Crop, size: tuple[int, int], *, mask: bool = False) -> bytes:
        self.drawn.append((image, part, size))
        return b"jpeg"


def image(width: int, height: int, crop: Crop | None = None, **more: object) -> TrainingImage:
    return TrainingImage(PictureSize(width, height, crop, 2), "sks, a dog", "images/a", **more)  # type: ignore[arg-type]


async def preview(datasets: Datasets, *, draw: bool = False, **parameters: object) -> list[SeenPicture]:
    planner = Planner(BaseModels({MODEL.id: MODEL}), datasets, min_images=1)
    request = replace(REQUEST, parameters={**BUCKETED, **parameters})
    return [seen async for seen in TrainingPreview(planner, datasets)(request, draw=draw)]


@pytest.mark.parametrize("size", [(640, 480), (300, 900), (512, 512), (1000, 90)])
@pytest.mark.parametrize("crop", [None, (0.1, 0.2, 0.7, 1.0)])
@pytest.mark.parametrize("masked", [False, True])
async def test_the_part_that_is_seen_is_the_one_that_the_engine_cuts(
    size: tuple[int, int], crop: Crop | None, masked: bool
) -> None:
    (seen,) = await preview(Datasets(image(*size, crop)), masked_loss=masked)
    planner = Planner(BaseModels({MODEL.id: MODEL}), Datasets(image(*size, crop)), min_images=1)
    planned = await planner.plan(replace(REQUEST, parameters={**BUCKETED, "masked_loss": masked}), store=False)
    item = TrainItem(None, "", 1, crop=crop)  # type: ignore[arg-type]
    picture = Picture(Image.new("RGB", size), size, "", item, use_crop=not masked)
    (bucket,) = planned.plan.buckets
    assert seen.bucket == (bucket.width, bucket.height)
    box = views_of(picture, seen.bucket, planned.parameters)[0].box
    edges = (box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1])
    assert seen.seen == pytest.approx(edges)


async def test_what_is_lost_and_enlarged_is_said() -> None:
    wide, small = await preview(Datasets(image(400, 100), image(32, 32)), aspect_buckets=False)
    assert wide.lost_share == pytest.approx(0.75)
    assert (wide.enlargement, small.enlargement) == (0.64, 2.0)
    assert (wide.seen_size, wide.bucket) == ((100, 100), (64, 64))
    assert (wide.tokens, wide.token_limit > 0) == (4, True)


async def test_the_held_out_picture_gives_no_samples() -> None:
    seen = await preview(Datasets(*[image(64, 64)] * 8), hold_out=True, num_repeats=3)
    assert [each.samples for each in seen] == [6] * 7 + [0]


async def test_pictures_are_drawn_in_the_form_of_their_bucket_and_not_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(previewing, "LARGEST_DRAWN", 48)
    datasets = Datasets(image(4000, 2000))
    (seen,) = await preview(datasets, draw=True)
    ((name, part, size),) = datasets.drawn
    assert (seen.picture, name, part) == (b"jpeg", "images/a", seen.seen)
    assert max(size) == 48 < max(seen.bucket)
    assert size[0] / size[1] == pytest.approx(seen.bucket[0] / seen.bucket[1], abs=0.1)


async def test_the_message_says_where_the_text_comes_from() -> None:
    captioned = image(64, 64, text_source=TextSource.CAPTION, tags_unused=True)
    seen = await preview(Datasets(captioned, image(64, 64, (0, 0, 1, 0.5))))
    first, second = (picture_to_proto(each) for each in seen)
    assert (first.text, first.tags_unused) == ("sks, a dog", True)
    assert first.text_source == training_picture_pb2.TrainingPicture.TEXT_SOURCE_CAPTION
    assert (first.HasField("crop"), second.crop.bottom) == (False, 0.5)
    assert second.text_source == training_picture_pb2.TrainingPicture.TEXT_SOURCE_UNSPECIFIED
