from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tagger.use_cases.labels import contains_words, is_face, key, matcher, readable


@pytest.mark.parametrize("face", ["^_^", ">_<", "o_o", "0_0", "||_||", "<|>_<|>", "x_x", "@_@", "6_9", ";_;"])
def test_a_face_keeps_its_underscore(face: str) -> None:
    assert is_face(face)
    assert readable(face) == face


@pytest.mark.parametrize("word", ["long_hair", "red_hat", "t-shirt", "1girl", "a_cat_on_a_mat", "no"])
def test_a_word_is_no_face(word: str) -> None:
    assert not is_face(word)


def test_readable_writes_spaces_and_keeps_case() -> None:
    assert readable("  Long__hair ") == "Long hair"


def test_labels_compare_without_case_and_underscores() -> None:
    assert key("Long_Hair") == key("long hair") == key(" LONG  hair ")
    assert key("o_o") != key("o o")


@pytest.mark.parametrize(
    ("pattern", "label", "fits"),
    [
        ("red hat", "Red_Hat", True),
        ("red_hat", "red hat", True),
        ("hat", "red hat", False),
        ("*hat", "red hat", True),
        ("red *", "red hat", True),
        ("red *", "redwood", False),
        ("*HAIR*", "long_hair_bun", True),
        ("*", "anything", True),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("?", "a", False),
        ("*_*", "*_*", True),
        ("*_*", "red hat", False),
        (">_<", ">_<", True),
        (">_<", "> <", False),
    ],
)
def test_patterns(pattern: str, label: str, fits: bool) -> None:
    assert matcher([pattern])(label) is fits


def test_no_pattern_fits_nothing() -> None:
    assert not matcher([])("hat")


@given(st.text(min_size=1, max_size=30))
def test_every_label_fits_itself_unless_it_is_a_glob(label: str) -> None:
    if "*" not in label and key(label):
        assert matcher([label])(label)


@pytest.mark.parametrize(
    ("longer", "shorter", "contained"),
    [
        ("red hat", "hat", True),
        ("very_long_hair", "long hair", True),
        ("hat", "hat", False),
        ("hatter", "hat", False),
        ("long red hair", "long hair", False),
    ],
)
def test_contained_words(longer: str, shorter: str, contained: bool) -> None:
    assert contains_words(longer, shorter) is contained
