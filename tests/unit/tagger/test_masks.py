"""Masks that are suggested: what a picture's colours say, where they lie, and one answer a picture."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from services.chassis.errors import FailedPrecondition
from services.tagger.adapters.photo_mask import by_colours, guided
from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.models.pictures import Picture
from services.tagger.models.tags import ImageRecord
from services.tagger.ports import Box
from services.tagger.use_cases.masks import MaskSuggestion, MaskVerb, drawn_mask
from services.tagger.use_cases.taggers import Taggers
from tests.fakes.photographs import photo_of_a_clock
from tests.fakes.tagger_world import DATASET, FakeDecoder, ScriptedTagger
from tests.unit.tagger.conftest import World
from tests.unit.tagger.drawings import drawing


class DrawingTagger(ScriptedTagger):
    """Marks the left half of whatever it is shown."""

    def find_mask(self, picture: Picture, inside: Box) -> npt.NDArray[np.float32] | None:
        mask = np.zeros((40, 40), np.float32)
        mask[:, :20] = 1.0
        return mask


def overlap(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_a_rough_place_becomes_the_shape_that_its_colours_have() -> None:
    image = Image.new("RGB", (96, 96), (40, 90, 50))
    ImageDraw.Draw(image).ellipse((30, 20, 80, 70), fill=(220, 160, 30))
    pixels = np.asarray(image)
    shape = pixels[..., 0] > 128
    rough = np.zeros((96, 96))
    rough[10:84, 18:92] = 0.5
    rough[34:70, 34:70] = 0.9
    assert overlap(rough > 0.3, shape) < 0.7
    assert overlap(rough > 0.6, shape) < 0.7
    lab = np.asarray(image.convert("LAB"), np.int64)
    found = guided(pixels / 255, by_colours(lab, rough), 2)
    assert overlap(found > 0.5, shape) > 0.93


def test_a_clock_on_a_wall_is_marked_and_the_wall_is_not() -> None:
    with Image.open(BytesIO(photo_of_a_clock())) as file:
        clock = file.convert("RGB").resize((300, 300))
    rng = np.random.default_rng(0)
    wall = Image.fromarray((np.full((600, 800, 3), (150, 120, 96)) + rng.normal(0, 6, (600, 800, 1))).astype(np.uint8))
    round_ = Image.new("L", wall.size)
    ImageDraw.Draw(round_).ellipse((90, 70, 330, 310), fill=255)
    wall.paste(clock, (60, 40), round_.crop((60, 40, 360, 340)))
    picture = Picture(np.asarray(wall, np.uint8), None, 800, 600)
    found = PhotoOnnxTagger().find_mask(picture, (0.0, 0.0, 1.0, 1.0))
    assert found is not None
    assert (found.shape, float(found.min()) >= 0, float(found.max()) <= 1) == ((192, 256), True, True)
    truth = np.asarray(round_.resize((256, 192), Image.Resampling.BOX), np.float64) > 128
    assert found[truth].mean() > 0.9
    assert found[~truth].mean() < 0.25
    assert ((found > 0.05) & (found < 0.95)).any(), "soft at the edges"


def test_a_drawing_gets_no_mask() -> None:
    assert PhotoOnnxTagger().find_mask(drawing((255, 255, 255), (200, 30, 40)), (0.0, 0.0, 1.0, 1.0)) is None


async def all_of(world: World, tagger: ScriptedTagger, *images: str) -> list[MaskSuggestion]:
    verb = MaskVerb(world.datasets, Taggers([tagger]), FakeDecoder(), world.executor)
    return [found async for found in verb(DATASET, "", images)]


def test_a_mask_covers_the_whole_picture_and_leaves_its_bars_out() -> None:
    picture = Picture(np.zeros((90, 120, 3), np.uint8), None, 1200, 900)
    record = ImageRecord("a", (), "1", 1200, 900, (0.0, 0.25, 1.0, 0.75))
    drawn = drawn_mask(DrawingTagger(), picture, record)
    assert drawn is not None
    with Image.open(BytesIO(drawn[0])) as mask:
        assert (mask.mode, mask.size) == ("L", (512, 384))
        rows = np.asarray(mask, np.float64).mean(axis=1)
    assert (rows[:95].max(), rows[192] > 120, rows[289:].max()) == (0, True, 0)
    assert drawn[1] == pytest.approx(0.25, abs=0.02)


async def test_each_picture_gets_an_answer_and_a_broken_one_its_error(world: World) -> None:
    good, broken = world.datasets.add("a", "b")
    world.datasets.images[broken].data = b"nothing"
    first, second = await all_of(world, DrawingTagger())
    assert (first.image.name, bool(first.png), first.error) == (good, True, None)
    assert first.tagger == "scripted"
    assert second.error is not None
    assert (second.error.reason, second.png) == ("IMAGE_UNREADABLE", b"")
    assert [each.image.name for each in await all_of(world, DrawingTagger(), good)] == [good]


async def test_without_a_network_that_draws_masks_there_are_none(world: World) -> None:
    world.datasets.add("a", data=b"not read")
    (found,) = await all_of(world, ScriptedTagger())
    assert (found.png, found.error) == (b"", None)


async def test_an_empty_dataset_is_refused(world: World) -> None:
    with pytest.raises(FailedPrecondition):
        await all_of(world, DrawingTagger())
