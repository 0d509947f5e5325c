"""Cancel, pause, resume, stop, retry, extend and edit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from services.chassis.errors import FailedPrecondition, InvalidArgument
from services.chassis.names import check_etag, project_of
from services.chassis.requests.keys import RequestKey
from services.trainer.models import moves
from services.trainer.models.change import Change
from services.trainer.models.editing import Editable, edited
from services.trainer.models.job import TrainingJob
from services.trainer.ports import JobStore, Move
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.budgeting import JobBudgets


@dataclass(frozen=True, slots=True)
class SteeringRequest:
    """Which job, whether only as it was read (etag; "" for any), and what makes the call repeatable."""

    name: str
    etag: str
    key: RequestKey


@dataclass(frozen=True, slots=True)
class JobEdit:
    """Which job, whether only as it was read, the new values, and which of them are meant."""

    name: str
    etag: str
    given: Editable
    mask: tuple[str, ...]


class JobSteering:
    """A user's moves. Each raises NotFound, FailedPrecondition(reason=JOB_STATE) with what the state allows, or
    Aborted(reason=ETAG_MISMATCH); those that queue a job also ResourceExhausted(reason=BUDGET_USED_UP)."""

    def __init__(
        self,
        store: JobStore,
        base_models: BaseModels,
        *,
        clock: Callable[[], datetime],
        budgets: JobBudgets | None = None,
    ) -> None:
        self._budgets = budgets or JobBudgets()
        self._store = store
        self._base_models = base_models
        self._clock = clock

    async def cancel(self, request: SteeringRequest) -> TrainingJob:
        """Ends the job; finished epochs stay."""
        return await self._moved(request, lambda job: moves.cancel(job, self._clock()))

    async def pause(self, request: SteeringRequest) -> TrainingJob:
        """Takes the job off its worker until it is resumed."""
        return await self._moved(request, lambda job: moves.pause(job, self._clock()))

    async def resume(self, request: SteeringRequest) -> TrainingJob:
        """Queues a paused job again."""
        await self._own(request.name)
        return await self._moved(request, lambda job: moves.resume(job, self._clock()), queues=True)

    async def stop(self, request: SteeringRequest) -> TrainingJob:
        """Ends the job as succeeded after the epoch at hand."""
        return await self._moved(request, lambda job: moves.stop(job, self._clock()))

    async def retry(self, request: SteeringRequest) -> TrainingJob:
        """Queues a failed or cancelled job again."""
        await self._own(request.name)
        return await self._moved(request, lambda job: moves.retry(job, self._clock()), queues=True)

    async def extend(self, request: SteeringRequest, additional_epochs: int) -> TrainingJob:
        """Queues a succeeded job again for so many epochs beyond those it has finished."""
        own = await self._own(request.name)
        return await self._moved(
            request,
            lambda job: moves.extend(job, self._extended(job, own, additional_epochs), self._clock()),
            queues=True,
        )

    async def check_extension(self, name: str, additional_epochs: int) -> None:
        """Raises InvalidArgument when the base model does not allow so many epochs, and NotFound."""
        self._extended(await self._store.get(name), await self._own(name), additional_epochs)

    async def update(self, edit: JobEdit) -> TrainingJob:
        """Changes name, priority or labels in any state. Raises NotFound, Aborted, InvalidArgument."""

        def move(job: TrainingJob) -> Change:
            check_etag(edit.etag, job.etag, field="training_job.etag")
            return edited(job, edit.given, edit.mask, self._clock())

        return await self._store.change(edit.name, move)

    async def _moved(self, request: SteeringRequest, move: Move, *, queues: bool = False) -> TrainingJob:
        def checked(job: TrainingJob) -> Change:
            check_etag(request.etag, job.etag)
            return move(job)

        admit = self._budgets.admit(project_of(request.name), field="name") if queues else None
        return await self._store.change(request.name, checked, request.key, admit)

    async def _own(self, name: str) -> BaseModel | None:
        """The base model of a job on one of the project's own, None for other jobs.

        NotFound; FailedPrecondition(BASE_MODEL_NOT_FOUND) when it was deleted, so that no worker could go on.
        """
        if not self._base_models.any_own:
            return None
        job = await self._store.get(name)
        if not job.entry:
            return None
        found = await self._base_models.of(job.base_model)
        if found is None:
            raise _gone(job)
        return found

    def _extended(self, job: TrainingJob, own: BaseModel | None, additional_epochs: int) -> TrainingParameters:
        model = own or self._base_models.catalogue.get(job.base_model.removeprefix("baseModels/"))
        if model is None:
            raise _gone(job)
        spec = next(spec for spec in model.specs if spec.name == "num_epochs")
        wanted = job.epochs_completed + additional_epochs
        if spec.maximum is not None and wanted > spec.maximum:
            raise InvalidArgument(
                f"The job would have {wanted} epochs; this base model allows {spec.maximum:g}",
                field="additional_epochs",
                reason="PARAMETER_INVALID",
                remedy=f"Add at most {max(0, int(spec.maximum) - job.epochs_completed)}.",
            )
        return replace(job.parameters, num_epochs=wanted)


def _gone(job: TrainingJob) -> FailedPrecondition:
    return FailedPrecondition(
        f"The base model '{job.base_model}' is no longer on offer",
        reason="BASE_MODEL_NOT_FOUND",
        remedy="Start a new job on another base model.",
    )
