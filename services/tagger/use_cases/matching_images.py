"""The images of a dataset that a request means."""

from __future__ import annotations

from services.chassis.errors import FailedPrecondition, NotFound
from services.tagger.models.tags import ImageRecord
from services.tagger.ports import Datasets


async def matching_images(datasets: Datasets, dataset: str, filter: str) -> list[ImageRecord]:
    """They, in upload order. Raises NotFound for the dataset, FailedPrecondition when there is no image."""
    try:
        found = await datasets.get_dataset(dataset)
    except NotFound as error:
        raise NotFound(
            f"There is no dataset {dataset}",
            field="dataset",
            reason="DATASET_NOT_FOUND",
            remedy="List the project's datasets to see their names.",
        ) from error
    images = await datasets.list_images(found.name, filter)
    if not found.image_count:
        raise FailedPrecondition(
            f"{found.name} holds no image", field="dataset", reason="DATASET_EMPTY", remedy="Upload pictures first."
        )
    if not images:
        raise FailedPrecondition(
            f"No image of {found.name} matches the filter",
            field="filter",
            reason="NO_IMAGE_MATCHES",
            remedy="Loosen the filter, or leave it out to take all images.",
        )
    return images
