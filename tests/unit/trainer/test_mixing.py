"""Several datasets in one job: shares, prompts, what is refused, and that all of them are frozen or none."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from services.trainer.models.base import TrainingImage, TrainingSet
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from services.trainer.recipe.plan import PictureSize
from services.trainer.recipe.prompts import Described, with_prompts_of_each
from services.trainer.recipe.sharing import drawn_samples, held_out_pictures, in_turns, samples_of_each
from services.trainer.use_cases.auditing import Auditor, refuse_blocked
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.mixing import AskedDataset
from services.trainer.use_cases.planning import JobRequest, PlannedJob, Planner

MODEL = load_catalogue()["fiveshot-tiny"]
PROJECT = "projects/acme/datasets"
REX, MIA, DOGS = f"{PROJECT}/rex", f"{PROJECT}/mia", f"{PROJECT}/dogs"
PARAMETERS = resolve(DEFAULT_SPECS, {"num_repeats": 4, "num_epochs": 2})


def pictures(*counts: int, weights: tuple[float, ...] = (1.0, 1.0, 1.0), repeats: int = 1) -> list[PictureSize]:
    return [
        PictureSize(640, 640, repeats=repeats, dataset=dataset, weight=weights[dataset])
        for dataset, count in enumerate(counts)
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("counts", "weights", "shares"),
    [
        ((5,), (7.0,), (20,)),
        ((5, 20), (1.0, 1.0), (50, 50)),
        ((5, 20), (1.0, 3.0), (25, 75)),
        ((3, 3, 3), (1.0, 1.0, 0.5), (14, 14, 8)),
    ],
)
def test_the_samples_of_an_epoch_are_shared_by_weight_whatever_the_number_of_pictures(
    counts: tuple[int, ...], weights: tuple[float, ...], shares: tuple[int, ...]
) -> None:
    sized = pictures(*counts, weights=weights)
    samples = samples_of_each(sized, PARAMETERS)
    found = [
        sum(count for one, count in zip(sized, samples, strict=True) if one.dataset == dataset)
        for dataset in range(len(counts))
    ]
    assert sum(found) == sum(shares)
    assert all(abs(got - wanted) <= 1 for got, wanted in zip(found, shares, strict=True))
    assert drawn_samples(sized, PARAMETERS) == 2 * sum(found)


def test_every_picture_is_trained_and_repeats_decide_inside_a_dataset() -> None:
    sized = [*pictures(2, weights=(0.01,)), replace(pictures(1)[0], dataset=1), PictureSize(64, 64, None, 3, dataset=1)]
    samples = samples_of_each(sized, PARAMETERS)
    assert samples[:2] == [1, 1]
    # All but two of the samples, as 1 to 3.
    assert samples[2:] == [6, 17]


def test_a_picture_of_each_dataset_is_held_out_or_none() -> None:
    assert held_out_pictures(pictures(8, 9), PARAMETERS) == (7, 16)
    assert held_out_pictures(pictures(8, 7), PARAMETERS) == ()
    assert samples_of_each(pictures(8, 9), PARAMETERS)[7] == 0


def test_datasets_take_turns_and_one_alone_keeps_its_order() -> None:
    assert in_turns([3, 1, 2], lambda _: 0) == [3, 1, 2]
    assert in_turns(["a1", "a2", "a3", "b1", "b2"], lambda name: ord(name[0])) == ["a1", "b1", "a2", "b2", "a3"]


def test_each_dataset_has_a_preview_after_the_users_own() -> None:
    both = [Described("sks", "dog", ("sks dog runs",)), Described("qux", "cat", ("qux cat sits",))]
    own = replace(PARAMETERS, preview_prompts=("a moon",))
    drawn = with_prompts_of_each(own, ["{caption}", "{trigger_word} at night"], both).preview_prompts
    assert drawn == ("a moon", "sks dog runs", "qux cat sits")
    four = [Described(f"w{number}", "", (f"w{number} here",)) for number in range(4)]
    assert len(set(with_prompts_of_each(PARAMETERS, [], four).preview_prompts)) == 4


class _Datasets:
    """Sets by the names of their datasets."""

    def __init__(self, **sets: TrainingSet) -> None:
        self.sets = sets
        self.pinned: list[str] = []

    async def look(self, name: str) -> TrainingSet:
        found = self.sets.get(name.split("/")[3])
        if found is None:
            raise NotFound(f"no {name}")
        return found if "/versions/" in name else replace(found, version="", digest="")

    async def pin(self, name: str) -> TrainingSet:
        self.pinned.append(name)
        return self.sets[name.split("/")[3]]

    async def draw(self, image: str, part: Crop, size: tuple[int, int], *, mask: bool = False) -> bytes:
        raise AssertionError("nothing is drawn here")


def a_set(name: str, count: int, word: str, subject: str = "", caption: str | None = None) -> TrainingSet:
    texts = [f"{word} {subject}, scene {n}" if caption is None else caption for n in range(count)]
    images = tuple(TrainingImage(PictureSize(640, 480), text, f"{name}{n}") for n, text in enumerate(texts))
    return TrainingSet(f"{PROJECT}/{name}/versions/1", name[0] * 64, word, images, subject)


def request(*datasets: AskedDataset, dataset: str = "", **parameters: object) -> JobRequest:
    return JobRequest(
        project="acme", job_id="", display_name="", base_model=MODEL.name, dataset=dataset,
        parameters={"num_repeats": 4, **parameters}, priority=0, datasets=datasets,
    )  # fmt: skip


BOTH = (AskedDataset(REX), AskedDataset(MIA, 3.0))


@pytest.fixture
def datasets() -> _Datasets:
    return _Datasets(
        rex=a_set("rex", 5, "sks", "dog"),
        mia=a_set("mia", 10, "qux", "cat"),
        dogs=a_set("dogs", 4, "", "dog", "dog"),
        bare=a_set("bare", 4, "", "", ""),
        few=a_set("few", 2, "fwx"),
        empty=a_set("empty", 0, ""),
    )


@pytest.fixture
def planner(datasets: _Datasets) -> Planner:
    return Planner(BaseModels({MODEL.id: MODEL}), datasets, min_images=3)


async def test_a_job_on_two_datasets_is_planned_over_all_pictures_and_freezes_both(
    planner: Planner, datasets: _Datasets
) -> None:
    planned = await planner.plan(request(*BOTH, preservation_weight=1.0), store=True)
    assert datasets.pinned == [REX, MIA]
    assert len(planned.data.images) == 15
    assert planned.steps.samples_per_epoch == 60
    assert [each.kept.version for each in planned.datasets] == [f"{REX}/versions/1", f"{MIA}/versions/1"]
    # Each has its own subject, so the job has none for both.
    assert (planned.parameters.trigger_word, planned.parameters.preservation_class) == ("sks", "")
    assert [prompt.split(" ")[0] for prompt in planned.parameters.preview_prompts[:2]] == ["sks", "qux"]


async def test_own_regularisation_pictures_are_counted_and_not_trained(planner: Planner) -> None:
    asked = request(AskedDataset(REX), AskedDataset(DOGS, None, True))
    planned = await planner.plan(asked, store=False)
    assert (len(planned.data.images), planned.plan.own_regularization) == (5, 4)
    assert planned.parameters.regularization_fraction == 1.0
    assert planned.parameters.preview_prompts[0].startswith("sks dog")
    with pytest.raises(InvalidArgument) as refused:
        await planner.plan(replace(asked, parameters={"regularization_fraction": 0.0}), store=False)
    assert refused.value.violations[0].field == "training_job.parameters.regularization_fraction"


REFUSED = [
    ((AskedDataset(REX), AskedDataset(f"{REX}/versions/2")), "", "datasets[1].dataset_version", "DATASET_REPEATED"),
    ((AskedDataset(DOGS, None, True),), "", "datasets", "DATASET_REQUIRED"),
    (BOTH, MIA, "dataset_version", "DATASETS_DIFFER"),
    ((AskedDataset(REX), AskedDataset(DOGS, 1.0, True)), "", "datasets[1].weight", "WEIGHT_UNUSED"),
    ((AskedDataset(REX), AskedDataset("cats")), "", "datasets[1].dataset_version", "NAME_INVALID"),
    (
        (AskedDataset(REX), AskedDataset("projects/other/datasets/a")), "", "datasets[1].dataset_version",
        "PROJECT_MISMATCH",
    ),
    ((AskedDataset(REX), AskedDataset(f"{PROJECT}/none")), "", "datasets[1].dataset_version", "DATASET_NOT_FOUND"),
    ((AskedDataset(REX), AskedDataset(f"{PROJECT}/few")), "", "datasets[1].dataset_version", "DATASET_TOO_SMALL"),
    (
        (AskedDataset(REX), AskedDataset(MIA, None, True)), "", "datasets[1].dataset_version",
        "REGULARIZATION_HAS_TRIGGER_WORD",
    ),
    (
        (AskedDataset(REX), AskedDataset(f"{PROJECT}/bare", None, True)), "", "datasets[1].dataset_version",
        "REGULARIZATION_WITHOUT_TEXT",
    ),
    (
        (AskedDataset(REX), AskedDataset(f"{PROJECT}/empty", None, True)), "", "datasets[1].dataset_version",
        "DATASET_EMPTY",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "first", "field", "reason"), REFUSED)
async def test_what_does_not_go_together_is_refused_and_nothing_is_frozen(
    planner: Planner, datasets: _Datasets, asked: tuple[AskedDataset, ...], first: str, field: str, reason: str
) -> None:
    with pytest.raises((InvalidArgument, FailedPrecondition, NotFound)) as refused:
        await planner.plan(request(*asked, dataset=first), store=True)
    assert (refused.value.field, refused.value.reason) == (f"training_job.{field}", reason)
    assert datasets.pinned == []


async def test_preservation_needs_a_trigger_word_in_every_dataset(planner: Planner) -> None:
    asked = request(AskedDataset(REX), AskedDataset(DOGS), preservation_weight=1.0)
    with pytest.raises(InvalidArgument) as refused:
        await planner.plan(asked, store=False)
    assert refused.value.violations[0].field == "training_job.parameters.preservation_weight"


async def test_the_audit_of_each_dataset_may_block_the_job_and_the_error_names_it(
    planner: Planner, datasets: _Datasets
) -> None:
    small = tuple(replace(image, size=PictureSize(20, 20)) for image in datasets.sets["mia"].images)
    datasets.sets["mia"] = replace(datasets.sets["mia"], images=small)
    asked = request(*BOTH)

    def check(planned: PlannedJob) -> None:
        refuse_blocked(asked, planned, least=3)

    with pytest.raises(FailedPrecondition) as refused:
        await planner.plan(asked, store=True, check=check)
    assert refused.value.field == "training_job.datasets[1].dataset_version"
    assert "dataset mia" in refused.value.message
    assert datasets.pinned == []


async def test_an_audit_of_several_is_refused(planner: Planner) -> None:
    with pytest.raises(InvalidArgument) as refused:
        await Auditor(planner)(request(*BOTH))
    assert refused.value.reason == "DATASETS_SEVERAL"


async def test_an_audit_of_one_beside_regularisation_pictures_looks_at_the_one(
    planner: Planner, datasets: _Datasets
) -> None:
    small = tuple(replace(image, size=PictureSize(20, 20)) for image in datasets.sets["dogs"].images)
    datasets.sets["dogs"] = replace(datasets.sets["dogs"], images=small)
    asked = request(AskedDataset(DOGS, regularization=True), AskedDataset(REX))
    beside, alone = await Auditor(planner)(asked), await Auditor(planner)(request(dataset=REX))
    assert (beside.dataset, beside.image_count) == (REX, len(datasets.sets["rex"].images))
    assert [finding.kind for finding in beside.findings] == [finding.kind for finding in alone.findings]
