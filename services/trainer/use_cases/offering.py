"""What a worker that asks for work is offered: a job, previews, a check, or else what it could measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from services.trainer.ports import WorkerAsk
from services.trainer.use_cases.checking_base_models import BaseModelCheck
from services.trainer.use_cases.drawing import PreviewAssignment
from services.trainer.use_cases.estimating import JobEstimator
from services.trainer.use_cases.working import Assignment, JobWork


@dataclass(frozen=True, slots=True)
class Offer:
    """assignment: None when nothing fits. unmeasured: base models that a worker without a job should probe."""

    assignment: Assignment | PreviewAssignment | BaseModelCheck | None
    unmeasured: Sequence[str] = ()


class Offering:
    """AcquireJob."""

    def __init__(self, work: JobWork, estimator: JobEstimator) -> None:
        self._work = work
        self._estimator = estimator

    async def offer(self, ask: WorkerAsk, wait: timedelta) -> Offer:
        """A job or a preview request, waited for so long, or what to measure."""
        assignment = await self._work.acquire(ask, wait)
        if assignment is not None:
            return Offer(assignment)
        return Offer(None, await self._estimator.unmeasured(ask.device, ask.base_models))
