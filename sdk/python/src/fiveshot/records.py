"""What the API returns, as objects: the fields that most people read, in their types; `message` holds all of them.

Shared by both clients; what makes calls is in `fiveshot.aio` and `fiveshot.sync`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.errors import FailedPrecondition
from fiveshot.notifier.v1 import webhook_pb2
from fiveshot.registry.v1 import model_pb2
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.trainer.v1 import base_model_pb2, preview_request_pb2, training_job_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

M = TypeVar("M", bound=Message)
ENDED = ("succeeded", "failed", "cancelled")


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
    def subject(self) -> str:
        """What the photos show, such as `gray cat`."""
        return self.message.subject

    @property
    def labels(self) -> dict[str, str]:
        """The caller's own."""
        return dict(self.message.labels)

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
    def captioner_calls(self) -> int:
        """Requests that were made to the captioner's server: what the job cost."""
        return self.message.captioner_calls

    @property
    def note(self) -> str:
        """What the reader should know."""
        return self.message.note


class JobFailed(FailedPrecondition):
    """A job ended without success; reason and remedy are the job's own."""


class TrainingJobRecord(Record[training_job_pb2.TrainingJob]):
    """A fine-tune of a base model on a dataset version."""

    @property
    def state(self) -> str:
        """queued, preparing, running, pausing, paused, stopping, cancelling, succeeded, failed or cancelled."""
        return state_of(self.message)

    @property
    def labels(self) -> dict[str, str]:
        """The caller's own."""
        return dict(self.message.labels)

    @property
    def pretended(self) -> bool:
        """Whether a worker that only pretends to train has worked on it."""
        return self.message.pretended

    @property
    def ended(self) -> bool:
        """Whether it succeeded, failed or was cancelled."""
        return self.state in ENDED

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


class PreviewRequestRecord(Record[preview_request_pb2.PreviewRequest]):
    """Pictures of epochs or model versions with prompts of the caller's own."""

    @property
    def state(self) -> str:
        """queued, running, succeeded, failed or cancelled."""
        return state_of(self.message)

    @property
    def ended(self) -> bool:
        """Whether it succeeded, failed or was cancelled."""
        return self.state in ENDED

    @property
    def cell_count(self) -> int:
        """Pictures in all."""
        return self.message.cell_count

    @property
    def pretended(self) -> bool:
        """Whether a worker that only pretends to train drew some of it."""
        return self.message.pretended

    @property
    def error(self) -> JobFailed | None:
        """Why it failed, or was cancelled by itself."""
        wrong = self.message.error
        if not self.message.HasField("error"):
            return None
        return JobFailed(wrong.message, reason=wrong.reason, remedy=wrong.remedy, metadata={"request": self.name})


class EpochRecord(Record[training_job_pb2.Epoch]):
    """One finished epoch."""

    @property
    def number(self) -> int:
        """From 1."""
        return int(self.id)

    @property
    def pretended(self) -> bool:
        """Whether nothing was trained: it comes from a worker that only pretends to."""
        return self.message.pretended

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


class OwnBaseModelRecord(Record[base_model_pb2.BaseModel]):
    """A base model that a project has uploaded for itself."""

    @property
    def state(self) -> str:
        """`uploading`, `checking`, `ready` or `failed`."""
        return state_of(self.message)

    @property
    def family(self) -> str:
        """Family of architectures that its check has found, such as `sdxl`."""
        return self.message.family

    @property
    def labels(self) -> dict[str, str]:
        """The caller's own."""
        return dict(self.message.labels)


class ModelRecord(Record[model_pb2.Model]):
    """A named series of trained adapters."""

    @property
    def labels(self) -> dict[str, str]:
        """The caller's own."""
        return dict(self.message.labels)

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
    def pretended(self) -> bool:
        """Whether nothing was trained: its epoch comes from a worker that only pretends to."""
        return self.message.lineage.pretended

    @property
    def trigger_word(self) -> str:
        """The word that stands for the subject in prompts."""
        return self.message.trigger_word

    @property
    def labels(self) -> dict[str, str]:
        """The caller's own."""
        return dict(self.message.labels)

    @property
    def files(self) -> list[str]:
        """Ids of its files: `kohya`, `diffusers`, `preview-1` and so on, `contact-sheet`."""
        return [file.file_id for file in self.message.files]

    @property
    def model_card(self) -> str:
        """Markdown with the front matter that model hubs read."""
        return self.message.model_card


class WebhookRecord(Record[webhook_pb2.Webhook]):
    """An address that events are sent to."""

    @property
    def url(self) -> str:
        """Where they are sent."""
        return self.message.url

    @property
    def event_types(self) -> list[str]:
        """Which are sent; empty for all but progress."""
        return list(self.message.event_types)

    @property
    def disabled(self) -> bool:
        """Whether nothing is sent."""
        return self.message.disabled

    @property
    def secret(self) -> str:
        """What signs, `whsec_…`; "" unless it was just made."""
        return self.message.secret


class WebhookDeliveryRecord(Record[webhook_pb2.WebhookDelivery]):
    """An event on its way to a webhook."""

    @property
    def state(self) -> str:
        """`pending`, `succeeded` or `failed`."""
        return state_of(self.message)

    @property
    def event_id(self) -> str:
        """The `webhook-id` of every attempt."""
        return self.message.event_id

    @property
    def event_type(self) -> str:
        """Its CloudEvents type."""
        return self.message.event_type

    @property
    def status_code(self) -> int:
        """Of the newest attempt's answer; 0 for none."""
        return self.message.attempts[-1].status_code if self.message.attempts else 0

    @property
    def problem(self) -> str:
        """Why the newest attempt failed, in a sentence; "" when it did not."""
        return self.message.attempts[-1].message if self.message.attempts else ""


def moment(timestamp: Timestamp) -> datetime | None:
    """A time in UTC; None when unset."""
    return timestamp.ToDatetime(UTC) if timestamp.seconds else None


def state_of(message: Message) -> str:
    """The name of a message's state in lower case: `running`."""
    held: Any = message
    states = message.DESCRIPTOR.fields_by_name["state"].enum_type
    value = states.values_by_number.get(held.state) if states else None
    return value.name.removeprefix("STATE_").lower() if value else ""
