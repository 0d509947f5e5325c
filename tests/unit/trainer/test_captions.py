"""Captions that are longer than a base model takes are counted before anything is trained."""

from __future__ import annotations

import pytest

from services.trainer.recipe.captions import CaptionLengths, about_tokens, caption_lengths, preserved_caption
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.recipe.families import families


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("a photo of a dog", 5),
        ("sks, dog.", 4),
        ("in 1984", 5),
        ("chrysanthemum", 2),
        ("two  spaces\n", 2),
        ("\u732b\u3068\u72ac", 3),
    ],
)
def test_tokens_are_counted_by_words_punctuation_and_digits(text: str, tokens: int) -> None:
    assert about_tokens(text) == tokens


def test_only_what_is_over_the_limit_counts() -> None:
    captions = ["dog " * 75, "dog " * 76, "dog"]
    assert caption_lengths(captions, 75) == CaptionLengths(too_long=1, longest=76, limit=75)
    assert caption_lengths([], 75) == CaptionLengths(0, 0, 75)


@pytest.mark.parametrize(
    ("caption", "instead", "kept"),
    [
        ("sks dog on a beach", "", "dog on a beach"),
        ("sks dog on a beach", "dog", "dog on a beach"),
        ("sks on a beach", "dog", "dog on a beach"),
        ("sks, red ball, a sks", "", "red ball, a"),
        ("a photo of Sks dogs", "dog", "a photo of dog dogs"),
        ("disks and sks", "", "disks and"),
        ("sks", "", ""),
        ("a beach", "dog", "a beach"),
        ("a photo of sks_dog", "", "a photo of _dog"),
        ("a sks-dog", "dog", "a dog-dog"),
        ("一只sks猫在沙滩上", "", "一只猫在沙滩上"),
        ("一只sks猫在沙滩上", "猫", "一只猫在沙滩上"),
        ("한국어 sks가", "", "한국어 sks가"),
        ("sks\u0301 sks", "", "sk\u015b"),
    ],
)
def test_a_preserved_caption_is_the_text_without_its_trigger_word(caption: str, instead: str, kept: str) -> None:
    assert preserved_caption(caption, "sks", instead) == kept


def test_without_a_trigger_word_and_with_signs_in_one_nothing_else_is_taken_away() -> None:
    assert preserved_caption("a dog", "", "cat") == "a dog"
    assert preserved_caption("la cafe\u0301 noir", "caf\u00e9", "") == "la noir"
    assert preserved_caption("我的豆豆在睡觉", "豆豆", "猫") == "我的猫在睡觉"
    assert preserved_caption("ohwx  man, ohwx men", "ohwx man", "man") == "man, ohwx men"
    assert preserved_caption("a (s.k) dog, a sxk", "(s.k)", "\\1") == "a \\1 dog, a sxk"


def test_limits_are_those_of_the_families_encoders() -> None:
    limits = {name: facts.caption_tokens for name, facts in families().items()}
    flow = {"flux": 510, "flux2-dev": 476, "flux2-klein": 500, "qwen-image": 1019, "sd3": 255, "z-image": 504}
    assert limits == {"chroma": 511, "sdxl": 225, "stable-diffusion": 225, **flow}
    assert load_catalogue()["fiveshot-tiny"].caption_tokens == 22
