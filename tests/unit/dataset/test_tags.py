"""How labels compare, what each edit does, and how labels are counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dataset.models.tags import (
    AddTag,
    DeduplicateTags,
    PrependTag,
    RemoveTag,
    ReplaceTag,
    Tag,
    TagEdit,
    TagSource,
    TagStat,
    alike,
    edited,
    normal_label,
    tag_stats,
)


def manual(*labels: str) -> tuple[Tag, ...]:
    return tuple(Tag(label) for label in labels)


def auto(label: str, score: float = 0.5) -> Tag:
    return Tag(label, TagSource.AUTO, score, "wd", "f" * 64, "general")


def labels(tags: tuple[Tag, ...]) -> list[str]:
    return [tag.label for tag in tags]


@pytest.mark.parametrize(
    ("left", "right"), [("Red_Hat", "red hat"), ("red  hat", "red hat"), ("Straße", "STRASSE"), ("e\u0301", "é")]
)
def test_spellings_that_are_one_label(left: str, right: str) -> None:
    assert alike(left, right)


def test_different_labels_and_kaomoji_stay_apart() -> None:
    assert not alike("redhat", "red hat")
    assert normal_label("^_^") != normal_label(">_<")


@pytest.mark.parametrize(
    ("before", "edit", "after"),
    [
        (("a",), AddTag("b"), ["a", "b"]),
        (("a_b", "c"), AddTag("A B"), ["a_b", "c"]),
        (("a", "b"), PrependTag("c"), ["c", "a", "b"]),
        (("a", "b", "B"), PrependTag("b"), ["b", "a"]),
        (("a", "b", "A"), RemoveTag("a"), ["b"]),
        (("a",), RemoveTag("z"), ["a"]),
        (("a", "b", "c"), ReplaceTag("b", "x"), ["a", "x", "c"]),
        (("a", "b", "x"), ReplaceTag("b", "x"), ["a", "x"]),
        (("x", "b", "c"), ReplaceTag("b", "x"), ["x", "c"]),
        (("x",), ReplaceTag("b", "x"), ["x"]),
        (("red_hat",), ReplaceTag("red hat", "red hat"), ["red hat"]),
        (("a", "b", "A", "b"), DeduplicateTags(), ["a", "b"]),
    ],
)
def test_edits(before: tuple[str, ...], edit: TagEdit, after: list[str]) -> None:
    assert labels(edited(manual(*before), [edit])) == after


def test_edits_are_done_in_order() -> None:
    assert labels(edited(manual("a"), [AddTag("b"), ReplaceTag("b", "c"), PrependTag("b")])) == ["b", "a", "c"]


@pytest.mark.parametrize("edit", [AddTag("red"), PrependTag("red"), ReplaceTag("red", "red")])
def test_what_a_person_puts_is_manual_from_then_on(edit: TagEdit) -> None:
    assert edited((auto("red"),), [edit]) == (Tag("red"),)


def test_edits_leave_other_tags_and_their_provenance_alone() -> None:
    other = auto("blue", 0.7)
    assert other in edited((other, auto("red")), [RemoveTag("red"), AddTag("x"), DeduplicateTags()])


def test_deduplicate_keeps_the_place_of_the_first_and_the_word_of_the_person() -> None:
    assert edited((auto("Red"), auto("b"), Tag("red")), [DeduplicateTags()]) == (Tag("red"), auto("b"))


def test_stats_count_images_not_tags() -> None:
    stats = tag_stats([(Tag("red"), auto("Red"), auto("dog")), (auto("RED"), auto("red")), ()])
    assert stats == [TagStat("red", 2, 1), TagStat("dog", 1, 0)]


def test_stats_break_ties_by_alphabet() -> None:
    assert [stat.label for stat in tag_stats([manual("b", "A", "c")])] == ["A", "b", "c"]


_tags = st.lists(st.sampled_from(["a", "A", "b", "red_hat", "red hat"]), max_size=6).map(lambda xs: manual(*xs))
_label = st.sampled_from(["a", "b", "Red Hat", "new"])


@given(tags=_tags, label=_label)
def test_after_an_add_the_label_stands_and_after_a_remove_it_does_not(tags: tuple[Tag, ...], label: str) -> None:
    assert any(alike(tag.label, label) for tag in edited(tags, [AddTag(label)]))
    assert not any(alike(tag.label, label) for tag in edited(tags, [AddTag(label), RemoveTag(label)]))


@given(tags=_tags, old=_label, new=_label)
def test_every_edit_done_twice_changes_nothing_more(tags: tuple[Tag, ...], old: str, new: str) -> None:
    for edit in (AddTag(new), PrependTag(new), RemoveTag(old), ReplaceTag(old, new), DeduplicateTags()):
        once = edited(tags, [edit])
        assert edited(once, [edit]) == once
