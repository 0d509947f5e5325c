"""What to keep of a picture: the geometry, and the verb over a dataset."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.chassis.errors import Aborted, FailedPrecondition, NotFound
from services.tagger.models.pictures import Picture
from services.tagger.models.tags import ImageRecord
from services.tagger.use_cases.cropping import USUAL_SHAPES, Box, best_crop
from services.tagger.use_cases.crops import CropSuggestion, CropVerb, suggestion
from services.tagger.use_cases.taggers import CombinedTagger, Taggers
from tests.fakes.tagger_world import DATASET, FakeDecoder, ScriptedTagger
from tests.unit.tagger.conftest import World

SQUARE = ((512, 512),)
WHOLE: Box = (0, 0, 2000, 1000)


def contains(outer: Box, inner: Box) -> bool:
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


@pytest.mark.parametrize(
    "subject", [(100, 100, 400, 300), (1500, 600, 2000, 1000), (900, 0, 1100, 1000), (0, 400, 1200, 700)]
)
def test_a_subject_is_kept_whole_in_a_shape_that_is_trained(subject: Box) -> None:
    crop = best_crop(WHOLE, subject, USUAL_SHAPES)
    assert crop is not None
    assert crop.shape is not None
    left, top, right, bottom = crop.box
    assert contains(WHOLE, crop.box)
    assert contains(crop.box, subject)
    assert (right - left) / (bottom - top) == pytest.approx(crop.shape[0] / crop.shape[1])


def test_surroundings_and_the_pixels_of_the_shape_stay() -> None:
    crop = best_crop(WHOLE, (990, 490, 1010, 510), SQUARE)
    assert crop is not None
    assert (crop.box[2] - crop.box[0]) ** 2 == pytest.approx(0.25 * 2000 * 1000)
    small = best_crop((0, 0, 700, 600), (10, 10, 20, 20), SQUARE)
    assert small is not None
    assert small.box == (0, 0, 512, 512)


def test_a_subject_that_fits_no_shape_loses_the_least() -> None:
    crop = best_crop(WHOLE, (0, 100, 2000, 900), SQUARE)
    assert crop is not None
    assert crop.box == (500, 0, 1500, 1000)


def test_of_a_subject_that_is_too_tall_for_the_shape_the_head_stays() -> None:
    crop = best_crop((0, 0, 600, 1000), (50, 80, 550, 980), SQUARE)
    assert crop is not None
    assert crop.box == (0, 80, 600, 680)


def test_a_picture_that_is_right_already_is_left_alone() -> None:
    assert best_crop((0, 0, 1000, 1000), (50, 20, 980, 990), USUAL_SHAPES) is None
    assert best_crop(WHOLE, None, USUAL_SHAPES) is None


def record(area: Box | None = None) -> ImageRecord:
    return ImageRecord("projects/acme/datasets/cats/images/a", (), "etag", 1000, 1000, area)


def test_bars_are_cut_where_nothing_stands_out() -> None:
    found = suggestion(record((0, 0.1, 1, 0.9)), None, SQUARE)
    assert (found.crop, found.width, found.height, found.shape) == ((0, 0.1, 1, 0.9), 1000, 800, None)
    assert suggestion(record(), None, SQUARE).crop is None


def test_a_crop_lies_inside_the_bars_and_on_whole_pixels() -> None:
    found = suggestion(record((0, 0.1, 1, 0.9)), (0.1, 0.12, 0.333, 0.5), SQUARE)
    assert found.crop is not None
    assert found.crop[1] >= 0.1
    assert found.shape == (512, 512)
    assert [edge * 1000 % 1 for edge in found.crop] == [0, 0, 0, 0]


class FindingTagger(ScriptedTagger):
    """Finds the subject in the middle of whatever it is shown."""

    def find_subject(self, picture: Picture, inside: Box) -> Box | None:
        return (0.4, 0.4, 0.6, 0.6)


async def all_of(verb: CropVerb, *images: str, filter: str = "") -> list[CropSuggestion]:
    return [found async for found in verb(DATASET, filter, images, SQUARE)]


@pytest.fixture
def verb(world: World) -> Callable[[ScriptedTagger], CropVerb]:
    return lambda tagger: CropVerb(world.datasets, Taggers([tagger]), FakeDecoder(), world.executor)


async def test_each_picture_gets_an_answer_and_a_broken_one_its_error(
    world: World, verb: Callable[[ScriptedTagger], CropVerb]
) -> None:
    good, broken = world.datasets.add("a", "b")
    world.datasets.images[broken].data = b"nothing"
    first, second = await all_of(verb(FindingTagger()))
    assert (first.image.name, first.subject, first.error) == (good, (0.4, 0.4, 0.6, 0.6), None)
    assert second.error is not None
    assert (second.error.reason, second.crop) == ("IMAGE_UNREADABLE", None)


async def test_some_pictures_are_asked_for_by_name(world: World, verb: Callable[[ScriptedTagger], CropVerb]) -> None:
    _, second = world.datasets.add("a", "b")
    assert [found.image.name for found in await all_of(verb(FindingTagger()), second, second)] == [second]
    with pytest.raises(NotFound) as caught:
        await all_of(verb(FindingTagger()), second, f"{DATASET}/images/c")
    assert caught.value.violations[0].field == "images[1]"


async def test_without_a_network_that_finds_subjects_no_picture_is_read(
    world: World, verb: Callable[[ScriptedTagger], CropVerb]
) -> None:
    (name,) = world.datasets.add("a", data=b"not read")
    (found,) = await all_of(verb(ScriptedTagger()))
    assert (found.image.name, found.error, found.crop) == (name, None, None)


async def test_what_is_suggested_is_set_in_one_edit(world: World, verb: Callable[[ScriptedTagger], CropVerb]) -> None:
    first, second, broken = world.datasets.add("a", "b", "c")
    world.datasets.images[broken].data = b"nothing"
    done = await verb(FindingTagger()).apply(DATASET, [second, broken, first], SQUARE)
    answers = [(found.image.name, found.error is None) for found in done]
    assert answers == [(second, True), (broken, False), (first, True)]
    assert [world.datasets.images[name].crop for name in (second, broken, first)] == [done[0].crop, None, done[2].crop]
    assert (done[0].crop is not None, world.datasets.writes) == (True, 1)


async def test_nothing_is_cropped_when_somebody_changes_a_picture_meanwhile(
    world: World, verb: Callable[[ScriptedTagger], CropVerb]
) -> None:
    names = world.datasets.add("a", "b")
    world.datasets.before_write = lambda name: world.datasets.edit(name)
    with pytest.raises(Aborted):
        await verb(FindingTagger()).apply(DATASET, names, SQUARE)
    assert [world.datasets.images[name].crop for name in names] == [None, None]


async def test_an_empty_dataset_is_refused(verb: Callable[[ScriptedTagger], CropVerb]) -> None:
    with pytest.raises(FailedPrecondition):
        await all_of(verb(FindingTagger()))


def test_a_tagger_of_several_is_not_asked_where_the_subject_is() -> None:
    finding = FindingTagger(id="photo")
    both = CombinedTagger("default", "Default", "", [finding])
    assert Taggers([both, finding]).finding_subjects() is finding
