"""Several datasets in one job: what a caller asks for, what is refused, and the one training set that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.chassis.errors import FailedPrecondition, InvalidArgument
from services.trainer.models.base import TrainingSet
from services.trainer.models.job import TrainedDataset

FIELD = "training_job.datasets"


@dataclass(frozen=True, slots=True)
class AskedDataset:
    """A dataset or version of a job, as a caller asks for it. weight: None for 1; regularization pictures have none."""

    name: str
    weight: float | None = None
    regularization: bool = False


@dataclass(frozen=True, slots=True)
class MixedDataset:
    """A dataset of a job and what it holds. field: in which the caller named it."""

    asked: AskedDataset
    field: str
    data: TrainingSet

    @property
    def kept(self) -> TrainedDataset:
        """What a job remembers of it."""
        return TrainedDataset(
            version=self.data.version or self.asked.name,
            digest=self.data.digest,
            weight=0.0 if self.asked.regularization else self.asked.weight or 1.0,
            regularization=self.asked.regularization,
            image_count=len(self.data.images),
            trigger_word=self.data.trigger_word,
            subject=self.data.subject,
        )


def check_asked(datasets: Sequence[AskedDataset], first: str) -> None:
    """Raises InvalidArgument where datasets do not go together. first: what `dataset_version` says."""
    if not datasets:
        return
    trained = [each.name for each in datasets if not each.regularization]
    if not trained:
        raise InvalidArgument(
            "All of the job's datasets are regularisation pictures, so it would learn nothing",
            field=FIELD,
            reason="DATASET_REQUIRED",
            remedy="Name a dataset to train without regularization.",
        )
    if first not in ("", trained[0]):
        raise InvalidArgument(
            f"dataset_version names '{first}', but the first of the datasets that are trained is '{trained[0]}'",
            field="training_job.dataset_version",
            reason="DATASETS_DIFFER",
            remedy="Leave dataset_version out, or name that one.",
        )
    for number, each in enumerate(datasets):
        live = each.name.partition("/versions/")[0]
        if live in [other.name.partition("/versions/")[0] for other in datasets[:number]]:
            raise InvalidArgument(
                f"'{live}' is named twice",
                field=f"{FIELD}[{number}].dataset_version",
                reason="DATASET_REPEATED",
                remedy="Name each dataset once; its weight says how many steps it gets.",
            )
        if each.regularization and each.weight is not None:
            raise InvalidArgument(
                "Regularisation pictures have no weight beside the datasets that are trained",
                field=f"{FIELD}[{number}].weight",
                reason="WEIGHT_UNUSED",
                remedy="Leave it out; regularization_fraction says how many are mixed in, prior_weight how much.",
            )


def check_regularization(mixed: Sequence[MixedDataset]) -> None:
    """Raises FailedPrecondition for regularisation pictures that would not keep anything in place."""
    for each in mixed:
        if not each.asked.regularization:
            continue
        if not each.data.images:
            raise FailedPrecondition(
                "The dataset of regularisation pictures holds no image",
                field=each.field,
                reason="DATASET_EMPTY",
                remedy="Upload some of what the base model should stay as.",
            )
        if each.data.trigger_word:
            word = each.data.trigger_word
            raise FailedPrecondition(
                f"The dataset of regularisation pictures has the trigger word '{word}', so it would be taught",
                field=each.field,
                reason="REGULARIZATION_HAS_TRIGGER_WORD",
                remedy="Take its trigger word away and give it a subject, such as dog: the class that it shows.",
            )
        if bare := sum(not image.caption.strip() for image in each.data.images):
            raise FailedPrecondition(
                f"{bare} of the regularisation pictures have no text",
                field=each.field,
                reason="REGULARIZATION_WITHOUT_TEXT",
                remedy="Give their dataset a subject, such as dog: it becomes the text of pictures without words.",
            )


def trained(mixed: Sequence[MixedDataset]) -> list[MixedDataset]:
    """Those that a job learns."""
    return [each for each in mixed if not each.asked.regularization]


def joined(mixed: Sequence[MixedDataset]) -> TrainingSet:
    """The pictures of all that are trained, in order, as one set; named after the first."""
    chosen = trained(mixed)
    if len(chosen) == 1:
        return chosen[0].data
    images = tuple(
        replace(image, size=replace(image.size, dataset=number, weight=each.asked.weight or 1.0))
        for number, each in enumerate(chosen)
        for image in each.data.images
    )
    return replace(chosen[0].data, images=images)


def own_regularization(mixed: Sequence[MixedDataset]) -> int:
    """How many regularisation pictures the caller gives."""
    return sum(len(each.data.images) for each in mixed if each.asked.regularization)
