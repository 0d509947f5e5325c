"""Where a word stands in a text: in every script, with the place that can be cut out."""

from __future__ import annotations

import pytest

from services.chassis.words import composed, has_word, places_of


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
    assert has_word(text, "sks")


@pytest.mark.parametrize("text", ["", "sksy", "risks", "sks2", "2sks", "sksé", "s ks", "sks\u0301", "скs", "sксks"])
def test_a_part_of_a_longer_word_is_not_the_word(text: str) -> None:
    assert not has_word(text, "sks")


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("собака", "моя Собака, во дворе", True),
        ("собака", "собаками", False),
        ("straße", "DIE STRASSE BEI NACHT", True),
        ("STRASS", "straße", False),
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
    assert has_word(text, word) is found


@pytest.mark.parametrize(
    ("word", "text", "pieces"),
    [
        ("sks", "sks, SKS and sksy", ["sks", "SKS"]),
        ("strasse", "Die Straße, die STRASSE", ["Straße", "STRASSE"]),
        ("café", "ß cafe\u0301!", ["café"]),
        ("red hat", "ﬁne red  hat", ["red  hat"]),
        (" ", "anything", []),
    ],
)
def test_a_place_is_that_of_the_text_however_its_letters_fold(word: str, text: str, pieces: list[str]) -> None:
    text = composed(text)
    assert [text[begin:end] for begin, end in places_of(word, text)] == pieces
