"""Training parameters by their names in the API."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fiveshot.errors import FieldViolation, InvalidArgument
from fiveshot.trainer.v1 import training_job_pb2

DEFAULT_BASE_MODEL = "fiveshot-tiny"
# What other trainers call them.
_ELSEWHERE = {
    "lr": "learning_rate", "unet_lr": "learning_rate", "network_dim": "rank", "dim": "rank", "lora_rank": "rank",
    "network_alpha": "alpha", "lora_alpha": "alpha", "train_batch_size": "batch_size", "max_train_epochs": "num_epochs",
    "epochs": "num_epochs", "num_train_epochs": "num_epochs", "repeats": "num_repeats",
    "optimizer_type": "optimizer", "scheduler": "lr_scheduler",
}  # fmt: skip
_FIELDS = training_job_pb2.TrainingParameters.DESCRIPTOR.fields_by_name


def nearest_parameters(name: str, known: Iterable[str] = _FIELDS, count: int = 1) -> list[str]:
    """The parameters that somebody may have meant, by what other trainers call them or by a slip of the hand."""
    known = list(known)
    elsewhere = _ELSEWHERE.get(name.lower().replace("-", "_"), "")
    return [elsewhere] if elsewhere in known else difflib.get_close_matches(name, known, n=count)


def training_parameters(values: Mapping[str, Any], prompts: Sequence[str] = ()) -> training_job_pb2.TrainingParameters:
    """TrainingParameters out of plain values; None leaves the base model's default.

    prompts: of the previews. Raises InvalidArgument that names every unknown or mistyped one.
    """
    made = training_job_pb2.TrainingParameters(preview_prompts=prompts)
    wrong: list[FieldViolation] = []
    for name, value in values.items():
        if name not in _FIELDS:
            near = nearest_parameters(name)
            hint = f"; did you mean {near[0]}?" if near else ""
            wrong.append(FieldViolation(name, f"{name} is no parameter{hint}"))
        elif value is not None:
            try:
                made.MergeFrom(training_job_pb2.TrainingParameters(**{name: value}))
            except (TypeError, ValueError):
                wrong.append(FieldViolation(name, f"{name} cannot be {value!r}"))
    if wrong:
        raise InvalidArgument(
            wrong[0].description if len(wrong) == 1 else f"{len(wrong)} parameters are wrong",
            reason="PARAMETER_INVALID", violations=wrong,
            remedy="client.base_models() lists what a base model takes, with defaults and bounds.",
        )  # fmt: skip
    return made
