"""What a request for a training job comes to: base model found, parameters resolved, pictures read, steps counted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.chassis.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound
from services.trainer.models.base import TrainingSet
from services.trainer.models.job import EarlierLora
from services.trainer.ports import Datasets
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.parameter_spec import InvalidParameter, InvalidParameters
from services.trainer.recipe.parameters import TrainingParameters, resolve
from services.trainer.recipe.plan import JobPlan, StepPlan, check_cycles, plan_job
from services.trainer.recipe.prompts import Described, with_prompts_of_each
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.continuing import EarlierLoras, FoundLora
from services.trainer.use_cases.mixing import (
    FIELD,
    AskedDataset,
    MixedDataset,
    check_asked,
    check_regularization,
    joined,
    own_regularization,
    trained,
)

_ID = r"[a-z][a-z0-9-]{0,62}"
_DATASET = re.compile(rf"projects/({_ID})/datasets/{_ID}(/versions/[1-9][0-9]{{0,8}})?")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job as a caller asks for it.

    job_id: "" to have one made. parameters: only those that the caller set. trigger_word: that the caller expects the
    dataset to have; "" for any. ignore_audit: train although the audit blocks it. initial_lora: an
    epoch or model version to go on from; "" to begin afresh. datasets: several of them, or regularisation pictures
    beside one; () for `dataset` alone.
    """

    project: str
    job_id: str
    display_name: str
    base_model: str
    dataset: str
    parameters: Mapping[str, object]
    priority: int
    trigger_word: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    ignore_audit: bool = False
    initial_lora: str = ""
    datasets: tuple[AskedDataset, ...] = ()

    @property
    def sources(self) -> tuple[tuple[str, AskedDataset], ...]:
        """Every dataset with the field that names it."""
        if not self.datasets:
            return (("training_job.dataset_version", AskedDataset(self.dataset)),)
        return tuple((f"{FIELD}[{number}].dataset_version", each) for number, each in enumerate(self.datasets))


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A request that can be run. data: all that is trained, as one set. datasets: where it comes from."""

    model: BaseModel
    data: TrainingSet
    parameters: TrainingParameters
    plan: JobPlan
    initial_lora: EarlierLora | None = None
    datasets: tuple[MixedDataset, ...] = ()

    @property
    def steps(self) -> StepPlan:
        """Exact counts."""
        return self.plan.steps


class Planner:
    """Checks requests against the catalogue and the dataset service."""

    def __init__(
        self,
        base_models: BaseModels,
        datasets: Datasets,
        *,
        min_images: int,
        earlier: EarlierLoras | None = None,
    ) -> None:
        """min_images: a dataset with fewer is refused. earlier: without it no job goes on from another."""
        self._earlier = earlier
        self._base_models = base_models
        self._datasets = datasets
        self._min_images = min_images

    @property
    def least_images(self) -> int:
        """Fewer are refused."""
        return self._min_images

    async def check_parameters(self, request: JobRequest) -> None:
        """Raises InvalidArgument or NotFound for a wrong base model, or for all wrong parameters."""
        model = await self._base_models.find(
            request.base_model, project=request.project, field="training_job.base_model"
        )
        await self._shaped(request, model)

    async def check_datasets(self, request: JobRequest) -> None:
        """Raises InvalidArgument or NotFound for a wrong dataset, or a trigger word that none has."""
        self._check_names(request)
        _check_trigger_word(request, joined(await self._mixed(request)))

    async def plan(
        self,
        request: JobRequest,
        *,
        store: bool,
        least: int | None = None,
        check: Callable[[PlannedJob], None] = lambda planned: None,
    ) -> PlannedJob:
        """Checks everything about a request, cheapest first. store: freeze a dataset that is not a version yet.

        Datasets are frozen after all were looked at, so that a request that is refused leaves no version behind.
        least: pictures that are enough, if not `least_images`. check: refuses, by raising, what was looked at.
        """
        model = await self._base_models.find(
            request.base_model, project=request.project, field="training_job.base_model"
        )
        self._check_names(request)
        request, initial = await self._shaped(request, model)
        least = self._min_images if least is None else least
        mixed = await self._mixed(request)
        planned = self._planned(request, model, mixed, least, initial)
        check(planned)
        if not store or all(each.data.version for each in mixed):
            return planned
        pinned = [
            each if each.data.version else replace(each, data=await self._read(each.asked.name, each.field, store=True))
            for each in mixed
        ]
        return self._planned(request, model, pinned, least, initial)

    async def _shaped(self, request: JobRequest, model: BaseModel) -> tuple[JobRequest, EarlierLora | None]:
        """The request with the shape of its earlier LoRA, if any. Raises InvalidArgument for wrong parameters."""
        lora = await self._lora(request, model)
        if lora is None:
            resolved(model, request.parameters)
            return request, None
        request = replace(request, parameters=lora.shape.over(request.parameters))
        if faults := list(lora.shape.faults(resolved(model, request.parameters))):
            raise wrong_parameters(faults)
        return request, lora.lora

    async def _lora(self, request: JobRequest, model: BaseModel) -> FoundLora | None:
        if not request.initial_lora:
            return None
        assert self._earlier is not None, "a planner that knows no earlier LoRAs"
        return await self._earlier.find(request.initial_lora, project=request.project, model=model)

    def _planned(
        self,
        request: JobRequest,
        model: BaseModel,
        mixed: Sequence[MixedDataset],
        least: int,
        initial: EarlierLora | None,
    ) -> PlannedJob:
        learnt = trained(mixed)
        for each in learnt:
            _check_count(each, least)
        check_regularization(mixed)
        data, own = joined(mixed), own_regularization(mixed)
        _check_trigger_word(request, data)
        parameters = resolved(model, {**request.parameters, "trigger_word": data.trigger_word})
        parameters = mixing_in(parameters, request.parameters, own)
        if parameters.regularization_fraction > 0.0 and not own and model.ships_regularization is False:
            message = "must be 0, or a dataset of regularisation pictures be given: this base model ships none"
            raise wrong_parameters([InvalidParameter("regularization_fraction", message)])
        parameters = preserving(parameters, [each.data for each in learnt])
        described = [_described(each.data) for each in learnt]
        parameters = with_prompts_of_each(parameters, model.preview_templates, described, model.neutral_prompts)
        plan = plan_of(model, parameters, data, own)
        return PlannedJob(model, data, parameters, plan, initial, tuple(mixed))

    async def _mixed(self, request: JobRequest) -> list[MixedDataset]:
        """The datasets as they are now."""
        return [MixedDataset(each, field, await self._read(each.name, field)) for field, each in request.sources]

    async def _read(self, dataset: str, field: str, *, store: bool = False) -> TrainingSet:
        try:
            return await (self._datasets.pin(dataset) if store else self._datasets.look(dataset))
        except NotFound as error:
            raise NotFound(
                f"There is no dataset or version '{dataset}'",
                field=field,
                reason="DATASET_NOT_FOUND",
                remedy="List the project's datasets and give the name of one, or of one of its versions.",
            ) from error
        except FailedPrecondition as error:
            raise FailedPrecondition(error.message, field=field, reason=error.reason, remedy=error.remedy) from error

    def _check_names(self, request: JobRequest) -> None:
        for place, each in request.sources:
            found = _DATASET.fullmatch(each.name)
            if not found:
                raise InvalidArgument(
                    "This is not the name of a dataset or of a dataset version",
                    field=place,
                    reason="NAME_INVALID",
                    remedy="Use projects/{project}/datasets/{dataset} or …/versions/{version}.",
                )
            if found.group(1) != request.project:
                raise InvalidArgument(
                    f"The dataset belongs to project '{found.group(1)}', the job to '{request.project}'",
                    field=place,
                    reason="PROJECT_MISMATCH",
                    remedy="Train on a dataset of the same project.",
                )
        check_asked(request.datasets, request.dataset)


def _described(data: TrainingSet) -> Described:
    return Described(data.trigger_word, data.subject, tuple(image.caption for image in data.images))


def _check_count(each: MixedDataset, least: int) -> None:
    count = len(each.data.images)
    if not count:
        raise FailedPrecondition(
            "The dataset holds no image",
            field=each.field,
            reason="DATASET_EMPTY",
            remedy=f"Upload {least} or more images; five or more give a better result.",
        )
    if count < least:
        raise FailedPrecondition(
            f"The dataset holds too few images to train on: {count}, and at least {least} are needed",
            field=each.field,
            reason="DATASET_TOO_SMALL",
            remedy=f"Upload {least - count} more; five or more images give a better result.",
            metadata={"image_count": str(count), "min_images": str(least)},
        )


def _check_trigger_word(request: JobRequest, data: TrainingSet) -> None:
    """The dataset's texts are final, so another trigger word could only be said, not trained."""
    asked = {
        "training_job.trigger_word": request.trigger_word,
        "training_job.parameters.trigger_word": str(request.parameters.get("trigger_word", "")),
    }
    for path, word in asked.items():
        if word.strip() and word.strip() != data.trigger_word:
            has = f"has the trigger word '{data.trigger_word}'" if data.trigger_word else "has no trigger word"
            raise InvalidArgument(
                f"The job asks for the trigger word '{word.strip()}', but its dataset {has}",
                field=path,
                reason="TRIGGER_WORD_MISMATCH",
                remedy="Leave it out, or set the dataset's trigger_word first and train on the dataset itself.",
            )


def resolved(model: BaseModel, given: Mapping[str, object]) -> TrainingParameters:
    """The given parameters over the model's defaults. InvalidArgument names every wrong field and what it takes."""
    faults: list[InvalidParameter] = []
    parameters = None
    try:
        parameters = resolve(model.specs, given)
    except InvalidParameters as error:
        faults += error.faults
    resolution, least = given.get("resolution"), model.pixel_multiple
    if isinstance(resolution, int) and resolution < least and "resolution" not in [fault.field for fault in faults]:
        faults.append(InvalidParameter("resolution", f"must be at least {least} for this base model, got {resolution}"))
    if parameters is None or faults:
        raise wrong_parameters(faults)
    return parameters


def mixing_in(parameters: TrainingParameters, given: Mapping[str, object], own: int) -> TrainingParameters:
    """The parameters with one regularisation picture for each that is trained, unless the caller or the base model says
    how many. own: regularisation pictures that the caller gives."""
    if not own or parameters.regularization_fraction > 0.0:
        return parameters
    if "regularization_fraction" in given:
        message = "must be above 0 where a dataset of regularisation pictures is given"
        raise wrong_parameters([InvalidParameter("regularization_fraction", message)])
    return replace(parameters, regularization_fraction=1.0)


def preserving(parameters: TrainingParameters, learnt: Sequence[TrainingSet]) -> TrainingParameters:
    """The parameters with what a preservation loss calls the subject. Of several datasets each keeps its own."""
    if parameters.preservation_weight == 0.0:
        return parameters
    if not all(data.trigger_word for data in learnt):
        message = "needs a dataset with a trigger word: without one the same captions would be learnt and preserved"
        raise wrong_parameters([InvalidParameter("preservation_weight", message)])
    subject = learnt[0].subject.strip() if len(learnt) == 1 else ""
    return replace(parameters, preservation_class=parameters.preservation_class.strip() or subject)


def wrong_parameters(faults: Sequence[InvalidParameter]) -> InvalidArgument:
    """Refused parameters as the one error that callers see, a violation for each."""
    names = ", ".join(fault.field for fault in faults)
    message = f"{names} {faults[0].message}" if len(faults) == 1 else f"{len(faults)} parameters are wrong: {names}"
    return InvalidArgument(
        message,
        reason="PARAMETER_INVALID",
        remedy="GetBaseModel lists every parameter with its default and limits.",
        violations=[
            FieldViolation(f"training_job.parameters.{fault.field}", f"{fault.field} {fault.message}")
            for fault in faults
        ],
    )


def plan_of(model: BaseModel, parameters: TrainingParameters, data: TrainingSet, own: int = 0) -> JobPlan:
    """Buckets and exact steps of the job, from the function that the train loop plans with. own: see `mixing_in`."""
    sizes = [image.size for image in data.images]
    try:
        plan = plan_job(sizes, parameters, model.pixel_multiple, own_regularization=own)
        check_cycles(plan.steps, parameters)
    except InvalidParameter as error:
        raise wrong_parameters([error]) from error
    return plan
