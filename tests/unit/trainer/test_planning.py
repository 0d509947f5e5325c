"""What a request for a job comes to, before anything is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from services.trainer.models.base import TrainingImage, TrainingSet
from services.trainer.recipe.catalogue import BaseModel, load_catalogue
from services.trainer.recipe.plan import PictureSize
from services.trainer.use_cases.planning import JobRequest, Planner, preview_prompts, resolved

MODEL: BaseModel = load_catalogue()["fiveshot-tiny"]
REQUEST = JobRequest(
    project="acme",
    job_id="",
    display_name="",
    base_model="baseModels/fiveshot-tiny",
    dataset="projects/acme/datasets/dog",
    parameters={},
    priority=0,
)


class _Datasets:
    """One set of photos. Says which calls were made."""

    def __init__(self, data: TrainingSet) -> None:
        self.data = data
        self.calls: list[str] = []

    async def look(self, name: str) -> TrainingSet:
        self.calls.append(f"look {name}")
        return self.data

    async def pin(self, name: str) -> TrainingSet:
        self.calls.append(f"pin {name}")
        return self.data


def _set(count: int, *, trigger_word: str = "sks", repeats: int = 1) -> TrainingSet:
    images = tuple(
        TrainingImage(PictureSize(640, 480, None, repeats), f"{trigger_word} dog, scene {n}") for n in range(count)
    )
    return TrainingSet("projects/acme/datasets/dog/versions/1", "d" * 64, trigger_word, images)


def _planner(data: TrainingSet) -> tuple[Planner, _Datasets]:
    datasets = _Datasets(data)
    return Planner({MODEL.id: MODEL}, datasets), datasets


async def test_steps_multiply_the_sets_repeats_with_the_jobs() -> None:
    planner, _ = _planner(_set(5, repeats=2))
    request = replace(REQUEST, parameters={"num_repeats": 3, "batch_size": 4, "num_epochs": 2})
    planned = await planner.plan(request, store=False)
    # 5 pictures x 2 x 3 = 30 samples in batches of 4.
    assert (planned.steps.steps_per_epoch, planned.steps.total_steps) == (8, 16)


async def test_the_trigger_word_of_the_set_enters_the_parameters() -> None:
    planner, _ = _planner(_set(5))
    planned = await planner.plan(REQUEST, store=True)
    assert planned.parameters.trigger_word == "sks"
    assert len(planned.parameters.preview_prompts) == 3
    assert all("sks" in prompt for prompt in planned.parameters.preview_prompts)


async def test_bad_parameters_are_refused_before_the_dataset_service_is_asked() -> None:
    planner, datasets = _planner(_set(5))
    with pytest.raises(InvalidArgument) as refused:
        await planner.plan(replace(REQUEST, parameters={"rank": 0}), store=True)
    assert refused.value.field == "training_job.parameters.rank"
    assert datasets.calls == []


async def test_only_a_job_that_is_stored_freezes_the_dataset() -> None:
    planner, datasets = _planner(_set(5))
    await planner.plan(REQUEST, store=False)
    await planner.plan(REQUEST, store=True)
    assert datasets.calls == [f"look {REQUEST.dataset}", f"pin {REQUEST.dataset}"]


async def test_an_empty_set_is_refused() -> None:
    planner, _ = _planner(_set(0))
    with pytest.raises(FailedPrecondition) as refused:
        await planner.plan(REQUEST, store=False)
    assert refused.value.field == "training_job.dataset_version"


@pytest.mark.parametrize(
    "dataset",
    [
        "",
        "projects/acme/datasets/../x",
        "projects/acme/datasets/dog/versions/0",
        "projects/acme/datasets/dog/images/i",
        "projects/other/datasets/dog",
    ],
)
async def test_a_name_that_cannot_be_meant_is_refused_unasked(dataset: str) -> None:
    planner, datasets = _planner(_set(5))
    with pytest.raises(InvalidArgument) as refused:
        await planner.plan(replace(REQUEST, dataset=dataset), store=True)
    assert refused.value.field == "training_job.dataset_version"
    assert datasets.calls == []


@pytest.mark.parametrize("name", ["baseModels/absent", "fiveshot-tiny", "models/fiveshot-tiny"])
def test_an_unknown_base_model_is_answered_with_those_on_offer(name: str) -> None:
    planner, _ = _planner(_set(5))
    with pytest.raises(NotFound) as refused:
        planner.base_model(name, field="training_job.base_model")
    assert "baseModels/fiveshot-tiny" in refused.value.remedy


@pytest.mark.parametrize(
    ("given", "captions", "trigger_word", "expected"),
    [
        (("a cat",), ["one", "two"], "", ("a cat", "one", "x one")),
        ((), ["one", "two", "three"], "sks", ("one", "x sks", "two")),
        ((), ["", "  "], "sks", ("sks", "x sks", "x sks")),
        ((), [""], "", ("a photo", "x a photo", "x a photo")),
        (("a", "b", "c"), ["one"], "sks", ("a", "b", "c")),
    ],
)
def test_missing_preview_prompts_come_from_the_templates_and_captions(
    given: tuple[str, ...], captions: list[str], trigger_word: str, expected: tuple[str, ...]
) -> None:
    model = replace(MODEL, preview_templates=("{caption}", "x {trigger_word}"))
    parameters = resolved(model, {"preview_prompts": given, "trigger_word": trigger_word})
    assert preview_prompts(model, parameters, captions) == expected
