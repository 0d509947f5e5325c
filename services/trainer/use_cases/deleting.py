"""Delete jobs and epochs with their files, and label what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.chassis.errors import Unavailable
from services.chassis.logging import get_logger
from services.chassis.names import check_etag
from services.trainer.models.deleting import check_due, check_epoch_delete, check_job_delete
from services.trainer.models.editing import check_label_mask
from services.trainer.models.epoch import Epoch
from services.trainer.models.job import TrainingJob
from services.trainer.models.lifetimes import Lifetimes
from services.trainer.ports import Artifacts, Deletions

log = get_logger(__name__)


class JobDeleting:
    """Rows go first. Files that are left when the object store is away are orphans, which the sweeper removes."""

    def __init__(self, deletions: Deletions, artifacts: Artifacts, *, clock: Callable[[], datetime]) -> None:
        self._deletions = deletions
        self._artifacts = artifacts
        self._clock = clock

    async def job(self, name: str, *, etag: str, force: bool) -> None:
        """Deletes an ended job. Raises NotFound, and what `check_job_delete` raises."""
        await self._job(name, lambda found, epochs: check_job_delete(found, epochs=epochs, etag=etag, force=force))

    async def epoch(self, job: str, number: int, *, etag: str) -> None:
        """Deletes an epoch. Raises NotFound, and what `check_epoch_delete` raises."""
        await self._epoch(job, number, lambda found, owned: check_epoch_delete(found, owned, etag=etag))

    async def due_job(self, name: str, lifetimes: Lifetimes) -> None:
        """Deletes a job whose time is over. Raises NotFound, NotDueError."""
        await self._job(name, lambda found, epochs: check_due(lifetimes.job_is_due(found, self._clock())))

    async def due_epoch(self, job: str, number: int, lifetimes: Lifetimes) -> None:
        """Deletes an epoch whose time is over. Raises NotFound, NotDueError."""
        await self._epoch(
            job, number, lambda found, owned: check_due(lifetimes.epoch_is_due(found, owned.number, self._clock()))
        )

    async def _job(self, name: str, check: Callable[[TrainingJob, int], None]) -> None:
        job = await self._deletions.job(name, check)
        log.info("job_deleted", job=name)
        try:
            for attempt in job.attempts:
                await self._artifacts.sweep(name, attempt.number, keep=(), older_than=self._clock())
        except Unavailable as error:
            log.warning("files_left_to_the_sweeper", job=name, reason=error.reason)

    async def label(
        self, name: tuple[str, int], labels: Mapping[str, str], mask: Sequence[str], etag: str
    ) -> tuple[Epoch, TrainingJob]:
        """Gives an epoch other labels; it and its job. Raises NotFound, Aborted, InvalidArgument for another field."""
        check_label_mask(mask)

        def change(epoch: Epoch) -> Epoch:
            check_etag(etag, epoch.etag, field="epoch.etag")
            return replace(epoch, labels=labels) if mask or labels else epoch

        return await self._deletions.label(*name, change)

    async def _epoch(self, job: str, number: int, check: Callable[[TrainingJob, Epoch], None]) -> None:
        epoch = await self._deletions.epoch(job, number, check)
        log.info("epoch_deleted", epoch=epoch.name)
        try:
            await self._artifacts.delete((*epoch.files, *epoch.checkpoint))
        except Unavailable as error:
            log.warning("files_left_to_the_sweeper", epoch=epoch.name, reason=error.reason)
