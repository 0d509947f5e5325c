"""The images of a dataset that a request means."""

from __future__ import annotations

from collections.abc import Sequence

from services.chassis.errors import FailedPrecondition, NotFound
from services.tagger.models.tags import ImageRecord
from services.tagger.ports import Datasets


async def chosen_images(datasets: Datasets, dataset: str, filter: str, names: Sequence[str]) -> list[ImageRecord]:
    """Those of these names, each once, in their order; all that match where none are given.

    Raises NotFound, and FailedPrecondition as `matching_images` does.
    """
    records = await matching_images(datasets, dataset, filter)
    if not names:
        return records
    known = {record.name: record for record in records}
    missing = [name for name in names if name not in known]
    if missing:
        raise NotFound(
            f"{dataset} has no image {missing[0]}" + (" that matches the filter" if filter else ""),
            field=f"images[{list(names).index(missing[0])}]",
            reason="RESOURCE_NOT_FOUND",
            remedy="List the dataset's images to see their names.",
        )
    return [known[name] for name in dict.fromkeys(names)]


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
