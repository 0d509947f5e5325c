"""Every type of event of the suite, as docs/events.md lists them, and how the filter of a webhook names them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from services.chassis.errors import FieldViolation, InvalidArgument

PROGRESS = ("fiveshot.training_job.progress", "fiveshot.tag_job.progress")
"""They come so often that only their full names ask for them."""
DISABLED = "fiveshot.webhook.disabled"
TEST = "fiveshot.webhook.test"
_PARTS = {
    "dataset": (
        "created", "updated", "deleted", "images_added", "images_updated", "images_deleted",
        "version_created", "version_updated", "version_deleted",
    ),
    "tag_job": ("created", "state_changed", "progress", "deleted"),
    "base_model": ("created", "state_changed", "updated", "deleted"),
    "model": (
        "created", "updated", "deleted", "version_created", "version_updated", "version_deleted",
        "alias_moved", "alias_deleted",
    ),
}  # fmt: skip
EVENT_TYPES = (
    *(f"fiveshot.{group}.{kind}" for group, kinds in _PARTS.items() for kind in kinds),
    "fiveshot.training_job.created",
    "fiveshot.training_job.updated",
    "fiveshot.training_job.deleted",
    "fiveshot.training_job.state_changed",
    "fiveshot.training_job.progress",
    "fiveshot.training_job.base_previews_completed",
    "fiveshot.training_job.epoch_completed",
    "fiveshot.training_job.notice",
    "fiveshot.usage.gpu_seconds",
    "fiveshot.usage.stored_bytes",
    "fiveshot.usage.base_model_bytes",
    DISABLED,
)
"""What a webhook can ask for. A test is sent to the webhook that it tests, whatever that asks for."""
_ALL_OF = ".*"


def check_event_types(wanted: Sequence[str], *, field: str = "webhook.event_types") -> tuple[str, ...]:
    """The filter without repeats. Raises InvalidArgument(EVENT_TYPE_UNKNOWN) that names every type there is none of."""
    unknown = [name for name in wanted if not any(_names(name, known) for known in EVENT_TYPES)]
    if unknown:
        raise InvalidArgument(
            f"'{unknown[0][:128]}' names no type of event",
            reason="EVENT_TYPE_UNKNOWN",
            remedy=f"Use types in full or a beginning with '.*', such as fiveshot.training_job.*; "
            f"there are {', '.join(EVENT_TYPES)}.",
            violations=[FieldViolation(field, f"'{name[:128]}' names no type of event") for name in unknown[:10]],
        )
    return tuple(dict.fromkeys(wanted))


def wants(wanted: Sequence[str], event_type: str) -> bool:
    """Whether a filter lets a type through. Progress comes often, so only its full name asks for it."""
    if event_type in PROGRESS:
        return event_type in wanted
    return not wanted or any(_names(name, event_type) for name in wanted)


def _names(name: str, event_type: str) -> bool:
    if name.endswith(_ALL_OF) and len(name) > len(_ALL_OF):
        return event_type.startswith(name.removesuffix("*"))
    return name == event_type
