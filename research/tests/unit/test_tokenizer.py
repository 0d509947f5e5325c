"""The tokenizer: its ids are part of the weights, so they must never depend on where it was built."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from research.fiveshot_tiny.scenes.captions import TRIGGER_WORDS
from research.fiveshot_tiny.tokenizer import build_tokenizer, learn_merges
from research.fiveshot_tiny.vocabulary import SCENE_WORDS, filler_words, single_token_words

SHIPPED = Path("services/trainer/recipe/base_models/fiveshot-tiny/tokenizer")


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return build_tokenizer(24)


def test_every_listed_word_is_one_token(tokenizer: CLIPTokenizer) -> None:
    split = [word for word in single_token_words() if len(tokenizer(word).input_ids) != 3]
    assert split == []


@pytest.mark.smoke
def test_ids_are_those_of_the_shipped_weights(tokenizer: CLIPTokenizer) -> None:
    shipped = CLIPTokenizer.from_pretrained(SHIPPED)
    assert shipped.get_vocab() == tokenizer.get_vocab()
    text = "A photo of sks snail, 17 xylophones & a café!"
    assert shipped(text).input_ids == tokenizer(text).input_ids


def test_ids_do_not_depend_on_the_process(tokenizer: CLIPTokenizer) -> None:
    ordered = json.dumps(sorted(tokenizer.get_vocab().items(), key=lambda item: item[1]))
    assert hashlib.sha256(ordered.encode()).hexdigest().startswith("c8fd486403a861b5")


@pytest.mark.parametrize(
    "text", ["a photo of sks dog on a red background", "xylophone", "17 dogs", "naïve café", "日本", "a🙂b"]
)
def test_any_text_survives_the_round_trip(tokenizer: CLIPTokenizer, text: str) -> None:
    decoded = tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True)
    assert decoded.replace(" ", "") == text.replace(" ", "")


def test_long_text_is_cut_to_the_models_length(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("dog " * 60, truncation=True, max_length=tokenizer.model_max_length).input_ids
    assert len(ids) == 24
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id


def test_merges_are_learned_by_frequency_then_by_name() -> None:
    assert learn_merges(["ab", "ab", "abc"]) == [("a", "b"), ("a", "b</w>"), ("ab", "c</w>")]
    assert learn_merges(["xab", "yab"])[0] == ("a", "b</w>")


def test_fillers_are_spare_words_only() -> None:
    fillers = filler_words()
    assert set(TRIGGER_WORDS) <= set(fillers)
    assert not set(fillers) & {*SCENE_WORDS, "dog", "red", "robot", "circle"}
