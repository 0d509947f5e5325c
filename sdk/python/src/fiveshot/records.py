"""What the API returns, as objects: the fields that most people read, in their types; `message` holds all of them.

Shared by both clients; what makes calls is in `fiveshot.aio` and `fiveshot.sync`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.errors import FailedPrecondition, FiveshotError, InvalidArgument
from fiveshot.registry.v1 import model_pb2
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

M = TypeVar("M", bound=Message)
_ENDED = ("succeeded", "failed", "cancelled")


class Record(Generic[M]):
    """A resource as it was when it was read. message: the message of the API."""

    def __init__(self, message: M) -> None:
        self.message: M = message

    @property
    def name(self) -> str:
        """Resource name: `projects/default/datasets/cat`."""
        return str(getattr(self.message, "name"))  # noqa: B009  (a Message declares none)

    @property
    def id(self) -> str:
        """The last part of its name."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def create_time(self) -> datetime | None:
        """When it was made, in UTC."""
        return moment(getattr(self.message, "create_time"))  # noqa: B009

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Record) and self.message == other.message

    __hash__ = None  # type: ignore[assignment]


class DatasetRecord(Record[dataset_pb2.Dataset]):
    """A set of photos of one subject."""

    @property
    def trigger_word(self) -> str:
        """The word that stands for the subject in every text."""
        return self.message.trigger_word

    @property
    def display_name(self) -> str:
        """For listings."""
        return self.message.display_name

    @property
    def description(self) -> str:
        """Free text."""
        return self.message.description

    @property
    def image_count(self) -> int:
        """Pictures in it when it was read."""
        return self.message.image_count


class ImageRecord(Record[dataset_pb2.Image]):
    """One photo of a dataset."""

    @property
    def file_name(self) -> str:
        """As it was uploaded; a label, never a path."""
        return self.message.file_name

    @property
    def caption(self) -> str:
        """What the picture shows, in words; "" lets the tags take its place."""
        return self.message.caption

    @property
    def training_text(self) -> str:
        """The text that it is trained with: caption or tags, with the trigger word."""
        return self.message.training_text

    @property
    def tags(self) -> list[str]:
        """Labels, in order."""
        return [tag.label for tag in self.message.tags]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, after EXIF rotation."""
        return self.message.width, self.message.height

    @property
    def sha256(self) -> str:
        """Digest of the original, in hex."""
        return self.message.sha256


class TagJobRecord(Record[tagger_pb2.TagJob]):
    """A run of a tagger over a dataset."""

    @property
    def state(self) -> str:
        """queued, running, succeeded, failed or cancelled."""
        return state_of(self.message)

    @property
    def tagged_images(self) -> int:
        """Images whose tags were written, or would be in a dry run."""
        return self.message.tagged_images

    @property
    def note(self) -> str:
        """What the reader should know."""
        return self.message.note


class TrainingJobRecord(Record[training_job_pb2.TrainingJob]):
    """A fine-tune of a base model on a dataset version."""

    @property
    def state(self) -> str:
        """queued, preparing, running, pausing, paused, stopping, cancelling, succeeded, failed or cancelled."""
        return state_of(self.message)

    @property
    def ended(self) -> bool:
        """Whether it succeeded, failed or was cancelled."""
        return self.state in _ENDED

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.message.step

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole job."""
        return self.message.total_steps

    @property
    def loss(self) -> float | None:
        """Mean training loss over the last steps; None before the first."""
        return self.message.loss or None

    @property
    def error(self) -> JobFailed | None:
        """Why it failed."""
        wrong = self.message.error
        if not self.message.HasField("error"):
            return None
        return JobFailed(wrong.message, reason=wrong.reason, remedy=wrong.remedy, metadata={"job": self.name})


class EpochRecord(Record[training_job_pb2.Epoch]):
    """One finished epoch."""

    @property
    def number(self) -> int:
        """From 1."""
        return int(self.id)

    @property
    def step(self) -> int:
        """Optimizer steps done at its end."""
        return self.message.step

    @property
    def loss(self) -> float:
        """Mean training loss over the epoch."""
        return self.message.loss

    @property
    def recommended(self) -> bool:
        """Whether the evaluation recommends it."""
        return self.message.recommended


class ModelRecord(Record[model_pb2.Model]):
    """A named series of trained adapters."""

    @property
    def aliases(self) -> dict[str, str]:
        """Alias to the name of its version."""
        return dict(self.message.aliases)

    @property
    def version_count(self) -> int:
        """Versions kept."""
        return self.message.version_count


class ModelVersionRecord(Record[model_pb2.ModelVersion]):
    """A kept epoch; it never changes."""

    @property
    def trigger_word(self) -> str:
        """The word that stands for the subject in prompts."""
        return self.message.trigger_word

    @property
    def files(self) -> list[str]:
        """Ids of its files: `kohya`, `diffusers`, `preview-1` and so on, `contact-sheet`."""
        return [file.file_id for file in self.message.files]

    @property
    def model_card(self) -> str:
        """Markdown with the front matter that model hubs read."""
        return self.message.model_card


@dataclass(frozen=True)
class Update:
    """What a watch says: one thing that happened, and where the job stands after it.

    kind: `job` (a snapshot), `created`, `state`, `progress`, `epoch` or `base_previews`. loss: mean over the last
    steps, None before the first. eta: time to the end, None while it is not known. epoch: the current one, from 1; of
    the kind `epoch` the one that was finished. text: a sentence where a state needs one. message: the answer itself.
    """

    kind: str = "job"
    state: str = ""
    step: int = 0
    total_steps: int = 0
    epoch: int = 0
    loss: float | None = None
    eta: timedelta | None = None
    phase: str = ""
    images_per_second: float = 0.0
    text: str = ""
    message: training_service_pb2.WatchTrainingJobResponse = field(
        default_factory=training_service_pb2.WatchTrainingJobResponse, repr=False, compare=False
    )

    def then(self, message: training_service_pb2.WatchTrainingJobResponse) -> Update:
        """The next update: what the message says, and of all else what was known before."""
        if message.WhichOneof("update") == "job":
            return replace(self, kind="job", message=message, **_of_job(message.job))
        event = message.event
        kind = _KINDS.get(event.WhichOneof("payload") or "", "other")
        known: dict[str, Any] = {"kind": kind, "message": message, "text": ""}
        if event.state:
            known["state"] = state_of(event)
        if kind == "created":
            known |= _of_job(event.created.job)
        elif kind == "state":
            known["text"] = event.state_changed.error.message or event.state_changed.message
        elif kind == "epoch":
            done = event.epoch_completed.epoch
            known |= {"epoch": int(done.name.rsplit("/", 1)[-1]), "step": done.step}
        elif kind == "progress":
            at = event.progress
            known |= {
                "step": at.step, "total_steps": at.total_steps, "epoch": at.epoch, "loss": at.loss or self.loss,
                "eta": timedelta(seconds=round(at.eta_seconds)) if at.eta_seconds else None, "phase": at.phase,
                "images_per_second": at.images_per_second,
            }  # fmt: skip
        if known.get("state") in _ENDED:
            known["eta"] = None
        return replace(self, **known)


_KINDS = {
    "created": "created", "state_changed": "state", "progress": "progress", "epoch_completed": "epoch",
    "base_previews_completed": "base_previews",
}  # fmt: skip


def _of_job(job: training_job_pb2.TrainingJob) -> dict[str, Any]:
    end = moment(job.estimated_end_time)
    left = end - datetime.now(UTC) if end and not job.HasField("end_time") else None
    return {
        "state": state_of(job), "step": job.step, "total_steps": job.total_steps, "loss": job.loss or None,
        "phase": job.phase, "images_per_second": job.images_per_second,
        "eta": timedelta(seconds=round(left.total_seconds())) if left and left > timedelta(0) else None,
    }  # fmt: skip


@dataclass(frozen=True)
class UploadProgress:
    """How far an upload is. file: that which moved last. Bytes count what was handed to the connection."""

    file: Path
    sent_bytes: int
    total_bytes: int
    done_files: int
    total_files: int


@dataclass(frozen=True)
class Refusal:
    """A picture that was not taken, and why."""

    path: Path
    error: FiveshotError


@dataclass
class Upload:
    """What became of an upload; every list is in the order of the pictures given.

    images: stored now. present: held by the dataset already, so that an upload can be repeated; updated: those of them
    whose caption or repeats were changed; differing: those where they could be, with what. refused: why each was.
    """

    images: list[dataset_pb2.Image] = field(default_factory=list)
    present: list[Path] = field(default_factory=list)
    updated: list[Path] = field(default_factory=list)
    differing: dict[Path, list[str]] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)


class PicturesRefused(InvalidArgument):
    """Some pictures were refused; all others are stored. upload: what became of each."""

    def __init__(self, message: str, *, upload: Upload | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.upload = upload or Upload()

    @classmethod
    def of(cls, upload: Upload) -> PicturesRefused:
        """The error of an upload in which some were refused."""
        first = upload.refused[0]
        count, taken = len(upload.refused), len(upload.images) + len(upload.present)
        noun = "picture was" if count == 1 else "pictures were"
        return cls(
            f"{count} {noun} refused, {taken} are stored; {first.path.name}: {first.error.message}",
            upload=upload, field="file_name", reason=first.error.reason, remedy=first.error.remedy,
        )  # fmt: skip


class JobFailed(FailedPrecondition):
    """A job ended without success; reason and remedy are the job's own."""


@dataclass(frozen=True)
class Saved:
    """A file that was written. size: in bytes. sha256: in hex."""

    path: Path
    size: int
    sha256: str


def moment(timestamp: Timestamp) -> datetime | None:
    """A time in UTC; None when unset."""
    return timestamp.ToDatetime(UTC) if timestamp.seconds else None


def state_of(message: Message) -> str:
    """The name of a message's state in lower case: `running`."""
    held: Any = message
    states = message.DESCRIPTOR.fields_by_name["state"].enum_type
    value = states.values_by_number.get(held.state) if states else None
    return value.name.removeprefix("STATE_").lower() if value else ""


def named(paths: Sequence[str]) -> str:
    """Fields of a picture in words: `caption and number of repeats`."""
    return " and ".join({"num_repeats": "number of repeats"}.get(path, path) for path in paths)
