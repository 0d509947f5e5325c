"""The one rule that makes the final text of a picture."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dataset.models.resources import ImageFields
from services.dataset.models.tags import Tag
from services.dataset.models.texts import stands_in, training_text


@pytest.mark.parametrize(
    ("caption", "tags", "trigger", "text"),
    [
        ("", (), "", ""),
        ("", (), "sks", "sks"),
        ("", ("red", "dog"), "", "red, dog"),
        ("", ("red", "dog"), "sks", "sks, red, dog"),
        ("", ("sks", "dog"), "sks", "sks, dog"),
        ("a dog", ("red",), "", "a dog"),
        ("a dog", ("sks",), "sks", "sks, a dog"),
        ("a photo of sks on grass", (), "sks", "a photo of sks on grass"),
        ("a photo of sks.", (), "sks", "a photo of sks."),
        ("SKS on grass", (), "sks", "SKS on grass"),
        ("sksy on grass", (), "sks", "sks, sksy on grass"),
        ("the red hat", (), "red hat", "the red hat"),
        ("a red, hat", (), "red hat", "red hat, a red, hat"),
        ("  padded ", (), "", "padded"),
        ("  padded ", (), " sks ", "sks, padded"),
    ],
)
def test_the_final_text(caption: str, tags: tuple[str, ...], trigger: str, text: str) -> None:
    fields = ImageFields(caption=caption, tags=tuple(Tag(label) for label in tags))
    assert training_text(fields, trigger) == text
    # What a picture says of itself comes before what its dataset says.
    assert training_text(fields, trigger, "cat") == text or not (caption or tags)


@pytest.mark.parametrize(
    ("trigger", "subject", "text"),
    [
        ("sks", "gray cat", "sks gray cat"),
        ("", "gray cat", "gray cat"),
        ("Sks", "a sks cat", "a sks cat"),
        (" sks ", "  ", "sks"),
    ],
)
def test_a_picture_without_words_is_trained_with_the_subject(trigger: str, subject: str, text: str) -> None:
    once = training_text(ImageFields(), trigger, subject)
    assert once == text
    assert training_text(ImageFields(caption=once), trigger, subject) == once
    assert training_text(ImageFields(tags=(Tag("red"),)), "", subject) == "red"


@pytest.mark.parametrize(
    "text",
    [
        "sks",
        "sks.",
        "(sks)",
        "“sks”",
        "a,sks,b",
        "sks's bowl",
        "my-sks-dog",
        "sks_dog",
        "SkS!",
        "sks在花园里",
        "一只sks。",
    ],
)
def test_a_word_is_seen_next_to_anything_but_a_letter_or_digit(text: str) -> None:
    assert stands_in("sks", text)


@pytest.mark.parametrize("text", ["", "sksy", "risks", "sks2", "2sks", "sksé", "s ks", "sks\u0301", "скs", "sксks"])
def test_a_part_of_a_longer_word_is_not_the_word(text: str) -> None:
    assert not stands_in("sks", text)


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("собака", "моя Собака, во дворе", True),
        ("собака", "собаками", False),
        ("straße", "DIE STRASSE BEI NACHT", True),
        ("ΣΟΦΟΣ", "ο σοφός.", False),
        ("ΣΟΦΟΣ", "ο σοφος.", True),
        ("café", "un cafe\u0301!", True),
        ("cafe", "un café", False),
        ("猫", "一只猫在花园里", True),
        ("ねこ", "庭のねこです", True),
        ("ネコ", "庭のネコが寝る", True),
        ("ネコ", "ネコバスの絵", False),
        ("แมว", "รูปแมวในสวน", True),
        ("क", "की", False),
        ("कुत्ता", "मेरा कुत्ता।", True),
        ("고양이", "고양이, 정원", True),
        ("고양이", "고양이과", False),
        ("قط", "صورة قط، في الحديقة", True),
        ("قط", "قطار", False),
        ("red hat", "the Red\n hat", True),
        ("c++", "a (c++) logo", True),
        ("", "anything", False),
    ],
)
def test_words_of_all_scripts(word: str, text: str, found: bool) -> None:
    assert stands_in(word, text) is found


_text = st.text(alphabet="sk Sdé.,-_猫ネコक\u0301", max_size=12)


@given(_text, _text)
def test_the_rule_changes_nothing_in_its_own_result(caption: str, trigger: str) -> None:
    once = training_text(ImageFields(caption=caption), trigger)
    assert training_text(replace(ImageFields(), caption=once), trigger) == once
    if trigger.strip() and not unicodedata.combining(trigger.strip()[0]):
        assert stands_in(trigger, once)
