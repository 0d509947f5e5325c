"""Errors that more than one room raises, so that they read the same everywhere."""

from __future__ import annotations

from services.chassis.errors import AlreadyExists, NotFound
from services.dataset.models.names import DatasetRef


def not_found(name: str) -> NotFound:
    """Nothing has this resource name."""
    return NotFound(
        f"{name} does not exist",
        reason="RESOURCE_NOT_FOUND",
        remedy="Check the name; it may have been deleted.",
        metadata={"name": name},
    )


def dataset_exists(ref: DatasetRef) -> AlreadyExists:
    """The dataset's name is taken."""
    return AlreadyExists(
        f"The dataset {ref.name} already exists",
        field="dataset_id",
        reason="DATASET_EXISTS",
        remedy="Choose another id, or leave it empty to get a new one.",
        metadata={"name": ref.name},
    )


def no_mask(name: str) -> NotFound:
    """The image has no mask, or not any more."""
    return NotFound(
        f"{name} has no mask",
        field="view",
        reason="MASK_NOT_FOUND",
        remedy="Set one with UploadImageMask or BatchSetImageMasks.",
        metadata={"name": name},
    )
