"""What every image of a job needs, for tags or a caption: reading with patience, writing past other editors."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from services.chassis.errors import Aborted, DeadlineExceeded, DomainError, Unavailable
from services.chassis.patience import patiently
from services.chassis.signals import Interrupted, unless
from services.tagger.models.jobs import TagJob, project_of
from services.tagger.models.pictures import Picture
from services.tagger.models.tags import DatasetRecord, ImageRecord
from services.tagger.ports import Captioner, Datasets, PictureDecoder, Tagger

T = TypeVar("T")

_WRITE_ATTEMPTS = 8


class Stopped(Exception):
    """The job was cancelled or taken over while an image was under way; the image has no outcome."""


@dataclass(frozen=True)
class JobRun:
    """One run of a job by one process. batches: image names as the backend likes to get them. stop: set from outside.

    tagger, captioner: one of them. calls: to a captioner's server, by image. hopeless: why no further image is tried.
    failed_in_a_row: images that a captioner's server was away for.
    """

    job: TagJob
    owner: str
    tagger: Tagger | None
    captioner: Captioner | None
    dataset: DatasetRecord
    batches: tuple[tuple[str, ...], ...]
    stop: asyncio.Event
    calls: Counter[str] = field(default_factory=Counter)
    hopeless: list[DomainError] = field(default_factory=list)
    failed_in_a_row: list[str] = field(default_factory=list)


class ImageAccess:
    """The images of jobs. patience_s: how long each call waits for a dataset service that is away."""

    def __init__(self, datasets: Datasets, decoder: PictureDecoder, *, patience_s: float) -> None:
        self.datasets = datasets
        self._decoder = decoder
        self._patience_s = patience_s

    async def patient(self, stop: asyncio.Event, call: Callable[[], Awaitable[T]]) -> T:
        """The call, repeated while the dataset service is away. Raises Stopped."""
        try:
            return await unless(stop, patiently(call, what="dataset service", patience_s=self._patience_s))
        except Interrupted as error:
            raise Stopped from error

    async def record(self, run: JobRun, image: str) -> ImageRecord:
        """The image as it is now. Raises Stopped, NotFound."""
        return await self.patient(run.stop, lambda: self.datasets.get_image(image))

    async def picture(self, run: JobRun, image: str) -> Picture:
        """Its pixels. Raises Stopped, NotFound, and what the decoder does."""
        data = await self.patient(run.stop, lambda: self.datasets.read_original(image))
        return await self._decoder.decode(data, field="image", owner=project_of(run.job.dataset))

    async def write(
        self, run: JobRun, record: ImageRecord, change: Callable[[ImageRecord], Callable[[], Awaitable[object]] | None]
    ) -> None:
        """Writes a change, made again out of what the image has become where somebody else came first.

        change: what to do with the image as it is, None where nothing is to be done or it has been done. Raises
        Stopped, NotFound, Aborted(IMAGE_BUSY).
        """
        for attempt in range(_WRITE_ATTEMPTS):
            if attempt:
                record = await self.record(run, record.name)
            step = change(record)
            if step is None:
                return
            if run.stop.is_set():
                raise Stopped
            try:
                await step()
            except (Aborted, Unavailable, DeadlineExceeded):
                # The image has changed, or nobody knows whether the write arrived: it is read again.
                continue
            return
        raise Aborted(
            "The image kept changing while it was written to", reason="IMAGE_BUSY", remedy="Retry the failed images."
        )
