"""Several datasets of one training job, and pictures of what the base model should stay as."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.words import several


def trained_datasets(
    first: str,
    also: Mapping[str, float] | str | Sequence[str],
    regularization: str | Sequence[str],
    resource: Callable[[str, str], str],
) -> list[training_job_pb2.TrainedDataset]:
    """`TrainingJob.datasets` of a job on `first`; none where it trains that alone.

    also: further datasets, by id or name, with their weights beside the first one's 1. resource: makes names of ids.
    """
    weights = also if isinstance(also, Mapping) else dict.fromkeys(several(also or ()), 1.0)
    kept = several(regularization or ())
    if not weights and not kept:
        return []
    make = training_job_pb2.TrainedDataset
    return [
        make(dataset_version=first),
        *(make(dataset_version=resource("datasets", name), weight=weight) for name, weight in weights.items()),
        *(make(dataset_version=resource("datasets", name), regularization=True) for name in kept),
    ]
