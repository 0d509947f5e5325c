"""RequestPreviews: what is asked for, checked whole before anything is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound, collected, refuse_all
from services.chassis.names import project_of
from services.chassis.requests.keys import RequestKey
from services.trainer.models.job import LEASED, TrainingJob
from services.trainer.models.preview_moves import ATTENDED_FOR
from services.trainer.models.preview_request import Drawing, PreviewRequest, epoch_of, is_version
from services.trainer.ports import JobStore
from services.trainer.ports.previews import ModelVersions, PreviewStore
from services.trainer.recipe.buckets import bucket_shapes
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.parameters import resolve
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.budgeting import JobBudgets

FORM = "diffusers"
"""The form of a LoRA that workers read."""
_UNREAD = ("loha", "lokr")


@dataclass(frozen=True, slots=True)
class PreviewAsk:
    """Pictures as a caller asks for them. width, height, steps: 0 for the base model's own; guidance: None likewise."""

    project: str
    sources: tuple[str, ...]
    strengths: tuple[float, ...]
    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    negative_prompt: str = ""
    width: int = 0
    height: int = 0
    steps: int = 0
    guidance: float | None = None
    attended: bool = False


class PreviewRequesting:
    """Makes preview requests. cells: pictures that one may ask for. keep: how long one is kept after its end."""

    def __init__(
        self,
        store: PreviewStore,
        jobs: JobStore,
        versions: ModelVersions,
        base_models: BaseModels,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[str], str],
        cells: int,
        keep: timedelta,
        budgets: JobBudgets | None = None,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._versions = versions
        self._base_models = base_models
        self._clock = clock
        self._new_id = new_id
        self._cells = cells
        self._keep = keep
        self._budgets = budgets or JobBudgets()

    async def request(self, ask: PreviewAsk, key: RequestKey, *, validate_only: bool) -> PreviewRequest:
        """Queues a request; a repeat with the same request id gives the first one. validate_only: stores nothing.

        Raises InvalidArgument, NotFound and FailedPrecondition with the field that is wrong, and ResourceExhausted
        (BUDGET_USED_UP) when too many of the project have not ended.
        """
        made = await self._store.recall(key)
        if made is not None:
            return made
        self.check_alone(ask)
        sources, base_model = await self._sources(ask)
        model = await self._model(base_model)
        now = self._clock()
        request = PreviewRequest(
            name=f"projects/{ask.project}/previewRequests/{self._new_id('try')}",
            project=ask.project,
            base_model=base_model,
            entry=f"baseModels/{model.based_on}" if model.based_on else "",
            drawing=self._drawing(ask, sources, model),
            create_time=now,
            # Until it ends; a request that no worker can draw must not stay for ever.
            expire_time=now + self._keep,
            wanted_until=now + ATTENDED_FOR if ask.attended else None,
        )
        if validate_only:
            return request
        return await self._store.create(request, key, self._budgets.admit_previews(ask.project, field="parent"))

    def check_alone(self, ask: PreviewAsk) -> None:
        """Raises InvalidArgument for all that is wrong with a request whatever its sources are."""
        wrong: list[InvalidArgument] = []
        collected(wrong, lambda: self._check_count(ask))
        for field, values in (("sources", ask.sources), ("strengths", ask.strengths), ("seeds", ask.seeds)):
            if len(set(values)) < len(values):
                wrong.append(
                    _wrong(field, "One of these is named twice", "Name each once; its pictures would be the same.")
                )
        refuse_all(wrong)

    async def check_sources(self, ask: PreviewAsk) -> None:
        """Raises InvalidArgument, NotFound or FailedPrecondition for the sources, or a size that they do not draw.

        That there are none the field rules say.
        """
        if not ask.sources:
            return
        sources, base_model = await self._sources(ask)
        self._drawing(ask, sources, await self._model(base_model))

    def _check_count(self, ask: PreviewAsk) -> None:
        counts = (len(ask.sources), len(ask.strengths or (1,)), len(ask.prompts), len(ask.seeds or (0,)))
        cells = counts[0] * counts[1] * counts[2] * counts[3]
        if cells > self._cells:
            raise InvalidArgument(
                f"{counts[0]} sources × {counts[1]} strengths × {counts[2]} prompts × {counts[3]} seeds are "
                f"{cells} pictures; one request may ask for {self._cells}",
                field="preview_request",
                reason="TOO_MANY_CELLS",
                remedy="Leave some of them out, or make several requests.",
                metadata={"cells": str(cells), "limit": str(self._cells)},
            )

    async def _sources(self, ask: PreviewAsk) -> tuple[tuple[str, ...], str]:
        """Full names of the sources, aliases resolved, and their base model."""
        found: list[tuple[str, str]] = []
        for source in ask.sources:
            if project_of(source) != ask.project:
                message = f"The source belongs to project '{project_of(source)}', the request to '{ask.project}'"
                raise _wrong("sources", message, "Draw sources of the same project.", "PROJECT_MISMATCH")
            found.append(await self._source(source, alone=len(ask.sources) == 1))
        models = list(dict.fromkeys(base_model for _, base_model in found))
        if len(models) > 1:
            message = f"The sources are of {len(models)} base models: {', '.join(models)}"
            raise _wrong("sources", message, "Make a request for each.", "BASE_MODELS_DIFFER")
        return tuple(name for name, _ in found), models[0]

    async def _source(self, source: str, *, alone: bool) -> tuple[str, str]:
        try:
            if is_version(source):
                return await self._version(source)
            epoch = epoch_of(source)
            job = await self._jobs.get(epoch[0] if epoch else source)
            _check_adapter(job)
            if epoch is None:
                _check_at_work(job, alone=alone)
                return source, job.base_model
            files = (await self._jobs.epoch(*epoch)).artifacts
        except NotFound as error:
            raise NotFound(error.message, field=_path("sources"), reason=error.reason, remedy=error.remedy) from error
        if not any(file.file_id == FORM for file in files):
            raise FailedPrecondition(
                f"{source} has no file in the form '{FORM}'",
                field=_path("sources"),
                reason="FILE_NOT_FOUND",
                remedy="Choose another epoch.",
            )
        return source, job.base_model

    async def _version(self, source: str) -> tuple[str, str]:
        version = await self._versions.look(source)
        if not version.base_model:
            raise FailedPrecondition(
                f"Nobody has said which base model {version.name} is made for",
                field=_path("sources"),
                reason="BASE_MODEL_UNKNOWN",
                remedy="Import the file again and name its base model.",
            )
        return version.name, version.base_model

    async def _model(self, name: str) -> BaseModel:
        model = await self._base_models.of(name)
        if model is None:
            raise FailedPrecondition(
                f"The base model '{name}' is no longer on offer",
                field=_path("sources"),
                reason="BASE_MODEL_NOT_FOUND",
                remedy="Draw what was trained on another base model.",
            )
        return model

    def _drawing(self, ask: PreviewAsk, sources: tuple[str, ...], model: BaseModel) -> Drawing:
        defaults = resolve(model.specs, {})
        width, height = ask.width or model.resolution, ask.height or model.resolution
        shapes = bucket_shapes(model.resolution, model.pixel_multiple)
        if not ask.width and not ask.height:
            width, height = shapes[0]
        if (width, height) not in shapes:
            known = ", ".join(f"{wide}x{high}" for wide, high in _spread(shapes))
            message = f"{model.name} draws no pictures of {width}x{height}"
            raise _wrong("width", message, f"Choose a shape that it is trained at, such as {known}.", "SIZE_INVALID")
        return Drawing(
            sources=sources,
            strengths=ask.strengths or (1.0,),
            prompts=ask.prompts,
            seeds=ask.seeds or (0,),
            negative_prompt=ask.negative_prompt,
            width=width,
            height=height,
            steps=ask.steps or defaults.preview_steps,
            guidance=defaults.preview_guidance if ask.guidance is None else ask.guidance,
        )


def _check_adapter(job: TrainingJob) -> None:
    if job.parameters.adapter in _UNREAD:
        raise FailedPrecondition(
            f"{job.name} trains {job.parameters.adapter}, which is drawn at the end of its epochs only",
            field=_path("sources"),
            reason="ADAPTER_UNSUPPORTED",
            remedy="Choose preview prompts when the job starts, or draw a LoRA of another kind.",
        )


def _check_at_work(job: TrainingJob, *, alone: bool) -> None:
    if not alone:
        raise _wrong("sources", "A job as it stands now is drawn alone", "Name it alone, or name epochs of it.")
    if job.state not in LEASED:
        raise FailedPrecondition(
            f"The job is {job.state}: no worker holds it now",
            field=_path("sources"),
            reason="JOB_STATE",
            remedy="Name one of its epochs.",
            metadata={"state": job.state.value},
        )


def _spread(shapes: Sequence[tuple[int, int]], most: int = 5) -> Sequence[tuple[int, int]]:
    """A few of the shapes, from the square to the longest."""
    stride = max(1, (len(shapes) - 1) // (most - 1)) if len(shapes) > 1 else 1
    return shapes[::stride][:most]


def _path(field: str) -> str:
    return f"preview_request.{field}"


def _wrong(field: str, message: str, remedy: str, reason: str = "") -> InvalidArgument:
    return InvalidArgument(message, field=_path(field), reason=reason or "PREVIEW_REQUEST_INVALID", remedy=remedy)
