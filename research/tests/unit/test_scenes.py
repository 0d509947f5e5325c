"""Scenes: what is drawn is what the caption says, and nothing that fine-tuning is measured on."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from gateway.demo_pictures import KINDS
from gateway.demo_pictures.backgrounds import COLOURS
from research.fiveshot_tiny.scenes import sprites
from research.fiveshot_tiny.scenes.captions import SUBJECT_NOUNS, compose_caption, disturb_caption
from research.fiveshot_tiny.scenes.characters import CHARACTERS
from research.fiveshot_tiny.scenes.compose import draw_scene_block, draw_scenes
from research.fiveshot_tiny.scenes.sprites import OBJECTS, SHAPES, MissingFontError, object_sprite, shape_sprite
from research.fiveshot_tiny.scenes.textures import draw_textures

needs_font = pytest.mark.skipif(not sprites.EMOJI_FONT.is_file(), reason="no emoji font: make research-font")


@needs_font
def test_equal_seeds_give_equal_scenes() -> None:
    first, captions = draw_scenes(12, seed=5, size=32)
    again, same_captions = draw_scenes(12, seed=5, size=32)
    other, _ = draw_scenes(12, seed=6, size=32)
    assert np.array_equal(first, again)
    assert captions == same_captions
    assert not np.array_equal(first, other)


@needs_font
def test_caption_names_what_is_drawn() -> None:
    for scene in draw_scene_block(200, seed=1, size=16):
        assert scene.noun in scene.caption
        assert ("small" in scene.caption) == bool(scene.size)
        if scene.side:
            assert scene.caption.endswith(f"on the {scene.side}")


@needs_font
def test_a_thing_on_a_plain_background_leaves_the_border_in_the_named_colour() -> None:
    checked = 0
    for scene in draw_scene_block(150, seed=2, size=48):
        words = scene.background.split()
        if len(words) == 4 and words[2] in COLOURS and scene.background.endswith("background"):
            corner = np.asarray(scene.image)[0, 0].astype(int)
            assert np.abs(corner - COLOURS[words[2]]).max() <= 15, scene.caption
            checked += 1
    assert checked > 30


@needs_font
def test_every_object_has_a_glyph_of_its_own() -> None:
    pictures = {object_sprite(name).resize((32, 32)).tobytes() for name in OBJECTS}
    assert len(pictures) == len(OBJECTS)


def test_missing_font_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sprites, "EMOJI_FONT", Path("no-such-font.ttf"))
    sprites.object_sprite.cache_clear()
    with pytest.raises(MissingFontError, match="fonts-noto-color-emoji"):
        object_sprite("dog")


def test_shapes_are_in_their_colour_and_unknown_ones_are_refused() -> None:
    for shape in SHAPES:
        pixels = np.asarray(shape_sprite(shape, (10, 200, 30), 64))
        opaque = pixels[pixels[..., 3] > 0]
        assert len(opaque) > 400
        assert (opaque[:, :3] == (10, 200, 30)).all()
    with pytest.raises(ValueError, match="hexagon"):
        shape_sprite("hexagon", (0, 0, 0), 64)


@pytest.mark.smoke
@pytest.mark.parametrize("family", list(CHARACTERS))
def test_characters_vary_in_parts_and_show_their_colour(family: str) -> None:
    red, blue = COLOURS["red"], COLOURS["blue"]
    pictures = {CHARACTERS[family](random.Random(seed), red, 48).tobytes() for seed in range(12)}
    assert len(pictures) > 8
    body = np.asarray(CHARACTERS[family](random.Random(3), blue, 48))
    assert (body[..., :3] == blue).all(-1).mean() > 0.08


def test_subjects_of_fine_tuning_are_never_drawn() -> None:
    drawn = {*OBJECTS, *SHAPES, *CHARACTERS}
    subjects = {noun for noun, _ in KINDS.values()}
    assert not subjects & drawn
    assert subjects <= set(SUBJECT_NOUNS)


def test_caption_phrases() -> None:
    rng = random.Random(0)
    captions = {compose_caption(rng, "owl", "at night", "", "") for _ in range(200)}
    assert "a photo of an owl at night" in captions
    assert "an owl at night" in captions
    assert any(not caption.endswith("at night") for caption in captions)
    assert compose_caption(rng, "owl", "", "small", "left").endswith("a small owl, on the left")


def test_disturbance_keeps_the_words_and_the_shares() -> None:
    rng = random.Random(1)
    caption, filler = "a dog at night", ["sks", "zwx"]
    disturbed = [disturb_caption(rng, caption, filler, empty_share=0.1, filler_share=0.2) for _ in range(4000)]
    assert 0.07 < disturbed.count("") / 4000 < 0.13
    changed = [text for text in disturbed if text and text != caption]
    assert 0.16 < len(changed) / 4000 < 0.24
    for text in changed:
        assert [word for word in text.split() if word not in filler] == caption.split()


def test_textures_have_the_spectrum_of_photographs() -> None:
    textures = draw_textures(24, seed=3, size=64)
    assert np.array_equal(textures[:2], draw_textures(2, seed=3, size=64))
    gray = textures.mean(-1)
    power = np.abs(np.fft.fft2(gray - gray.mean((1, 2), keepdims=True))).mean(0)
    low, high = power[0, 1:4].mean(), power[0, 24:32].mean()
    assert 5 < low / high < 200
