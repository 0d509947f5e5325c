"""Photographic scenes: textured as photographs are, captioned in words of their own, the same for equal seeds."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from gateway.demo_pictures.backgrounds import COLOURS
from research.fiveshot_tiny.scenes.captions import SUBJECT_NOUNS, TRIGGER_WORDS
from research.fiveshot_tiny.scenes.furry import COATS, POSES, FurPainter, any_animal, paint_animal
from research.fiveshot_tiny.scenes.lit_things import THINGS, TONES, paint_thing
from research.fiveshot_tiny.scenes.photographic import GROUNDS, draw_photographic_scenes, photographic_words
from research.fiveshot_tiny.vocabulary import SCENE_WORDS, filler_words, single_token_words

SIZE = 48


@pytest.mark.smoke
def test_equal_seeds_give_equal_scenes() -> None:
    first, captions = draw_photographic_scenes(6, seed=5, size=SIZE)
    again, same = draw_photographic_scenes(6, seed=5, size=SIZE)
    other, _ = draw_photographic_scenes(6, seed=6, size=SIZE)
    assert np.array_equal(first, again)
    assert captions == same
    assert not np.array_equal(first, other)


def test_captions_keep_apart_from_the_drawn_world_and_from_words_that_must_stay_neutral() -> None:
    _, captions = draw_photographic_scenes(80, seed=1, size=16)
    marked = [caption for caption in captions if {"photograph", "furry", "fluffy"} & set(caption.split())]
    assert 0.6 < len(marked) / len(captions) < 0.95
    assert all("photo" in caption for caption in captions)
    words = {word for caption in captions for word in caption.split()}
    assert words <= photographic_words() | set(SCENE_WORDS) | set(COLOURS)
    assert any(caption.endswith("in the snow") for caption in captions)
    assert any("on a" in caption and caption.endswith("background") for caption in captions)
    assert photographic_words() <= set(single_token_words())
    assert not photographic_words() & {*TRIGGER_WORDS, *SUBJECT_NOUNS, *filler_words()}


def test_no_two_neighbours_are_equal_as_they_are_in_drawings() -> None:
    drawn, captions = draw_photographic_scenes(60, seed=2, size=64)
    pictures = drawn[[any(place in caption for place in GROUNDS) for caption in captions]]
    assert len(pictures) > 10
    equal = (pictures[:, :, 1:] == pictures[:, :, :-1]).all(-1).mean((1, 2))
    assert np.median(equal) < 0.05


@pytest.mark.parametrize("pose", POSES)
def test_an_animal_shows_its_coat_in_every_pose_and_at_either_side(pose: str) -> None:
    shown = []
    for mirror in (False, True):
        rng = random.Random(4)
        picture = np.full((SIZE, SIZE, 3), 90.0)
        painter = FurPainter(picture, rng, np.random.default_rng(4))
        painter.mirror = mirror
        animal = replace(any_animal(rng), pose=pose, main="orange", light="white", ears="pointed")
        paint_animal(painter, animal, random.Random(1))
        shown.append(picture)
    warm = (shown[0][..., 0] - shown[0][..., 2] > 60).mean()
    assert warm > 0.05
    assert (shown[0].min(-1) > 170).mean() > 0.01
    assert np.abs(shown[0] - shown[1][:, ::-1]).mean() < 12  # the fur's noise and the light are not mirrored
    assert len(COATS) > 5


@pytest.mark.parametrize("name", list(THINGS))
def test_a_thing_is_seen_in_its_tone_and_shaded(name: str) -> None:
    picture = np.full((SIZE, SIZE, 3), 120.0)
    paint_thing(picture, name, TONES["red"], random.Random(2), np.random.default_rng(2))
    red = picture[picture[..., 0] - picture[..., 1] > 50]
    assert len(red) > SIZE * SIZE * 0.02
    assert red[:, 0].std() > 3


def test_every_ground_is_opaque_and_varies() -> None:
    for name, ground in GROUNDS.items():
        pictures = [ground(random.Random(seed), np.random.default_rng(seed), SIZE) for seed in (1, 2)]
        assert pictures[0].shape == (SIZE, SIZE, 3), name
        assert np.isfinite(pictures[0]).all()
        assert not np.array_equal(pictures[0], pictures[1]), name
