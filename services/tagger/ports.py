"""What the use cases need from outside, with the promises that every implementation keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from services.chassis.listing.fields import choice, flag, moment, reference, text_map
from services.chassis.listing.pages import Listing, Order, Query
from services.chassis.requests.keys import RequestKey
from services.tagger.models.jobs import ImageOutcome, JobState, TagJob
from services.tagger.models.pictures import Picture, Scores, TaggerInfo
from services.tagger.models.tags import CaptionOrigin, DatasetRecord, Features, ImageRecord, Seen, Tag

Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares, 0 to 1, of a picture."""


class Tagger(Protocol):
    """A backend: pictures in, raw scores out. It knows no thresholds, limits or existing tags.

    Lifecycle: built once, cheaply, in the composition root; weights are loaded at the first `infer` and stay. `infer`
    is called from several threads at once.
    """

    def describe(self) -> TaggerInfo:
        """Vocabulary, domain, categories with thresholds, digest of the weights and the device that is really used."""
        ...

    def available(self) -> bool:
        """Whether `infer` can work here: its files are there and their library can be imported."""
        ...

    def infer(self, batch: Sequence[Picture]) -> list[Scores]:
        """The scores of each picture, in order. A picture that cannot be scored yields Scores(error=...), alone."""
        ...


@dataclass(frozen=True)
class Answer:
    """What a captioner's server said. cut_short: it had more to say. refused: it would say nothing of this picture."""

    text: str
    cut_short: bool = False
    refused: bool = False


@runtime_checkable
class Captioner(Protocol):
    """A vision language model behind an address that the operator has set: a picture and a question in, a text out.

    Lifecycle as `Tagger`. The text is a stranger's: nothing of it may be believed or shown before it is cleaned.
    """

    def describe(self) -> TaggerInfo:
        """Of the kind CAPTIONS; batch_size is how many pictures it likes at once."""
        ...

    def available(self) -> bool:
        """Whether it is set up; not whether its server answers."""
        ...

    async def answer(self, picture: Picture, prompt: str, on_call: Callable[[], None]) -> Answer:
        """Sends the picture, scaled down, with the question; again while the server is away or overloaded.

        on_call: called before each request, for they cost.

        Raises FailedPrecondition(CAPTIONER_REFUSES) where the server refuses every request, such as for a wrong key;
        FailedPrecondition(CAPTION_REFUSED) where it refuses this picture; Unavailable(CAPTIONER_AWAY) in the end.
        """
        ...


Backend = Tagger | Captioner


@dataclass(frozen=True)
class Shelf:
    """The backends of a deployment, the default first, and those that cannot be used, with their faults."""

    backends: tuple[Backend, ...]
    faulty: tuple[TaggerInfo, ...] = ()


class TaggerSource(Protocol):
    """Where the backends come from. They may change while the process runs."""

    def look(self) -> Shelf:
        """What there is now: the same object as before where nothing has changed. It reads files, so not in a loop."""
        ...


class KeptScores(Protocol):
    """Raw scores by image and by the fingerprint of the tagger that gave them. Raises Unavailable.

    An image's pixels never change, so they stay true as long as the tagger's fingerprint is the same.
    """

    async def of(self, images: Sequence[str], fingerprint: str, now: datetime) -> dict[str, Scores]:
        """Those that are kept, by image; they count as used at this moment."""
        ...

    async def keep(self, image: str, fingerprint: str, scores: Scores, now: datetime) -> None:
        """Keeps them, in place of what was kept for the same image and fingerprint."""
        ...

    async def forget_unused(self, before: datetime) -> int:
        """Drops what was not used since; returns how many images' scores."""
        ...


@runtime_checkable
class SubjectFinder(Protocol):
    """Finds the place of what a photograph shows. Called from several threads at once, as `Tagger.infer`."""

    def find_subject(self, picture: Picture, inside: Box) -> Box | None:
        """Left, top, right, bottom of the subject with a margin, as shares of the part `inside` the picture's bars.

        None where nothing stands out, or for a picture that is no photograph.
        """
        ...


@runtime_checkable
class MaskFinder(Protocol):
    """Draws the mask of what a photograph shows. Called from several threads at once, as `Tagger.infer`."""

    def describe(self) -> TaggerInfo:
        """As `Tagger.describe`."""
        ...

    def find_mask(self, picture: Picture, inside: Box) -> npt.NDArray[np.float32] | None:
        """What belongs to the subject, (rows, columns) in 0 to 1 over the part `inside` the picture's bars, soft at its
        edges and of any size.

        None where nothing stands out, or for a picture that is no photograph.
        """
        ...


class TextFinder(Protocol):
    """Finds where something is written in a picture. Called from several threads at once, as `Tagger.infer`."""

    def find_text(self, picture: Picture) -> list[Box]:
        """Left, top, right, bottom of each line, the largest first, as shares of the picture; empty where none is."""
        ...


@runtime_checkable
class FeatureFinder(Protocol):
    """Says what a network sees and where, to find photos of one burst. Called from several threads at once."""

    def describe(self) -> TaggerInfo:
        """As `Tagger.describe`."""
        ...

    def find_features(self, picture: Picture, inside: Box) -> Features:
        """Of the part `inside` the picture's bars; without places for a picture that is no photograph."""
        ...


class PictureDecoder(Protocol):
    """Turns files into pictures, in the one way of the suite."""

    async def decode(self, data: bytes, *, field: str, owner: str) -> Picture:
        """The picture of a PNG or JPEG file. Cancelling ends the decoding. owner: the project; projects take turns.

        Raises InvalidArgument (IMAGE_EMPTY, IMAGE_TYPE_UNSUPPORTED, IMAGE_UNREADABLE, IMAGE_TOO_MANY_PIXELS,
        IMAGE_TOO_COSTLY), and Unavailable.
        """
        ...


class Datasets(Protocol):
    """The dataset service. Every method may raise Unavailable or DeadlineExceeded; repeating is safe."""

    async def get_dataset(self, name: str) -> DatasetRecord:
        """Raises NotFound."""
        ...

    async def list_images(self, dataset: str, filter: str) -> list[ImageRecord]:
        """All images that match, in upload order, over all pages. Raises NotFound, and InvalidArgument for a filter."""
        ...

    async def get_image(self, name: str) -> ImageRecord:
        """Raises NotFound."""
        ...

    async def read_original(self, name: str) -> bytes:
        """The file as it was uploaded. Raises NotFound."""
        ...

    async def write_tags(self, image: str, tags: Sequence[Tag], etag: str, seen: Seen) -> ImageRecord:
        """Replaces the tags and what was seen. Raises Aborted when the image has changed since `etag`, and NotFound."""
        ...

    async def write_crops(self, dataset: str, crops: Mapping[str, Box], etags: Mapping[str, str]) -> None:
        """Sets crops by image, all or none. Raises Aborted when an image has changed since its etag, and NotFound."""
        ...

    async def write_caption(self, image: str, caption: str, origin: CaptionOrigin, etag: str) -> ImageRecord:
        """Replaces the caption. Raises as `write_tags`."""
        ...


_STORED_AS = {"create_time": "created_at", "end_time": "ended_at"}
TAG_JOBS: Listing[TagJob] = Listing(
    "ListTagJobs",
    fields={
        "state": choice(list(JobState), prefix="STATE_"),
        "dataset": reference("{parent}/datasets/", operators=("=", "!=")),
        "dry_run": flag(),
        "labels": text_map(),
        "create_time": moment(),
        "end_time": moment(),
    },
    sortable={"create_time": datetime},
    key=("name", str),
    default_order=[Order("create_time", descending=True)],
    read=lambda job, name: getattr(job, _STORED_AS.get(name, name)),
)


class TagJobs(Protocol):
    """The durable jobs. Every method is one transaction; what it returns has been committed.

    A job that runs belongs to one owner (a process) until a moment that the owner keeps moving forward; after that
    moment any owner may claim it and goes on with the images that have no outcome yet.
    """

    async def create(self, job: TagJob, key: RequestKey) -> TagJob:
        """Stores a queued job with its images. The same request returns the first job.

        Raises InvalidArgument(REQUEST_ID_REUSED) for another digest.
        """
        ...

    async def recall(self, key: RequestKey) -> TagJob | None:
        """The job that this request made before, None when there is none. Raises as `create` does."""
        ...

    async def get(self, name: str) -> TagJob:
        """Raises NotFound."""
        ...

    async def list(self, project: str, query: Query) -> tuple[list[TagJob], int]:
        """A page of a project's jobs (see `TAG_JOBS`), and how many match in all."""
        ...

    async def claim(self, owner: str, *, now: datetime, until: datetime) -> TagJob | None:
        """The oldest queued job, or one whose owner let its time pass, now running and owned. None: nothing to do."""
        ...

    async def renew(self, owner: str, *, until: datetime) -> set[str]:
        """Moves the owner's time forward; returns the names of the jobs that it still owns and that run."""
        ...

    async def release(self, owner: str) -> None:
        """Gives the owner's running jobs back at once, so that another process need not wait."""
        ...

    async def record(self, name: str, owner: str, outcome: ImageOutcome, *, now: datetime) -> bool:
        """Notes what became of an image; False, and nothing noted, when the job belongs to somebody else by now.

        A job that was cancelled meanwhile still takes outcomes of its last owner: they tell what was written. now: by
        which it is decided whether the progress is told again.
        """
        ...

    async def end(self, name: str, owner: str, move: Callable[[TagJob], TagJob]) -> bool:
        """Applies an ending move to a running job; False when it does not run or belongs to somebody else."""
        ...

    async def cancel(self, name: str, *, now: datetime) -> TagJob:
        """Raises NotFound and what `models.cancelled` raises."""
        ...

    async def delete(self, name: str, check: Callable[[TagJob], None]) -> None:
        """Removes a job and its outcomes unless `check` raises. Raises NotFound."""
        ...

    async def retry(self, name: str) -> TagJob:
        """Raises NotFound and what `models.retried` raises."""
        ...

    async def forget(self, *, ended_before: datetime) -> int:
        """Deletes jobs that ended before a moment; returns how many."""
        ...
