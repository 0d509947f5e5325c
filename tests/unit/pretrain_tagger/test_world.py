from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gateway.demo_pictures.backgrounds import COLOURS
from research.fiveshot_tiny.scenes.sprites import EMOJI_FONT
from tools.pretrain_tagger import blind_renderer, cartoon_scenes, cartoons, data, sketches
from tools.pretrain_tagger.blind_drawings import DRAWINGS
from tools.pretrain_tagger.blind_pen import hue
from tools.pretrain_tagger.evaluate import Counts, blind_scenes
from tools.pretrain_tagger.facts import BACKGROUND_LABELS, COLOURED, NOTHING, NOUNS, QUESTIONS, SIDE, Facts
from tools.pretrain_tagger.layout import arrange
from tools.pretrain_tagger.outside import draw_outside, draw_stranger
from tools.pretrain_tagger.scenes import draw_scene

needs_font = pytest.mark.skipif(not EMOJI_FONT.is_file(), reason="fonts-noto-color-emoji is not installed")

Draw = Callable[[random.Random], tuple[Image.Image, Facts]]


@needs_font
@pytest.mark.parametrize("draw", [draw_scene, draw_stranger, draw_outside, cartoon_scenes.draw_cartoon])
def test_equal_random_states_give_equal_pictures_and_facts(draw: Draw) -> None:
    for seed in range(3):
        (first, facts), (second, again) = draw(random.Random(seed)), draw(random.Random(seed))
        assert np.array_equal(np.asarray(first), np.asarray(second))
        assert facts == again


@needs_font
def test_scenes_say_what_is_true_of_them() -> None:
    seen: set[str] = set()
    for seed in range(60):
        image, facts = draw_scene(random.Random(seed))
        assert image.size == (SIDE, SIDE)
        assert facts.inside
        assert facts.background != NOTHING
        assert (facts.colour != NOTHING) == (facts.object in COLOURED)
        assert (facts.size != NOTHING) == (facts.count == "one")
        assert (facts.place != NOTHING) == (facts.size == "small")
        assert (facts.object == NOTHING) == (facts.count == NOTHING)
        seen |= {facts.object, facts.count, facts.size, facts.place}
    layouts = {NOTHING, "one", "two", "three", "small", "large", "on the left", "centered", "on the right"}
    assert layouts <= seen <= layouts | set(NOUNS)


@needs_font
def test_strangers_have_no_name_and_nothing_is_said_outside() -> None:
    for seed in range(8):
        _, stranger = draw_stranger(random.Random(seed))
        assert (stranger.inside, stranger.object, stranger.colour) == (True, NOTHING, NOTHING)
        assert stranger.background != NOTHING
        _, outside = draw_outside(random.Random(seed))
        assert outside == Facts(inside=False)


def test_every_noun_is_sketched_and_never_twice_alike() -> None:
    assert {*sketches.OBJECTS, *sketches.COLOURED} == set(NOUNS)
    assert set(sketches.COLOURED) == set(COLOURED)
    for noun in NOUNS:
        drawn = [np.asarray(sketches.sketch(noun, "teal", random.Random(seed), SIDE)) for seed in range(4)]
        for picture in drawn:
            assert picture.shape == (SIDE, SIDE, 4)
            assert 0.1 < (picture[..., 3] > 0).mean() < 0.9
        assert len({picture.tobytes() for picture in drawn}) == 4


def test_a_form_without_a_name_has_a_form() -> None:
    pictures = {sketches.nameless(random.Random(seed), SIDE).tobytes() for seed in range(40)}
    assert len(pictures) == 40


def test_facts_become_indices_in_the_order_of_the_questions() -> None:
    assert Facts().indices() == [0] * len(QUESTIONS)
    facts = Facts("dog", "two", NOTHING, "meadow", NOTHING, NOTHING)
    named = [answers[index] for index, answers in zip(facts.indices(), QUESTIONS.values(), strict=True)]
    assert named == ["dog", "two", NOTHING, "meadow", NOTHING, NOTHING]
    with pytest.raises(ValueError, match="not in tuple"):
        Facts(object="unicorn").indices()


def test_things_lie_in_the_picture_apart_and_where_their_place_says() -> None:
    thirds = {"on the left": (0.0, 0.4), "centered": (0.4, 0.6), "on the right": (0.6, 1.0)}
    for seed in range(500):
        layout = arrange(random.Random(seed))
        assert {1: "one", 2: "two", 3: "three"}[len(layout.spots)] == layout.count
        for spot in layout.spots:
            assert 0 < spot.x < 1
            assert 0 < spot.y < 1
        for one, other in zip(layout.spots, layout.spots[1:], strict=False):
            distance = max(abs(one.x - other.x), abs(one.y - other.y))
            assert distance > 0.8 * (one.side + other.side) / 2
        if layout.place:
            low, high = thirds[layout.place]
            assert low < layout.spots[0].x < high


def test_cartoons_know_every_noun_and_draw_it_differently() -> None:
    assert set(cartoons.OBJECTS) | set(cartoons.COLOURED) | {"ring"} == set(NOUNS)
    for noun in NOUNS:
        cutout = cartoon_scenes.draw_thing(noun, "red", random.Random(0))
        mine = np.asarray(cutout.resize((48, 48)).convert("RGB"), np.int64)
        theirs = np.asarray(
            sketches.sketch(noun, "red", random.Random(0), SIDE).resize((48, 48)).convert("RGB"), np.int64
        )
        assert 0.05 < np.asarray(cutout.getchannel("A")).mean() / 255 < 0.95
        assert np.abs(mine - theirs).mean() > 3
    for kind, label in BACKGROUND_LABELS.items():
        image, used = cartoon_scenes._background(kind, random.Random(0))
        assert image.size == (256, 256)
        assert all(colour in COLOURS for colour in used), label


@pytest.mark.parametrize("soft", [False, True])
def test_the_blind_renderer_draws_every_noun_and_never_twice_alike(soft: bool) -> None:
    assert set(DRAWINGS) == set(NOUNS)
    for noun in NOUNS:
        drawn = []
        for seed in range(3):
            rng = random.Random(seed)
            drawn.append(blind_renderer.thing(noun, hue("teal", rng), rng, 120, soft=soft))
        for cutout in drawn:
            assert max(cutout.size) == 120
            assert 0.1 < np.asarray(cutout.getchannel("A")).mean() / 255 < 1, noun
        assert len({cutout.tobytes() for cutout in drawn}) == 3


def test_the_blind_renderer_draws_every_background() -> None:
    for kind, label in BACKGROUND_LABELS.items():
        image, used = blind_renderer.background(kind, random.Random(0), 96)
        assert image.size == (96, 96)
        assert used <= set(COLOURS), label
        assert (len(set(image.get_flattened_data())) == 1) == (kind in COLOURS), label


def test_blind_scenes_say_what_is_true_of_them() -> None:
    for seed in range(40):
        image, facts = blind_renderer.draw_scene(random.Random(seed), 48)
        assert np.array_equal(np.asarray(image), np.asarray(blind_renderer.draw_scene(random.Random(seed), 48)[0]))
        assert image.size == (48, 48)
        assert facts.inside
        assert facts.object in NOUNS
        assert facts.background in BACKGROUND_LABELS.values()
        assert facts.background != f"{facts.colour} background"
        assert (facts.colour != NOTHING) == (facts.object in COLOURED)
        assert (facts.size != NOTHING) == (facts.count == "one")
        assert (facts.place != NOTHING) == (facts.size == "small")


def test_things_of_the_blind_renderer_have_the_size_and_place_that_is_said() -> None:
    columns = {"on the left": (0.0, 0.36), "centered": (0.45, 0.55), "on the right": (0.64, 1.0)}
    for seed in range(200):
        rng = random.Random(seed)
        for size, places in {"small": tuple(columns), "large": (NOTHING,)}.items():
            for place in places:
                ((x, y, longer),) = blind_renderer.spots(rng, "one", size, place)
                assert longer <= 0.38 if size == "small" else longer >= 0.55
                assert all(centre - longer / 2 >= 0 and centre + longer / 2 <= 1 for centre in (x, y))
                if place:
                    assert columns[place][0] < x < columns[place][1]
        for count in ("two", "three"):
            row = blind_renderer.spots(rng, count, NOTHING, NOTHING)
            assert len(row) == {"two": 2, "three": 3}[count]
            assert row[0][0] - row[0][2] / 2 > 0
            assert row[-1][0] + row[-1][2] / 2 < 1
            for (x, _, longer), (after, _, other) in itertools.pairwise(row):
                assert after - x > (longer + other) / 2


def test_every_other_blind_scene_is_a_jpeg() -> None:
    scenes = list(blind_scenes(2, seed=3))
    assert [image.size for image, _ in scenes] == [(192, 192)] * 2
    original, facts = blind_renderer.draw_scene(random.Random("blind/3/1"))
    assert facts == scenes[1][1]
    assert 0 < np.abs(np.asarray(original, np.int64) - np.asarray(scenes[1][0], np.int64)).mean() < 10


@needs_font
def test_blocks_are_drawn_once_and_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "blocks"
    monkeypatch.setattr(data, "BLOCK", 6)
    with pytest.raises(FileNotFoundError):
        data.read_blocks(folder)
    data.write_blocks(folder, range(3))
    first = (folder / "block-0000.npz").read_bytes()
    (folder / "block-0002.npz").unlink()
    data.write_blocks(folder, range(3))
    assert (folder / "block-0000.npz").read_bytes() == first
    examples = data.read_blocks(folder, skip=1)
    assert examples.pictures.shape == (12, SIDE, SIDE, 3)
    assert np.array_equal(examples.pictures[:6], data.draw_block(1).pictures)
    assert examples.answers.shape == (12, len(QUESTIONS))


def test_precision_and_recall() -> None:
    counts = Counts(right=6, wrong=2, missing=4)
    assert (counts.precision, counts.recall) == (0.75, 0.6)
    assert (Counts().precision, Counts().recall) == (1.0, 1.0)
