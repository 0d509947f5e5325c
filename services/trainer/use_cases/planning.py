"""What a request for a training job comes to: base model found, parameters resolved, pictures read, steps counted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from services.trainer.models.base import TrainingSet
from services.trainer.ports import Datasets
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.parameters import InvalidParameter, TrainingParameters, resolve
from services.trainer.recipe.plan import JobPlan, StepPlan, plan_job
from services.trainer.recipe.workload import PREVIEW_COUNT

MAX_PROMPT = 500
_ID = r"[a-z][a-z0-9-]{0,62}"
_DATASET = re.compile(rf"projects/({_ID})/datasets/{_ID}(/versions/[1-9][0-9]{{0,8}})?")


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A job as a caller asks for it. job_id: "" to have one made. parameters: only those that the caller set."""

    project: str
    job_id: str
    display_name: str
    base_model: str
    dataset: str
    parameters: Mapping[str, object]
    priority: int


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A request that can be run."""

    model: BaseModel
    data: TrainingSet
    parameters: TrainingParameters
    plan: JobPlan

    @property
    def steps(self) -> StepPlan:
        """Exact counts."""
        return self.plan.steps


class Planner:
    """Checks requests against the catalogue and the dataset service."""

    def __init__(self, catalogue: Mapping[str, BaseModel], datasets: Datasets) -> None:
        self._catalogue = catalogue
        self._datasets = datasets

    def base_model(self, name: str, *, field: str) -> BaseModel:
        """The model of a name `baseModels/{id}`. NotFound names those on offer."""
        offered = ", ".join(f"baseModels/{identifier}" for identifier in self._catalogue) or "none"
        if not name:
            raise InvalidArgument("No base model is given", field=field, remedy=f"Choose one of: {offered}.")
        prefix, _, identifier = name.partition("/")
        if prefix != "baseModels" or identifier not in self._catalogue:
            raise NotFound(
                f"There is no base model '{name}'",
                field=field,
                reason="BASE_MODEL_NOT_FOUND",
                remedy=f"Choose one of: {offered}.",
            )
        return self._catalogue[identifier]

    async def plan(self, request: JobRequest, *, store: bool) -> PlannedJob:
        """Checks everything about a request, cheapest first. store: freeze a dataset that is not a version yet."""
        model = self.base_model(request.base_model, field="training_job.base_model")
        resolved(model, request.parameters)
        self._check_dataset_name(request)
        data = await self._read(request.dataset, store=store)
        if not data.images:
            raise FailedPrecondition(
                "The dataset holds no image",
                field="training_job.dataset_version",
                reason="DATASET_EMPTY",
                remedy="Upload at least one picture; five or more give a better result.",
            )
        given = {**request.parameters, **({"trigger_word": data.trigger_word} if data.trigger_word else {})}
        parameters = resolved(model, given)
        prompts = preview_prompts(model, parameters, [image.caption for image in data.images])
        parameters = replace(parameters, preview_prompts=prompts)
        return PlannedJob(model, data, parameters, plan_of(model, parameters, data))

    async def _read(self, dataset: str, *, store: bool) -> TrainingSet:
        try:
            return await (self._datasets.pin(dataset) if store else self._datasets.look(dataset))
        except NotFound as error:
            raise NotFound(
                f"There is no dataset or version '{dataset}'",
                field="training_job.dataset_version",
                reason="DATASET_NOT_FOUND",
                remedy="List the project's datasets and give the name of one, or of one of its versions.",
            ) from error
        except FailedPrecondition as error:
            raise FailedPrecondition(
                error.message, field="training_job.dataset_version", reason=error.reason, remedy=error.remedy
            ) from error

    def _check_dataset_name(self, request: JobRequest) -> None:
        found = _DATASET.fullmatch(request.dataset)
        if not found:
            raise InvalidArgument(
                "This is not the name of a dataset or of a dataset version",
                field="training_job.dataset_version",
                reason="NAME_INVALID",
                remedy="Use projects/{project}/datasets/{dataset} or …/versions/{version}.",
            )
        if found.group(1) != request.project:
            raise InvalidArgument(
                f"The dataset belongs to project '{found.group(1)}', the job to '{request.project}'",
                field="training_job.dataset_version",
                reason="PROJECT_MISMATCH",
                remedy="Train on a dataset of the same project.",
            )


def resolved(model: BaseModel, given: Mapping[str, object]) -> TrainingParameters:
    """The given parameters over the model's defaults. InvalidArgument names the field and the values it takes."""
    try:
        return resolve(model.specs, given)
    except InvalidParameter as error:
        raise wrong_parameter(error) from error


def wrong_parameter(error: InvalidParameter) -> InvalidArgument:
    """A refused parameter as the error that callers see."""
    return InvalidArgument(
        f"{error.field} {error.message}",
        field=f"training_job.parameters.{error.field}",
        reason="PARAMETER_INVALID",
        remedy="GetBaseModel lists every parameter with its default and limits.",
    )


def plan_of(model: BaseModel, parameters: TrainingParameters, data: TrainingSet) -> JobPlan:
    """Buckets and exact steps of the job, from the function that the train loop plans with."""
    try:
        return plan_job([image.size for image in data.images], parameters, model.pixel_multiple)
    except InvalidParameter as error:
        raise wrong_parameter(error) from error


def preview_prompts(model: BaseModel, parameters: TrainingParameters, captions: Sequence[str]) -> tuple[str, ...]:
    """Three prompts: the caller's, then the model's templates filled from the captions, then other captions."""
    prompts = list(parameters.preview_prompts)
    caption = next((text for text in captions if text.strip()), "") or parameters.trigger_word or "a photo"
    subject = parameters.trigger_word or caption
    candidates = [template.format(caption=caption, trigger_word=subject) for template in model.preview_templates]
    for text in (*candidates, *captions):
        if text.strip() and text[:MAX_PROMPT] not in prompts:
            prompts.append(text[:MAX_PROMPT])
    while len(prompts) < PREVIEW_COUNT:
        prompts.append(prompts[-1] if prompts else caption)
    return tuple(prompts[:PREVIEW_COUNT])
