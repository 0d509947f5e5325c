from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from gateway.demo_pictures.backgrounds import COLOURS
from services.tagger.adapters.colour_names import COLOUR_NAMES, name_indices, to_oklab
from services.tagger.adapters.measured import MeasuredTagger
from services.tagger.adapters.measurements import flat_share
from services.tagger.models.pictures import Picture
from services.tagger.models.tags import TagOptions
from services.tagger.use_cases.scoring import predictions
from tests.unit.tagger.drawings import drawing, photograph, picture

TAGGER = MeasuredTagger()


def tags(image: Picture) -> set[str]:
    (scores,) = TAGGER.infer([image])
    return {score.label for score in predictions(scores.scores, TAGGER.describe(), TagOptions())}


def name(rgb: tuple[int, int, int]) -> str:
    return COLOUR_NAMES[int(name_indices(to_oklab(np.array(rgb, np.uint8))))]


@pytest.mark.parametrize(("expected", "rgb"), sorted(COLOURS.items()))
def test_the_colours_of_the_drawn_world_have_their_names(expected: str, rgb: tuple[int, int, int]) -> None:
    assert name(rgb) == expected


@pytest.mark.parametrize(
    ("rgb", "expected"),
    [
        ((255, 0, 0), "red"), ((255, 165, 0), "orange"), ((255, 255, 0), "yellow"), ((0, 128, 0), "green"),
        ((128, 128, 0), "green"), ((0, 128, 128), "teal"), ((0, 0, 128), "blue"), ((135, 206, 235), "blue"),
        ((128, 0, 128), "purple"), ((255, 105, 180), "pink"), ((250, 128, 114), "pink"), ((139, 69, 19), "brown"),
        ((210, 180, 140), "beige"), ((0, 0, 0), "black"), ((105, 105, 105), "gray"), ((255, 250, 250), "white"),
    ],
)  # fmt: skip
def test_well_known_colours(rgb: tuple[int, int, int], expected: str) -> None:
    assert name(rgb) == expected


def test_oklab_of_white_and_of_pure_red() -> None:
    """Values from the publication of OKLab (Björn Ottosson, 2020)."""
    white, red = to_oklab(np.array([[255, 255, 255], [255, 0, 0]], np.uint8))
    assert white == pytest.approx([1.0, 0.0, 0.0], abs=1e-4)
    assert red == pytest.approx([0.628, 0.225, 0.126], abs=1e-3)


def test_in_a_photograph_a_light_grey_has_no_name() -> None:
    grey = to_oklab(np.array([200, 200, 200], np.uint8))
    assert COLOUR_NAMES[int(name_indices(grey))] == "gray"
    assert int(name_indices(grey, shaded=True)) == -1


def test_a_subject_before_a_plain_ground() -> None:
    found = tags(drawing(COLOURS["blue"], COLOURS["red"]))
    assert found == {"red", "plain background", "blue background"}


def test_shares_are_of_the_subject_and_the_ground_is_left_out() -> None:
    image = Image.new("RGB", (600, 600), COLOURS["white"])
    draw = ImageDraw.Draw(image)
    draw.rectangle([150, 150, 450, 375], fill=COLOURS["red"])
    draw.rectangle([150, 376, 450, 450], fill=COLOURS["green"])
    (scores,) = TAGGER.infer([picture(image)])
    shares = {score.label: score.score for score in scores.scores if score.category == "colour"}
    assert shares == pytest.approx({"red": 0.75, "green": 0.25}, abs=0.02)


def test_a_subject_that_touches_the_border_does_not_hide_the_ground() -> None:
    image = Image.new("RGB", (640, 640), COLOURS["teal"])
    ImageDraw.Draw(image).rectangle([120, 200, 520, 640], fill=COLOURS["yellow"])
    assert {"teal background", "yellow"} <= tags(picture(image))


def test_two_grounds_or_a_gradient_are_no_plain_background() -> None:
    half = Image.new("RGB", (640, 640), COLOURS["blue"])
    ImageDraw.Draw(half).rectangle([0, 0, 640, 320], fill=COLOURS["green"])
    ramp = np.linspace((10, 10, 90), (240, 220, 200), 640).astype(np.uint8)[:, None].repeat(640, axis=1)
    for image in (half, Image.fromarray(ramp)):
        assert not {label for label in tags(picture(image)) if "background" in label}


def test_a_transparent_ground_is_no_white_one() -> None:
    image = Image.new("RGBA", (640, 640), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse([150, 150, 490, 490], fill=(*COLOURS["green"], 255))
    assert tags(picture(image)) == {"green"}


@pytest.mark.parametrize("seed", range(4))
def test_no_colour_is_named_where_no_subject_can_be_told_from_its_background(seed: int) -> None:
    assert tags(photograph(seed)) == set()


def test_format_and_quality_are_never_tags() -> None:
    """`square` or `blurry` in every caption would be trained into the subject."""
    facts = ("square", "portrait", "landscape", "resolution", "blurry", "exposed", "contrast", "grey", "transparent")
    assert not [label for label in TAGGER.describe().vocabulary if any(fact in label for fact in facts)]
    faulty = [photograph(1, brightness=0.08), photograph(1, blur=3.0), drawing((0, 0, 0), (9, 200, 9), height=300)]
    assert {label for image in faulty for label in tags(image)} <= {"green", "plain background", "black background"}


def test_drawings_are_told_from_photographs_by_equal_neighbours() -> None:
    assert flat_share(drawing(COLOURS["white"], COLOURS["black"]).rgb) > 0.9
    assert flat_share(photograph().rgb) < 0.3


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (7, 5), (40, 40)])
def test_pictures_of_any_size_are_measured(size: tuple[int, int]) -> None:
    assert tags(picture(Image.new("RGB", size, COLOURS["red"]))) <= {"red", "plain background", "red background"}


def test_every_label_is_declared() -> None:
    info = TAGGER.describe()
    given = [picture(Image.new("RGBA", (64, 64), (0, 0, 0, 0))), photograph(), drawing((0, 0, 0), (9, 200, 9))]
    for scores in TAGGER.infer(given):
        assert scores.error is None
        assert {score.label for score in scores.scores} <= set(info.vocabulary)
        assert all(score.measured and 0 <= score.score <= 1 for score in scores.scores)
