"""Training parameters by their names in the API."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from fiveshot.errors import FieldViolation, InvalidArgument
from fiveshot.trainer.v1 import training_job_pb2

DEFAULT_BASE_MODEL = "fiveshot-tiny"
_FIELDS = training_job_pb2.TrainingParameters.DESCRIPTOR.fields_by_name


def training_parameters(values: Mapping[str, Any], prompts: Sequence[str] = ()) -> training_job_pb2.TrainingParameters:
    """TrainingParameters out of plain values; None leaves the base model's default.

    prompts: of the previews. Raises InvalidArgument that names every unknown or mistyped one.
    """
    made = training_job_pb2.TrainingParameters(preview_prompts=prompts)
    wrong: list[FieldViolation] = []
    for name, value in values.items():
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, n=1)
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
