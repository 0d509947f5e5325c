"""Prompts of the previews: the user's, the base model's templates, captions."""

from __future__ import annotations

import pytest

from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from services.trainer.recipe.prompts import canaries, subject_phrase, with_prompts

TEMPLATES = ("{caption}", "x {trigger_word}")


@pytest.mark.parametrize(
    ("given", "captions", "trigger_word", "expected"),
    [
        (("a cat",), ["one", "two"], "", ("a cat", "one", "x one")),
        ((), ["sks, one", "sks, two", "sks, three"], "sks", ("sks, one", "x sks", "sks, two")),
        ((), ["sks gray cat"] * 5, "sks", ("sks gray cat", "x sks gray cat", "x sks gray cat")),
        ((), ["", "  "], "sks", ("sks", "x sks", "x sks")),
        ((), [""], "", ("a photo", "x a photo", "x a photo")),
        ((), ["{one}", "two"], "", ("{one}", "x {one}", "two")),
        (("a", "b", "c"), ["one"], "sks", ("a", "b", "c")),
        ((), ["one\n\ttwo \r\n"], "", ("one two", "x one two", "x one two")),
    ],
)
def test_missing_prompts_come_from_the_templates_and_captions(
    given: tuple[str, ...], captions: list[str], trigger_word: str, expected: tuple[str, ...]
) -> None:
    parameters = resolve(DEFAULT_SPECS, {"preview_prompts": given, "trigger_word": trigger_word})
    filled = with_prompts(parameters, TEMPLATES, captions)
    assert filled.preview_prompts == expected
    assert with_prompts(filled, (), ["other"]) == filled, "what is filled in stays"


@pytest.mark.parametrize(
    ("trigger_word", "subject", "prompt"),
    [
        ("sks", "gray cat", "x sks gray cat"),
        ("", "gray cat", "x gray cat"),
        ("sks", "a SKS cat", "x a SKS cat"),
        ("sks", "", "x sks dog"),
    ],
)
def test_templates_ask_for_the_subject_that_the_dataset_names(trigger_word: str, subject: str, prompt: str) -> None:
    parameters = resolve(DEFAULT_SPECS, {"trigger_word": trigger_word})
    filled = with_prompts(parameters, ("x {trigger_word}",), ["sks dog, red", "sks dog, blue"], subject)
    assert filled.preview_prompts[0] == prompt


def test_there_are_as_many_previews_as_prompts_or_seeds_of_the_users_own() -> None:
    prompts = tuple(f"prompt {number}" for number in range(8))
    eight = with_prompts(resolve(DEFAULT_SPECS, {"preview_prompts": prompts}), TEMPLATES, ["one"])
    assert eight.preview_prompts == prompts
    four = with_prompts(resolve(DEFAULT_SPECS, {"preview_seeds": [1, 2, 3, 4]}), TEMPLATES, ["one", "two", "three"])
    assert four.preview_prompts == ("one", "x one", "two", "three")
    assert four.preview_seeds == (1, 2, 3, 4)


NEUTRAL = ("a photo of a dog on a red background", "cats in a meadow", "a blue robot in the snow")


@pytest.mark.parametrize(
    ("captions", "expected"),
    [
        (["a photo of sks clock"], NEUTRAL),
        (["a photo of sks dog"], NEUTRAL[1:]),
        (["sks Dogs, outdoors"], NEUTRAL[1:]),
        (["a sks cat, asleep"], (NEUTRAL[0], NEUTRAL[2])),
        (["a red sks robot with a cat"], NEUTRAL),
        ([], NEUTRAL),
    ],
)
def test_canaries_have_nothing_to_do_with_the_photos(captions: list[str], expected: tuple[str, ...]) -> None:
    assert canaries(NEUTRAL, captions) == expected
    assert canaries((), captions) == ()


@pytest.mark.parametrize(
    ("values", "captions", "expected"),
    [
        ({}, ["sks dog"] * 5, ("sks dog", "sks dog", "cats in a meadow")),
        ({}, ["sks dog", "sks dog, wet"], ("sks dog", "sks dog, wet", "cats in a meadow")),
        (
            {"preview_seeds": [1, 2, 3, 4]},
            ["sks dog", "sks wet dog"],
            (*["sks dog", "sks wet dog"], "sks wet dog", "cats in a meadow"),
        ),
        ({}, ["sks dog", "sks dog, wet", "sks dog, dry"], ("sks dog", "sks dog, wet", "sks dog, dry")),
        ({"preview_prompts": ["a", "b", "c"]}, ["sks dog"], ("a", "b", "c")),
    ],
)
def test_a_canary_is_drawn_where_no_prompt_of_the_photos_takes_the_place(
    values: dict[str, object], captions: list[str], expected: tuple[str, ...]
) -> None:
    filled = with_prompts(resolve(DEFAULT_SPECS, {"trigger_word": "sks", **values}), (), captions, "", NEUTRAL)
    assert filled.preview_prompts == expected


def test_prompts_from_long_captions_are_cut_to_what_a_caller_could_give() -> None:
    filled = with_prompts(resolve(DEFAULT_SPECS, {}), TEMPLATES, ["long " * 400, "other " * 300])
    assert all(len(prompt) <= 500 for prompt in filled.preview_prompts)
    resolve(DEFAULT_SPECS, {"preview_prompts": filled.preview_prompts})


@pytest.mark.parametrize(
    ("trigger", "captions", "phrase"),
    [
        ("sks", ["a photo of sks dog on a hill", "sks dog at night"], "sks dog"),
        ("sks", ["a photo of SKS red dog, outdoors", "sks red dog, indoors"], "sks red dog"),
        ("sks", ["a photo of sks Red dog.", "(sks red dog) in rain"], "sks Red dog"),
        ("sks", ["sks gray cat"] * 3, "sks gray cat"),
        ("sks", ["sks big old gray cat"] * 3, "sks big old gray"),
        ("sks", ["sks, a ball", "sks, a box"], "sks"),
        ("sks", ["a photo of sks. dog", "a photo of sks. dog"], "sks"),
        ("sks", ["sks (dog)", "sks (dog)"], "sks"),
        ("sks dog", ["sks dog in snow", "sks dog in rain"], "sks dog"),
        ("sks", ["sks dog at night", "no trigger here"], "sks"),
        ("sks", ["sks dog at night"], "sks"),
        ("", ["a dog", "a dog"], ""),
    ],
)
def test_the_subject_is_called_as_in_every_caption(trigger: str, captions: list[str], phrase: str) -> None:
    assert subject_phrase(trigger, captions) == phrase


@pytest.mark.parametrize(
    ("trigger", "subject", "prompt"),
    [
        ("sks", "gray cat", "a photo of sks gray cat"),
        ("ohwx man", "ohwx man", "a photo of ohwx man"),
        ("ohwx man", "tall ohwx man", "a photo of tall ohwx man"),
        ("sks", "sks猫", "a photo of sks猫"),
        ("cat", "category", "a photo of cat category"),
        ("", "cat", "a photo of cat"),
    ],
)
def test_the_subject_has_the_trigger_word_once(trigger: str, subject: str, prompt: str) -> None:
    parameters = resolve(DEFAULT_SPECS, {"trigger_word": trigger})
    filled = with_prompts(parameters, ("a photo of {trigger_word}",), ["x"], subject)
    assert filled.preview_prompts[0] == prompt
