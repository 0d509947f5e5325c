"""The one rule that makes the final text of a picture."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.words import has_word
from services.dataset.models.resources import DatasetFields, ImageFields, TextFrom
from services.dataset.models.tags import Tag
from services.dataset.models.texts import own_text, training_text, with_trigger


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
    dataset = DatasetFields(trigger_word=trigger)
    assert training_text(fields, dataset) == text
    # What a picture says of itself comes before what its dataset says.
    assert training_text(fields, replace(dataset, subject="cat")) == text or not (caption or tags)


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
    dataset = DatasetFields(trigger_word=trigger, subject=subject)
    once = training_text(ImageFields(), dataset)
    assert once == text
    assert training_text(ImageFields(caption=once), dataset) == once
    assert training_text(ImageFields(tags=(Tag("red"),)), DatasetFields(subject=subject)) == "red"


def test_the_subject_counts_where_nothing_is_left_of_what_the_dataset_chose() -> None:
    captions = DatasetFields(subject="cat", trigger_word="sks", text_from=TextFrom.CAPTION)
    assert training_text(ImageFields(tags=(Tag("red"),)), captions) == "sks cat"
    assert training_text(ImageFields(caption="a dog"), replace(captions, text_from=TextFrom.TAGS)) == "sks cat"


@pytest.mark.parametrize(
    ("text_from", "caption", "tags", "text"),
    [
        (TextFrom.CAPTION, "a dog", ("red",), "a dog"),
        (TextFrom.CAPTION, "", ("red",), ""),
        (TextFrom.TAGS, "a dog", ("red", "hat"), "red, hat"),
        (TextFrom.TAGS, "a dog", (), ""),
        (TextFrom.CAPTION_AND_TAGS, "A dog on grass.", ("a hat", "Dog", "on_grass"), "A dog on grass, a hat"),
        (TextFrom.CAPTION_AND_TAGS, "A dog.", ("dog",), "A dog."),
        (TextFrom.CAPTION_AND_TAGS, "", ("red", "hat"), "red, hat"),
        (TextFrom.CAPTION_AND_TAGS, "a dog", (), "a dog"),
        (TextFrom.CAPTION_OR_TAGS, "a dog", ("red",), "a dog"),
    ],
)
def test_the_dataset_chooses_between_caption_and_tags(
    text_from: TextFrom, caption: str, tags: tuple[str, ...], text: str
) -> None:
    fields = ImageFields(caption=caption, tags=tuple(Tag(label) for label in tags))
    assert own_text(fields, text_from) == text


_text = st.text(alphabet="sk Sdé.,-_猫ネコक\u0301", max_size=12)


@given(_text, _text)
def test_the_rule_changes_nothing_in_its_own_result(caption: str, trigger: str) -> None:
    once = with_trigger(caption.strip(), trigger)
    assert with_trigger(once, trigger) == once
    if trigger.strip() and not unicodedata.combining(trigger.strip()[0]):
        assert has_word(once, trigger)
