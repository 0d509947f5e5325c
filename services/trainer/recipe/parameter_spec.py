"""What one training parameter accepts, and how a value is refused. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

ParameterType = Literal["int", "float", "bool", "string", "string_list", "int_list"]
ParameterValue = int | float | bool | str | tuple[str, ...] | tuple[int, ...]


class InvalidParameter(Exception):
    """A parameter that a user gave is unknown, of the wrong type or out of its limits.

    Attributes:
        field: the parameter's name, as in the API.
        message: one sentence that says what is wrong and which values are accepted.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class InvalidParameters(Exception):
    """All that is wrong with the parameters that a user gave, each fault by its field."""

    def __init__(self, faults: Sequence[InvalidParameter]) -> None:
        super().__init__("; ".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """What one parameter accepts. ``minimum`` and ``maximum`` are inclusive; of texts and lists they bound lengths.

    ``sets``: of a choice, other parameters that it sets where a job does not.
    """

    name: str
    type: ParameterType
    default: ParameterValue
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    description: str
    sets: Mapping[str, Mapping[str, ParameterValue]] = field(default_factory=dict)

    def override(self, changes: Mapping[str, Any]) -> ParameterSpec:
        """A copy with another default, minimum, maximum or choices, as a base model's entry asks.

        Raises:
            InvalidParameter: for another key, or a default that the changed limits refuse.
        """
        unknown = set(changes) - {"default", "minimum", "maximum", "choices"}
        if unknown:
            raise InvalidParameter(self.name, f"a base model cannot change {', '.join(sorted(unknown))} of a parameter")
        values = dict(changes)
        if "choices" in values:
            values["choices"] = tuple(values["choices"])
        changed = replace(self, **values)
        return replace(changed, default=changed.check(changed.default))

    def check(self, value: object) -> ParameterValue:
        """The value in its own type, or InvalidParameter that names the accepted values.

        Whole floats pass as integers because JSON and protobuf structs carry every number as a float.
        """
        checked = self._typed(value)
        if isinstance(checked, (str, tuple)):
            self._check_length(checked)
        elif not isinstance(checked, bool):
            self._check_range(checked)
        if isinstance(checked, bool):
            if self.choices and str(checked).lower() not in self.choices:
                raise InvalidParameter(self.name, f"must be {', '.join(self.choices)} for this base model")
        elif checked and self.choices == ("",):
            raise InvalidParameter(self.name, f"{checked!r} cannot be chosen: this base model has none")
        elif self.choices and checked not in self.choices:
            raise InvalidParameter(self.name, f"{checked!r} is not one of {', '.join(filter(None, self.choices))}")
        return checked

    def _typed(self, value: object) -> ParameterValue:
        if self.type == "bool" and isinstance(value, bool):
            return value
        if self.type == "int" and not isinstance(value, bool):
            if isinstance(value, int):
                return value
            if isinstance(value, float) and value.is_integer():
                return int(value)
        if self.type == "float" and isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
        if self.type == "string" and isinstance(value, str):
            return value
        if self.type == "string_list" and isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value):
            return tuple(value)
        if self.type == "int_list" and isinstance(value, (list, tuple)) and all(_is_seed(v) for v in value):
            return tuple(int(v) for v in value)
        raise InvalidParameter(self.name, f"must be {_ARTICLES[self.type]}, got {value!r}")

    def _check_range(self, number: float) -> None:
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if low == high != number:
            raise InvalidParameter(self.name, f"must be {_said(low)} for this base model, got {_said(number)}")
        if not math.isfinite(number) or not low <= number <= high:
            raise InvalidParameter(self.name, f"must be between {_said(low)} and {_said(high)}, got {_said(number)}")

    def _check_length(self, value: str | tuple[str, ...] | tuple[int, ...]) -> None:
        unit = "characters" if isinstance(value, str) else "entries"
        if self.maximum is not None and len(value) > self.maximum:
            raise InvalidParameter(self.name, f"must have at most {self.maximum:g} {unit}, got {len(value)}")
        if self.minimum is not None and len(value) < self.minimum:
            raise InvalidParameter(self.name, f"must have at least {self.minimum:g} {unit}, got {len(value)}")
        texts = [entry for entry in value if isinstance(entry, str)] if isinstance(value, tuple) else []
        if any(len(text) > MAX_PROMPT_CHARACTERS for text in texts):
            raise InvalidParameter(self.name, f"an entry must have at most {MAX_PROMPT_CHARACTERS} characters")


MAX_PROMPT_CHARACTERS = 500
MAX_PREVIEWS = 8
MAX_SEED = 2**31 - 1
_ARTICLES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "string_list": "a list of texts",
    "int_list": f"a list of whole numbers from 0 to {MAX_SEED}",
}


def _is_seed(value: object) -> bool:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and not isinstance(value, bool) and 0 <= float(value) <= MAX_SEED  # type: ignore[arg-type]


def _said(number: float) -> str:
    """Whole numbers in full: 2147483647 is a limit, 2.14748e+09 is near one."""
    whole = math.isfinite(number) and number == int(number) and abs(number) < 1e15
    return str(int(number)) if whole else f"{number:g}"
