"""What a request for a job comes to, before anything is stored."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from services.trainer.models.base import TrainingImage, TrainingSet
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.catalogue import BaseModel, load_catalogue
from services.trainer.recipe.plan import PictureSize
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.planning import JobRequest, Planner

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
        return self.data if "/versions/" in name else replace(self.data, version="", digest="")

    async def draw(self, image: str, part: Crop, size: tuple[int, int], *, mask: bool = False) -> bytes:
        raise AssertionError("nothing is drawn here")

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
    return Planner(BaseModels({MODEL.id: MODEL}), datasets, min_images=3), datasets


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


async def test_what_is_preserved_is_called_by_the_sets_subject_or_the_callers_word() -> None:
    planner, _ = _planner(replace(_set(5), subject="gray dog "))
    on = {**REQUEST.parameters, "preservation_weight": 1.0}
    classes = [
        (await planner.plan(replace(REQUEST, parameters=given), store=False)).parameters.preservation_class
        for given in (REQUEST.parameters, on, {**on, "preservation_class": "wolf"})
    ]
    assert classes == ["", "gray dog", "wolf"]


async def test_a_preservation_loss_needs_a_trigger_word() -> None:
    planner, datasets = _planner(_set(5, trigger_word=""))
    request = replace(REQUEST, parameters={"preservation_weight": 1.0})
    with pytest.raises(InvalidArgument) as refused:
        await planner.plan(request, store=True)
    assert refused.value.violations[0].field == "training_job.parameters.preservation_weight"
    assert [call for call in datasets.calls if call.startswith("pin")] == []


async def test_bad_parameters_are_refused_before_the_dataset_service_is_asked() -> None:
    planner, datasets = _planner(_set(5))
    with pytest.raises(InvalidArgument) as refused:
        await planner.plan(replace(REQUEST, parameters={"rank": 0}), store=True)
    assert refused.value.field == "training_job.parameters.rank"
    assert datasets.calls == []


@pytest.mark.parametrize(("ships", "accepted"), [(True, True), (None, True), (False, False)])
async def test_regularisation_pictures_that_a_base_model_does_not_ship_are_refused(
    ships: bool | None, accepted: bool
) -> None:
    datasets = _Datasets(_set(3))
    model = replace(MODEL, ships_regularization=ships)
    planner = Planner(BaseModels({model.id: model}), datasets, min_images=3)
    without = await planner.plan(replace(REQUEST, parameters={"regularization_fraction": 0.0}), store=False)
    assert without.parameters.regularization_fraction == 0.0
    request = replace(REQUEST, parameters={"regularization_fraction": 0.5})
    if accepted:
        assert (await planner.plan(request, store=False)).parameters.regularization_fraction == 0.5
        return
    with pytest.raises(InvalidArgument, match="ships none") as caught:
        await planner.plan(request, store=True)
    assert [violation.field for violation in caught.value.violations] == [
        "training_job.parameters.regularization_fraction"
    ]
    assert not [call for call in datasets.calls if call.startswith("pin")]


@pytest.mark.parametrize(("cycles", "accepted"), [(6, True), (7, False), (100, False)])
async def test_more_restarts_than_the_learning_rate_can_fall_are_refused(cycles: int, accepted: bool) -> None:
    planner, datasets = _planner(_set(3))
    given = {
        "lr_scheduler": "cosine_with_restarts",
        "lr_num_cycles": cycles,
        "num_epochs": 4,
        "num_repeats": 8,
        "lr_warmup_steps": 0,
    }
    if accepted:
        assert (await planner.plan(replace(REQUEST, parameters=given), store=True)).steps.total_steps == 12
        return
    with pytest.raises(InvalidArgument, match="at most 6, got") as caught:
        await planner.plan(replace(REQUEST, parameters=given), store=True)
    assert [violation.field for violation in caught.value.violations] == ["training_job.parameters.lr_num_cycles"]
    assert not [call for call in datasets.calls if call.startswith("pin")], "a refused job freezes nothing"


async def test_only_a_job_that_is_stored_freezes_the_dataset() -> None:
    planner, datasets = _planner(_set(5))
    await planner.plan(REQUEST, store=False)
    await planner.plan(REQUEST, store=True)
    assert datasets.calls == [f"look {REQUEST.dataset}"] * 2 + [f"pin {REQUEST.dataset}"]
    version = f"{REQUEST.dataset}/versions/1"
    await planner.plan(replace(REQUEST, dataset=version), store=True)
    assert datasets.calls[3:] == [f"look {version}"], "a version is frozen already"


@pytest.mark.parametrize(
    ("count", "reason"), [(0, "DATASET_EMPTY"), (1, "DATASET_TOO_SMALL"), (2, "DATASET_TOO_SMALL")]
)
@pytest.mark.parametrize("store", [False, True])
async def test_a_set_with_too_few_images_is_refused_before_it_is_frozen(count: int, reason: str, store: bool) -> None:
    planner, datasets = _planner(_set(count))
    with pytest.raises(FailedPrecondition) as refused:
        await planner.plan(REQUEST, store=store)
    assert (refused.value.field, refused.value.reason) == ("training_job.dataset_version", reason)
    assert "3" in str(refused.value)
    assert datasets.calls == [f"look {REQUEST.dataset}"]


async def test_the_least_number_of_images_is_enough() -> None:
    planner, _ = _planner(_set(3))
    assert (await planner.plan(REQUEST, store=True)).plan.held_out == ()


@pytest.mark.parametrize("of_set", ["sks", ""])
async def test_a_trigger_word_that_the_texts_do_not_hold_is_refused(of_set: str) -> None:
    planner, datasets = _planner(_set(5, trigger_word=of_set))
    for request, field in (
        (replace(REQUEST, trigger_word="zwx"), "training_job.trigger_word"),
        (replace(REQUEST, parameters={"trigger_word": "zwx"}), "training_job.parameters.trigger_word"),
    ):
        with pytest.raises(InvalidArgument) as refused:
            await planner.plan(request, store=True)
        assert (refused.value.field, refused.value.reason) == (field, "TRIGGER_WORD_MISMATCH")
        assert "zwx" in refused.value.message
        assert "trigger_word" in refused.value.remedy
    assert not [call for call in datasets.calls if call.startswith("pin")]


async def test_the_trigger_word_of_the_set_may_be_said() -> None:
    planner, _ = _planner(_set(5))
    said = replace(REQUEST, trigger_word="sks", parameters={"trigger_word": "sks"})
    assert (await planner.plan(said, store=True)).parameters.trigger_word == "sks"


async def test_all_wrong_parameters_are_violations_of_one_error() -> None:
    planner, datasets = _planner(_set(5))
    wrong = {"rank": 0, "alpha": -1.0, "optimizer": "sgd", "resolution": MODEL.pixel_multiple - 1, "seed": -1}
    with pytest.raises(InvalidArgument) as refused:
        await planner.plan(replace(REQUEST, parameters=wrong), store=True)
    assert refused.value.reason == "PARAMETER_INVALID"
    assert {item.field for item in refused.value.violations} == {f"training_job.parameters.{name}" for name in wrong}
    assert all(name in refused.value.message for name in wrong)
    assert all(item.description.startswith(item.field.rpartition(".")[2]) for item in refused.value.violations)
    assert datasets.calls == []


async def test_the_subject_is_named_in_the_templates_prompts_as_in_every_caption() -> None:
    images = tuple(TrainingImage(PictureSize(640, 480), "sks gray cat") for _ in range(5))
    model = replace(
        MODEL, preview_templates=("{caption}", "a photo of {trigger_word} in the snow", "{trigger_word}, {caption}")
    )
    planner = Planner(BaseModels({MODEL.id: model}), _Datasets(TrainingSet("v", "d", "sks", images)), min_images=3)
    planned = await planner.plan(REQUEST, store=False)
    assert planned.parameters.preview_prompts == (
        "sks gray cat",
        "a photo of sks gray cat in the snow",
        "sks gray cat, sks gray cat",
    )


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
async def test_an_unknown_base_model_is_answered_with_those_on_offer(name: str) -> None:
    planner, _ = _planner(_set(5))
    with pytest.raises(NotFound) as refused:
        await planner.plan(replace(REQUEST, base_model=name), store=False)
    assert "baseModels/fiveshot-tiny" in refused.value.remedy
