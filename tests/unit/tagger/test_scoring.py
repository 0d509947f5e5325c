from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tagger.models.pictures import Category, Score
from services.tagger.models.tags import TagOptions
from services.tagger.use_cases.scoring import mcut, predictions
from tests.fakes.tagger_world import ScriptedTagger, score

INFO = ScriptedTagger().describe()
CATEGORIES = [category.name for category in INFO.categories]


def labels(scores: list[Score], options: TagOptions | None = None) -> list[str]:
    return [item.label for item in predictions(scores, INFO, options or TagOptions())]


def test_every_category_has_its_own_threshold() -> None:
    general = [score("cat", 0.36), score("dog", 0.34)]
    scores = [*general, score("alice", 0.84, "character"), score("bob", 0.85, "character")]
    assert labels(scores) == ["bob", "cat"]


def test_one_threshold_is_for_what_a_picture_shows_and_a_category_may_have_its_own() -> None:
    scores = [score("cat", 0.5), score("dog", 0.3), score("alice", 0.4, "character")]
    assert labels(scores, TagOptions(threshold=0.3)) == ["cat", "dog"]
    assert labels(scores, TagOptions(threshold=0.3, category_thresholds=(("general", 0.45),))) == ["cat"]
    both = TagOptions(threshold=0.3, category_thresholds=(("character", 0.3),))
    assert labels(scores, both) == ["alice", "cat", "dog"]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(CATEGORIES), st.floats(0, 1)), max_size=20),
    st.floats(0, 1),
)
def test_one_threshold_brings_and_takes_no_tag_of_a_category_that_keeps_its_own(
    given_scores: list[tuple[str, str, float]], threshold: float
) -> None:
    scores = [score(f"{label} {category}", value, category) for label, category, value in given_scores]
    mine = {category.name for category in INFO.categories if category.takes_threshold}
    own, asked = (
        [each.label for each in predictions(scores, INFO, options) if each.category not in mine]
        for options in (TagOptions(max_tags=200), TagOptions(max_tags=200, threshold=threshold))
    )
    assert own == asked


def test_a_category_that_is_given_on_request_stays_silent_under_mcut() -> None:
    info = replace(INFO, categories=(*INFO.categories, Category("secret", 1.0)))
    scores = [score("seen", 0.9, "secret"), score("unseen", 0.1, "secret"), score("cat", 0.9), score("dog", 0.1)]
    found = predictions(scores, info, TagOptions(adaptive_threshold=True))
    assert [each.label for each in found] == ["cat"]
    asked = TagOptions(adaptive_threshold=True, category_thresholds=(("secret", 0.5),))
    assert [each.label for each in predictions(scores, info, asked)] == ["cat", "seen"]


def test_labels_come_by_category_then_by_score_and_the_cap_keeps_the_best() -> None:
    red, eve = score("red", 0.3, "colour", measured=True), score("eve", 0.86, "character")
    scores = [red, score("cat", 0.5), score("dog", 0.9), eve]
    assert labels(scores) == ["eve", "dog", "cat", "red"]
    assert labels(scores, TagOptions(max_tags=3)) == ["eve", "dog", "cat"]


def test_underscores_become_spaces_except_in_faces() -> None:
    assert labels([score("long_hair"), score(">_<", 0.8)]) == ["long hair", ">_<"]


def test_excluded_labels_make_room_for_others() -> None:
    scores = [score("red_hat", 0.9), score("cat", 0.8), score("dog", 0.7)]
    assert labels(scores, TagOptions(exclude=("Red Hat",), max_tags=2)) == ["cat", "dog"]
    assert labels(scores, TagOptions(exclude=("*hat", "d*"))) == ["cat"]


def test_replacement_happens_before_exclusion_and_merges_equal_labels() -> None:
    scores = [score("kitten", 0.6), score("cat", 0.9), score("puppy", 0.7)]
    options = TagOptions(replace=(("Kitten", "cat"), ("puppy", "dog")), exclude=("dog",))
    assert labels(scores, options) == ["cat"]
    assert predictions(scores, INFO, options)[0].score == 0.9


def test_the_first_replacement_rule_wins() -> None:
    assert labels([score("kitten")], TagOptions(replace=(("kitten", "cat"), ("kitten", "dog")))) == ["cat"]


def test_a_label_whose_words_stand_in_a_longer_one_is_dropped() -> None:
    scores = [score("hat", 0.9), score("red hat", 0.5), score("red", 0.4, "colour", measured=True)]
    assert labels(scores) == ["red hat", "red"]
    assert labels(scores, TagOptions(keep_overlapping=True)) == ["hat", "red hat", "red"]


def test_a_longer_label_below_its_threshold_hides_nothing() -> None:
    assert labels([score("hat", 0.9), score("red hat", 0.1)]) == ["hat"]


def test_of_an_exclusive_category_only_the_best_label_counts() -> None:
    scores = [score("safe", 0.6, "rating"), score("other", 0.55, "rating"), score("cat", 0.4)]
    assert labels(scores) == ["cat", "safe"]
    assert labels(scores, TagOptions(exclude=("safe",))) == ["cat"], "the second best is not true of the picture"


@pytest.mark.parametrize(
    ("scores", "threshold"),
    [([0.9, 0.8, 0.2, 0.1], 0.5), ([0.9, 0.1, 0.05], 0.5), ([], 0.5), ([0.7], 0.5), ([0.5, 0.5], 0.5)],
)
def test_mcut_cuts_in_the_widest_gap(scores: list[float], threshold: float) -> None:
    assert mcut(scores) == pytest.approx(threshold)


def test_adaptive_thresholds_look_at_predicted_scores_of_one_category_and_keep_the_floor() -> None:
    scores = [
        score("cat", 0.30), score("dog", 0.28), score("tree", 0.02),
        score("alice", 0.12, "character"), score("bob", 0.01, "character"),
        score("red", 0.21, "colour", measured=True), score("blue", 0.19, "colour", measured=True),
    ]  # fmt: skip
    assert labels(scores, TagOptions(adaptive_threshold=True)) == ["cat", "dog", "red"]


def test_a_category_threshold_of_the_request_beats_mcut() -> None:
    scores = [score("cat", 0.30), score("dog", 0.28), score("tree", 0.02)]
    options = TagOptions(adaptive_threshold=True, category_thresholds=(("general", 0.29),))
    assert labels(scores, options) == ["cat"]


def test_a_category_that_the_backend_did_not_declare_is_a_fault_of_the_program() -> None:
    with pytest.raises(KeyError):
        labels([score("cat", 0.9, "made up")])


@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 1)), max_size=20),
    st.integers(1, 8),
    st.floats(0, 1),
)
def test_never_more_than_the_cap_never_twice_never_below_the_threshold(
    pairs: list[tuple[str, float]], cap: int, threshold: float
) -> None:
    found = predictions(
        [score(label, value) for label, value in pairs], INFO, TagOptions(max_tags=cap, threshold=threshold)
    )
    assert len(found) <= cap
    assert len({item.label for item in found}) == len(found)
    assert all(item.score >= threshold for item in found)
    best = sorted({label: max(v for k, v in pairs if k == label) for label, _ in pairs}.values(), reverse=True)
    assert [item.score for item in found] == [value for value in best if value >= threshold][:cap]
