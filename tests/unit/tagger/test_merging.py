from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.tagger.models.pictures import Score
from services.tagger.models.tags import MAX_TAGS_PER_IMAGE, Tag, TagMode, TagOptions, TagSource
from services.tagger.use_cases.labels import key
from services.tagger.use_cases.merging import merge, to_skip
from tests.fakes.tagger_world import score

OVERWRITE = TagOptions(mode=TagMode.OVERWRITE_AUTO)


def auto(label: str, value: float = 0.5) -> Tag:
    return Tag(label, TagSource.AUTO, value, "old", "123", "general")


def test_append_keeps_everything_and_adds_what_is_new() -> None:
    before = (Tag("My Cat"), auto("dog"))
    merged = merge(before, [score("Dog", 0.9), score("tree", 0.8)], TagOptions())
    assert merged.tags[:2] == before
    assert merged.tags[2] == Tag("tree", TagSource.AUTO, 0.8, "scripted", "abc", "general")
    assert (merged.added, merged.removed, merged.changed) == (("tree",), (), True)


def test_append_of_nothing_new_changes_nothing() -> None:
    assert not merge((Tag("dog"),), [score("dog")], TagOptions()).changed


def test_skip_leaves_images_with_any_tag_alone_and_tags_the_others() -> None:
    options = TagOptions(mode=TagMode.SKIP, prepend=("first",))
    assert to_skip((Tag("dog"),), TagMode.SKIP)
    assert not to_skip((), TagMode.SKIP)
    assert not merge((Tag("dog"),), [score("tree")], options).changed
    assert [tag.label for tag in merge((), [score("tree")], options).tags] == ["first", "tree"]


def test_overwrite_replaces_automatic_and_measured_tags_and_keeps_manual_ones_in_place() -> None:
    measured = Tag("red", TagSource.MEASURED, 0.4, "measured", "", "colour")
    before = (auto("dog"), Tag("my cat"), measured, auto("house"), Tag("mat"))
    merged = merge(before, [score("house", 0.9), score("tree", 0.7)], OVERWRITE)
    assert [tag.label for tag in merged.tags] == ["my cat", "house", "mat", "tree"]
    assert merged.tags[1].score == 0.9
    assert merged.tags[1].tagger == "scripted"
    assert (merged.added, merged.removed) == (("tree",), ("dog", "red"))


def test_a_manual_tag_beats_the_same_prediction_in_every_mode() -> None:
    for mode in (TagMode.APPEND, TagMode.OVERWRITE_AUTO):
        merged = merge((Tag("Red_Hat"),), [score("red hat", 0.99)], TagOptions(mode=mode))
        assert merged.tags == (Tag("Red_Hat"),)
        assert not merged.changed


def test_the_trigger_word_comes_first_as_a_manual_tag() -> None:
    options = TagOptions(prepend_trigger_word=True, prepend=("photo",))
    merged = merge((auto("cat"), auto("sks")), [score("tree")], options, words=["sks"])
    assert [(tag.label, tag.source) for tag in merged.tags[:2]] == [
        ("sks", TagSource.MANUAL),
        ("photo", TagSource.MANUAL),
    ]
    assert [tag.label for tag in merged.tags[2:]] == ["cat", "tree"]
    assert merged.added == ("photo", "tree")


def test_the_subject_follows_the_trigger_word() -> None:
    options = TagOptions(prepend_trigger_word=True, prepend=("photo",))
    merged = merge((), [score("Gray Cat"), score("tree")], options, words=["sks", "gray cat"])
    assert [tag.label for tag in merged.tags] == ["sks", "gray cat", "photo", "tree"]


def test_without_a_trigger_word_or_without_the_option_none_is_added() -> None:
    assert merge((), [], TagOptions(prepend_trigger_word=True), words=[]).tags == ()
    assert merge((), [], TagOptions(), words=["sks"]).tags == ()


def test_leading_labels_are_exempt_from_exclusion_and_keep_a_persons_spelling() -> None:
    options = TagOptions(prepend=("my_dog",), exclude=("my dog",))
    merged = merge((Tag("tail"), Tag("My Dog")), [], options)
    assert [tag.label for tag in merged.tags] == ["My Dog", "tail"]


def test_the_weakest_new_labels_give_way_when_an_image_is_full() -> None:
    before = tuple(Tag(f"tag {i}") for i in range(MAX_TAGS_PER_IMAGE - 1))
    merged = merge(before, [score("best", 0.9), score("worst", 0.5)], TagOptions())
    assert len(merged.tags) == MAX_TAGS_PER_IMAGE
    assert merged.tags[-1].label == "best"


def test_scores_survive_the_way_through_a_32_bit_float() -> None:
    assert merge((), [score("cat", 0.123456789)], TagOptions()).tags[0].score == 0.1235


LABELS = st.sampled_from(["cat", "Cat", "dog", "red_hat", "red hat", "tree", "sks", ">_<"])
TAGS = st.lists(
    st.builds(Tag, LABELS, st.sampled_from(list(TagSource))), max_size=8, unique_by=lambda tag: key(tag.label)
).map(tuple)
SCORES = st.lists(st.builds(score, LABELS, st.floats(0, 1)), max_size=8, unique_by=lambda item: key(item.label))
MODES = st.sampled_from(list(TagMode))


@given(TAGS, SCORES, MODES, st.booleans())
def test_a_hand_edit_is_never_lost_and_a_second_run_changes_nothing(
    before: tuple[Tag, ...], scores: list[Score], mode: TagMode, trigger: bool
) -> None:
    options = TagOptions(mode=mode, prepend_trigger_word=trigger)
    once = merge(before, scores, options, "sks")
    manual = [tag for tag in before if tag.source == TagSource.MANUAL]
    kept = [tag for tag in once.tags if tag in manual]
    assert sorted(tag.label for tag in kept) == sorted(tag.label for tag in manual)
    moved = {key("sks")} if trigger else set()
    assert [tag for tag in kept if key(tag.label) not in moved] == [t for t in manual if key(t.label) not in moved]
    assert len({key(tag.label) for tag in once.tags}) == len(once.tags)
    assert not merge(once.tags, scores, options, "sks").changed
