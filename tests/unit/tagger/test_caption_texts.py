"""What a captioner says becomes a caption, or is refused with a reason."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tagger.models.tags import CaptionOptions, DatasetRecord, Purpose
from services.tagger.ports import Answer
from services.tagger.use_cases.caption_prompts import for_dataset, question
from services.tagger.use_cases.caption_texts import about_tokens, cleaned, complaint_about, holds, named, shortened
from services.tagger.use_cases.captioning import usable


@pytest.mark.parametrize(
    ("answer", "caption"),
    [
        ("A dog on grass.", "A dog on grass."),
        ('"The image shows a dog on grass."', "A dog on grass."),
        ("This photograph depicts the dog\nlying on a\r\n  sofa.", "The dog lying on a sofa."),
        ("In this picture, a dog lies on a sofa.", "A dog lies on a sofa."),
        ("In the photo we can see a dog.", "A dog."),
        ("Sure! Here is a caption:\n\n“A cat sits on a wall.”", "A cat sits on a wall."),
        ("**Caption:** A dog.", "A dog."),
        ("```text\nA dog.\n```", "A dog."),
        ("<think>The user wants\na caption.</think>\nA dog on grass.", "A dog on grass."),
        ("The user wants a caption.</think>A dog on grass.", "A dog on grass."),
        ("<think>The user wants a", ""),
        ("<|im_start|>A dog.<|im_end|>", "A dog."),
        ("<script>alert(1)</script><b>A dog</b> &lt;img src=x onerror=y&gt; on a mat", "A dog on a mat"),
        ("A dog\x00 \x07on\u202e a\u200b mat", "A dog on a mat"),
        ("A dog's bowl 'blue' beside it", "A dog's bowl 'blue' beside it"),
        ("  ", ""),
    ],
)
def test_an_answer_is_cleaned(answer: str, caption: str) -> None:
    assert cleaned(answer) == caption
    assert cleaned(caption) == caption


@given(st.text(max_size=300))
def test_a_cleaned_answer_is_one_line_without_signs_that_nobody_sees(answer: str) -> None:
    text = cleaned(answer)
    assert text == " ".join(text.split())
    assert text.isprintable()
    assert "<" not in text


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("A dog runs on grass.", ""),
        ("Dog, grass, ball", ""),
        ("", "empty"),
        ("!!", "empty"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I cannot describe people in this picture.", "refusal"),
        ("As an AI language model, I see nothing.", "refusal"),
        ("Ein Hund läuft mit einem Ball auf der Wiese.", "English"),
        ("Un chien court dans le pré avec une balle.", "English"),
        ("Собака бежит по траве.", "English"),
        ("一只狗 在草地上 奔跑", "English"),
        ("A dog with a RED  Collar on grass.", "not to be used"),
        (question(CaptionOptions(class_noun="dog"))[:90], "repeated"),
    ],
)
def test_an_answer_that_is_no_caption_is_refused_with_a_reason(text: str, complaint: str) -> None:
    found = complaint_about(text, prompt=question(CaptionOptions(class_noun="dog")), avoid=("red collar",))
    assert complaint in found
    assert bool(found) == bool(complaint)


@pytest.mark.parametrize(
    ("text", "trigger", "noun", "caption"),
    [
        ("A dog runs.", "sks", "dog", "A sks dog runs."),
        ("An old Dog runs after a dog.", "sks", "dog", "An old sks dog runs after a dog."),
        ("The apple lies there.", "sks", "apple", "The sks apple lies there."),
        ("An apple lies there.", "sks", "apple", "A sks apple lies there."),
        ("A dog runs.", "ohwx", "dog", "An ohwx dog runs."),
        ("A sks dog runs.", "sks", "dog", "A sks dog runs."),
        ("A dog runs.", "sks dog", "dog", "A sks dog runs."),
        ("Somebody runs.", "sks", "dog", "A photo of sks dog, somebody runs."),
        ("A dog runs.", "", "dog", "A dog runs."),
        ("A hotdog.", "sks", "dog", "A photo of sks dog, a hotdog."),
        ("A dog runs.", "sks", "", "A dog runs."),
    ],
)
def test_the_subject_is_called_by_trigger_word_and_noun(text: str, trigger: str, noun: str, caption: str) -> None:
    assert named(text, trigger, noun) == caption
    assert named(caption, trigger, noun) == caption


def test_a_caption_keeps_the_base_models_limit_at_the_end_of_a_sentence_or_clause() -> None:
    text = "A sks dog runs on grass. It is a sunny day, with trees behind it, and a ball lies there."
    assert shortened(text, limit=0) == text
    assert shortened(text, limit=9) == "A sks dog runs on grass."
    assert shortened(text, limit=16) == "A sks dog runs on grass. It is a sunny day"
    for limit in range(1, 30):
        assert about_tokens(shortened(text, limit=limit)) <= limit


@given(st.lists(st.sampled_from(["a", "dog", "runs.", "on", "grass,", "behind", "extraordinarily"]), max_size=80))
def test_every_usable_caption_has_the_noun_and_keeps_the_limit(words: list[str]) -> None:
    options = CaptionOptions(class_noun="dog", token_limit=20)
    text, complaint = usable(Answer(" ".join(words)), question(options), options, "sks")
    assert bool(text) != bool(complaint)
    if text:
        assert about_tokens(text) <= 20
        assert holds(text, "sks dog")


def test_a_question_names_what_is_wanted_and_never_the_trigger_word() -> None:
    asked = question(CaptionOptions(Purpose.PERSON, "woman", ("tattoo",), 75), complaint="It was empty.")
    for part in ("'woman'", "tattoo", "At most 45 words", "It was empty.", "Do not name them"):
        assert part in asked
    assert "style" in question(CaptionOptions(Purpose.STYLE))
    assert "'dog'" in question(CaptionOptions(class_noun="dog"))


def test_the_datasets_subject_is_the_noun_where_none_is_given() -> None:
    dataset = DatasetRecord("projects/p/datasets/d", "sks", 1, "dog")
    assert for_dataset(CaptionOptions(avoid=("red",)), dataset) == CaptionOptions(class_noun="dog", avoid=("red",))
    for kept in (CaptionOptions(class_noun="puppy"), CaptionOptions(Purpose.STYLE)):
        assert for_dataset(kept, dataset) == kept
