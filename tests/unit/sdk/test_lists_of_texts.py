"""A text where a list of texts is meant is a list of one: Python would take its letters, and no type checker knows."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import SimpleNamespace
from typing import Any

import fiveshot.aio
import pytest
from fiveshot.aio.calls import Listing
from fiveshot.aio.datasets import Dataset
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.errors import InvalidArgument
from fiveshot.mixes import trained_datasets
from fiveshot.parameters import training_parameters
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.words import labelled

MODULES = [importlib.import_module(f"fiveshot.aio.{each.name}") for each in pkgutil.iter_modules(fiveshot.aio.__path__)]


def test_whatever_takes_texts_says_that_it_takes_one() -> None:
    narrow = [
        f"{module.__name__}.{kind.__name__}.{name}({parameter.name})"
        for module in MODULES
        for kind in vars(module).values()
        if inspect.isclass(kind) and kind.__module__ == module.__name__
        for name, function in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_")
        for parameter in inspect.signature(function).parameters.values()
        if "Sequence[str]" in str(parameter.annotation) and "str | Sequence[str]" not in str(parameter.annotation)
    ]
    assert not narrow


async def test_one_text_to_leave_out_is_one_and_not_its_letters() -> None:
    asked: list[tagger_service_pb2.TagImagesRequest] = []

    async def tag_images(request: tagger_service_pb2.TagImagesRequest) -> tagger_pb2.TagJob:
        asked.append(request)
        return tagger_pb2.TagJob(name="projects/p/tagJobs/one")

    stubs: Any = SimpleNamespace(tagger=SimpleNamespace(TagImages=tag_images))
    dataset = Dataset(stubs, dataset_pb2.Dataset(name="projects/p/datasets/d"))
    await dataset.tag(exclude="indoors", prepend=["pet", "animal"], wait=False)
    assert list(asked[0].options.exclude) == ["indoors"]
    assert list(asked[0].options.prepend) == ["pet", "animal"]


def test_one_prompt_and_one_dataset() -> None:
    made, wrong = training_parameters({"preview_prompts": "sks cat"})
    assert (list(made.preview_prompts), wrong) == (["sks cat"], [])
    mixed = trained_datasets("first", "mia", "cats", lambda collection, name: name)
    assert [(each.dataset_version, each.regularization) for each in mixed] == [
        ("first", False), ("mia", False), ("cats", True),
    ]  # fmt: skip
    assert trained_datasets("first", "", "", lambda collection, name: name) == []


@pytest.mark.parametrize(("count", "found"), [(-1, 0), (0, 0), (1, 1), (2, 2), (9, 3)])
async def test_the_first_few_are_never_more_than_asked_for(count: int, found: int) -> None:
    async def list_datasets(request: dataset_service_pb2.ListDatasetsRequest) -> Any:
        return dataset_service_pb2.ListDatasetsResponse(datasets=[dataset_pb2.Dataset(name=each) for each in "abc"])

    request = dataset_service_pb2.ListDatasetsRequest()
    listing: Listing[Any] = Listing(list_datasets, request, "datasets", lambda each: each)
    assert len(await listing.first(count)) == found


@pytest.mark.parametrize(
    ("labels", "field"),
    [({"a": 1}, "labels[a]"), ({"a": None}, "labels[a]"), ({1: "a"}, "labels[1]"), (["a"], "labels"), ("a", "labels")],
)
def test_labels_that_are_no_texts_are_named(labels: Any, field: str) -> None:
    with pytest.raises(InvalidArgument) as wrong:
        labelled(labels)
    assert (wrong.value.reason, wrong.value.field) == ("LABELS_INVALID", field)
    assert labelled({"a": "1"}) == {"a": "1"}
    assert labelled(None) is None
