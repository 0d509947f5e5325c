"""The datasets of a job as people type them: `rex`, `rex mia:2`, `--regularization dogs`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from fiveshot.errors import InvalidArgument
from fiveshot.trainer.v1 import training_job_pb2

from gateway.cli import output
from gateway.cli.completion import datasets
from gateway.cli.session import Session

Source = Annotated[
    str, typer.Argument(help="Dataset, or DATASET/versions/N; a dataset is frozen first.", autocompletion=datasets)
]
Sources = Annotated[
    list[str],
    typer.Argument(
        metavar="DATASET[:WEIGHT]",
        help="Dataset, or DATASET/versions/N; a dataset is frozen first. Several are trained together, in equal parts "
        "or by weight: rex mia:2.",
        autocompletion=datasets,
    ),
]
Regularization = Annotated[
    list[str] | None,
    typer.Option(
        "--regularization",
        metavar="DATASET",
        help="Dataset with pictures of what the base model should stay as, such as other dogs; repeatable.",
        autocompletion=datasets,
    ),
]


def sources_of(session: Session, sources: Sequence[str], regularization: Sequence[str] | None) -> dict[str, Any]:
    """The fields of a job that say what it trains. Raises InvalidArgument for a weight that is no number."""
    make = training_job_pb2.TrainedDataset
    named = [_split(source) for source in sources]
    if len(named) == 1 and named[0][1] is None and not regularization:
        return {"dataset_version": session.name("datasets", named[0][0])}
    return {
        "datasets": [
            *(make(dataset_version=session.name("datasets", name), weight=weight) for name, weight in named),
            *(
                make(dataset_version=session.name("datasets", name), regularization=True)
                for name in regularization or ()
            ),
        ]
    }


def shown(jobs_datasets: Sequence[training_job_pb2.TrainedDataset]) -> str:
    """The datasets of a job in a line; "" where it trains one alone."""
    return ", ".join(
        f"{output.short(each.dataset_version.partition('/versions/')[0])}"
        + (" as regularisation pictures" if each.regularization else f":{each.weight:g}")
        + f" ({each.image_count} images)"
        for each in jobs_datasets
    )


def _split(source: str) -> tuple[str, float | None]:
    name, colon, text = source.partition(":")
    if not colon:
        return name, None
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not math.isfinite(weight):
        raise InvalidArgument(
            f"'{text}' is not a weight", field="datasets", reason="WEIGHT_INVALID",
            remedy="Write DATASET:NUMBER, such as rex:2 for twice the steps of the others.",
        )  # fmt: skip
    return name, weight
