"""Training parameters by their names in the API."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fiveshot.errors import FieldViolation, FiveshotError, InvalidArgument
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.words import several

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


def training_parameters(
    values: Mapping[str, Any], prompts: Sequence[str] = ()
) -> tuple[training_job_pb2.TrainingParameters, list[InvalidArgument]]:
    """TrainingParameters out of plain values, and what is wrong with the others: unknown names and mistyped values.

    None leaves the base model's default. prompts: of the previews.
    """
    made = training_job_pb2.TrainingParameters(preview_prompts=prompts)
    wrong: list[InvalidArgument] = []
    for name, value in values.items():
        if name not in _FIELDS:
            near = nearest_parameters(name)
            wrong.append(_wrong(name, f"is no parameter{f'; did you mean {near[0]}?' if near else ''}"))
        elif value is not None:
            given: Any = several(value) if _FIELDS[name].is_repeated and isinstance(value, str) else value
            try:
                made.MergeFrom(training_job_pb2.TrainingParameters(**{name: given}))
            except (TypeError, ValueError):
                wrong.append(_wrong(name, f"cannot be {value!r}"))
    return made, wrong


def all_wrong(wrong: Sequence[InvalidArgument], found: FiveshotError | None = None) -> InvalidArgument:
    """One error for all that is wrong with a request. wrong: what was found here. found: what the server says of the
    rest; what is no InvalidArgument can be told once these are right."""
    others = list(found.violations) if isinstance(found, InvalidArgument) else []
    if len(wrong) == 1 and not others:
        return wrong[0]
    # A violation has no remedy of its own, and each of these has another: it follows what is wrong.
    named = [FieldViolation(each.field, f"{each.message}. {each.remedy}".rstrip(". ")) for each in wrong]
    count = len(named) + len(others)
    return InvalidArgument(f"{count} fields are wrong", reason=wrong[0].reason, violations=[*named, *others])


def _wrong(name: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        f"{name} {problem}", field=name, reason="PARAMETER_INVALID",
        remedy="client.base_models() lists what a base model takes, with defaults and bounds.",
    )  # fmt: skip
