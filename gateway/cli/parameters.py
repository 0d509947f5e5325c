"""Training parameters from the command line: `--set NAME=VALUE` for every field, typed by the API's own descriptor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from fiveshot.errors import InvalidArgument
from fiveshot.parameters import nearest_parameters
from fiveshot.trainer.v1.training_job_pb2 import TrainingParameters
from google.protobuf.descriptor import FieldDescriptor

from gateway.cli.faults import Faults

_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
_LONGEST_SHOWN = 60
_INTEGERS = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)


def parameters(
    named: Mapping[str, Any], assignments: Sequence[str], prompts: Sequence[str], faults: Faults
) -> TrainingParameters:
    """What a job sets: `named` values that are not None, then NAME=VALUE texts. faults: takes what is wrong."""
    result = TrainingParameters(preview_prompts=prompts)
    for name, value in named.items():
        if value is not None:
            faults.take(partial(_set, result, name, value), None)
    for assignment in assignments:
        faults.take(partial(_assign, result, assignment), None)
    return result


def _assign(result: TrainingParameters, assignment: str) -> None:
    _set(result, *_assigned(assignment))


def _set(result: TrainingParameters, name: str, value: Any) -> None:
    if isinstance(value, list):
        getattr(result, name)[:] = value
        return
    try:
        setattr(result, name, value)
    except ValueError as error:
        raise InvalidArgument(f"{name}: {value} is too large", field=name) from error


def _assigned(assignment: str) -> tuple[str, Any]:
    """Name and value of a NAME=VALUE text. Raises InvalidArgument with the field."""
    name, separator, text = assignment.partition("=")
    name = name.strip().replace("-", "_")
    if not separator:
        raise InvalidArgument(f"'{assignment}' is not NAME=VALUE", field="set", remedy="Write --set rank=8.")
    descriptor = TrainingParameters.DESCRIPTOR.fields_by_name.get(name)
    if descriptor is not None and descriptor.is_repeated and descriptor.cpp_type in _INTEGERS:
        return name, [_value(name, descriptor, part.strip()) for part in text.split(",")]
    if descriptor is None or descriptor.is_repeated:
        raise InvalidArgument(f"There is no parameter '{name}'", field=name, remedy=_nearest(name))
    return name, _value(name, descriptor, text.strip())


def _value(name: str, descriptor: FieldDescriptor, text: str) -> Any:
    kind = descriptor.cpp_type
    shown = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        if text.lower() not in _WORDS:
            raise InvalidArgument(f"{name}: '{shown}' is neither true nor false", field=name)
        return _WORDS[text.lower()]
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return text
    try:
        return _whole(text, kind) if kind in _INTEGERS else float(text)
    except ValueError as error:
        wanted = "a whole number" if kind in _INTEGERS else "a number"
        raise InvalidArgument(f"{name}: '{shown}' is not {wanted}", field=name) from error


def _whole(text: str, kind: int) -> int:
    """Raises ValueError for what is no integer, or too large a one for its field."""
    number = int(text)
    if number.bit_length() >= (32 if kind == FieldDescriptor.CPPTYPE_INT32 else 64):
        raise ValueError(text)
    return number


def _nearest(name: str) -> str:
    known = [field.name for field in TrainingParameters.DESCRIPTOR.fields if not field.is_repeated]
    near = nearest_parameters(name, known, 3)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return "See `fiveshot base-models show NAME` for all parameters."
