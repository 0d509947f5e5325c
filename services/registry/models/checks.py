"""The rules of models and versions that need nothing else. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from services.chassis.errors import Aborted, FailedPrecondition, InvalidArgument, refuse_all
from services.chassis.names import check_etag, check_mask
from services.registry.models.names import LATEST
from services.registry.models.resources import ModelChanges, ModelVersion, NewModel

# Reason of a save that lost the race for its number.
NUMBER_TAKEN = "VERSION_NUMBER_TAKEN"
EDITABLE = ("display_name", "description", "tags", "labels")


def check_number(following: int, wanted: int | None) -> int:
    """The number that follows. Raises Aborted(VERSION_NUMBER_TAKEN) when another one is wanted."""
    if wanted not in (None, following):
        raise Aborted(
            f"Version {wanted} was saved by somebody else meanwhile",
            reason=NUMBER_TAKEN,
            remedy="Save again; this one becomes the next version.",
        )
    return following


def clean_tags(tags: Sequence[str]) -> tuple[str, ...]:
    """Without the white space around each and without repeats. Raises InvalidArgument for all empty ones."""
    stripped = [tag.strip() for tag in tags]
    refuse_all(
        [
            InvalidArgument("A tag is empty", field=f"model.tags[{index}]", remedy="Leave it out, or write a word.")
            for index, tag in enumerate(stripped)
            if not tag
        ]
    )
    return tuple(dict.fromkeys(stripped))


def changed_fields(mask: Collection[str], given: NewModel) -> ModelChanges:
    """The changes that an update asks for: the masked fields, or all that are set when there is no mask.

    Raises InvalidArgument for a field that cannot be changed.
    """
    check_mask(mask, EDITABLE)
    wanted = set(EDITABLE) if "*" in mask else set(mask) or {path for path in EDITABLE if getattr(given, path)}
    return ModelChanges(
        display_name=(given.display_name or given.model_id) if "display_name" in wanted else None,
        description=given.description if "description" in wanted else None,
        tags=given.tags if "tags" in wanted else None,
        labels=given.labels if "labels" in wanted else None,
    )


def check_version_mask(mask: Collection[str]) -> None:
    """Raises InvalidArgument for anything but the labels, which are all that can be changed of a version."""
    check_mask(mask, ("labels",), of="a version")


def check_version_delete(version: ModelVersion, *, etag: str, force: bool) -> None:
    """Raises Aborted for an old etag, and FailedPrecondition(reason=VERSION_HAS_ALIASES) unless forced."""
    check_etag(etag, version.etag)
    named = [alias for alias in version.aliases if alias != LATEST]
    if named and not force:
        raise FailedPrecondition(
            f"These aliases point at {version.name}: {', '.join(named)}",
            field="force",
            reason="VERSION_HAS_ALIASES",
            remedy="Point them at another version first, or set force to remove them too.",
            metadata={"aliases": ",".join(named)},
        )


def check_alias(alias: str) -> None:
    """Raises InvalidArgument for the alias that the service keeps itself."""
    if alias == LATEST:
        raise InvalidArgument(
            f"The alias '{LATEST}' always points at the newest version",
            field="alias",
            reason="ALIAS_RESERVED",
            remedy="Choose another word, such as 'production'.",
        )
