"""Resource names and ids: what is accepted can be put into a path, a subject or a file name as it is."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis import names
from services.chassis.errors import Aborted, InvalidArgument
from services.chassis.names import ResourceName, check_mask
from tests.fixtures.patience import until_blocking

IMAGE = ResourceName("projects/{project}/datasets/{dataset}/images/{image}")
ids = st.from_regex(r"\A[a-z][a-z0-9-]{0,62}\Z")


@given(ids, ids, ids)
def test_format_and_parse_are_inverse(project: str, dataset: str, image: str) -> None:
    given_ids = {"project": project, "dataset": dataset, "image": image}
    assert IMAGE.parse(IMAGE.format(**given_ids)) == given_ids


@given(st.text())
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with suppress(InvalidArgument):
        assert IMAGE.format(**IMAGE.parse(text)) == text


@pytest.mark.parametrize(
    "name",
    [
        "",
        "projects/p/datasets/d",
        "projects/p/datasets/d/images/i/",
        "/projects/p/datasets/d/images/i",
        "projects/p/datasets/../images/i",
        "projects/P/datasets/d/images/i",
        "projects/p/datasets/d/pictures/i",
        "projects/p/datasets/d/images/i\n",
        "projects/p/datasets/d/images/" + "i" * 64,
        "projects/p/datasets/d/images/ä",
        "projects/-/datasets/d/images/i",
    ],
)
def test_wrong_names_are_refused(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        IMAGE.parse(name, field="image.name")
    assert (caught.value.reason, caught.value.field) == ("NAME_INVALID", "image.name")
    assert "projects/{project}/datasets/{dataset}/images/{image}" in caught.value.message
    assert not IMAGE.matches(name)


def test_formatting_wrong_ids_is_a_fault_of_the_program() -> None:
    with pytest.raises(ValueError, match="not an id for image"):
        IMAGE.format(project="p", dataset="d", image="../x")
    with pytest.raises(ValueError, match="takes"):
        IMAGE.format(project="p")


def test_the_last_collection() -> None:
    assert IMAGE.collection == "images"


@pytest.mark.parametrize("value", ["", "A", "1a", "-a", "a_b", "a/b", "..", "a" * 64, "a b", "a\n"])
def test_ids_that_a_user_may_not_choose(value: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        names.check_id(value, field="dataset_id")
    assert (caught.value.reason, caught.value.field) == ("ID_INVALID", "dataset_id")
    assert "lower-case" in caught.value.remedy


def test_new_ids_are_valid_different_and_sort_by_time() -> None:
    made = []
    for _ in range(5):
        made.append(names.new_id("img"))
        millisecond = time.time_ns() // 10**6
        until_blocking(lambda now=millisecond: time.time_ns() // 10**6 > now + 1)  # type: ignore[misc]
    assert made == sorted(made)
    assert len(set(made)) == 5
    assert all(names.check_id(each, field="id") == each for each in made)
    assert len({names.new_id("x") for _ in range(2000)}) == 2000


@pytest.mark.parametrize(
    ("name", "project"), [("projects/p/datasets/d", "p"), ("projects/p", "p"), ("baseModels/b", ""), ("", "")]
)
def test_the_project_of_a_name(name: str, project: str) -> None:
    assert names.project_of(name) == project


def test_etags_differ_when_a_part_differs() -> None:
    assert names.etag_of("a", 1) == names.etag_of("a", 1)
    assert len({names.etag_of("a", 1), names.etag_of("a", 2), names.etag_of("a1", ""), names.etag_of("a", "1")}) == 4


def test_an_old_etag_is_refused_and_none_is_fine() -> None:
    names.check_etag("", "now")
    names.check_etag("now", "now")
    with pytest.raises(Aborted) as caught:
        names.check_etag("then", "now")
    assert caught.value.reason == "ETAG_MISMATCH"


def test_a_mask_is_refused_with_every_path_that_cannot_be_changed() -> None:
    check_mask(["a", "*"], ("a", "b"))
    check_mask([], ("a",))
    with pytest.raises(InvalidArgument) as caught:
        check_mask(["x", "a", "y" * 500], ("a", "b"))
    assert [(each.field, each.description) for each in caught.value.violations] == [
        ("update_mask", "'x' cannot be changed"), ("update_mask", f"'{'y' * 100}' cannot be changed"),
    ]  # fmt: skip
    assert (caught.value.reason, caught.value.remedy) == (
        "UPDATE_MASK_INVALID",
        "Name whole fields out of a, b, or leave update_mask empty.",
    )
    with pytest.raises(InvalidArgument, match="'x' of an epoch cannot be changed"):
        check_mask(["x"], ("labels",), of="an epoch")
