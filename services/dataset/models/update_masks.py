"""Update masks (https://google.aip.dev/134): which fields of a resource a caller means to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from services.chassis.errors import InvalidArgument
from services.dataset.models.resources import DatasetFields, ImageFields

FieldsT = TypeVar("FieldsT", DatasetFields, ImageFields)

_NOT_SHOWN = ("features",)
"""A caller who sends back what it read does not have them; `*` does not take them away."""


def masked(current: FieldsT, given: FieldsT, mask: Sequence[str]) -> FieldsT:
    """`current` with the fields of `given` that the mask names.

    An empty mask names all that are set (not empty, not 0, not what an unset enum means); `*` names all. Raises
    InvalidArgument(reason=UPDATE_MASK_INVALID) for a path that is not a field which can be changed.
    """
    changeable = tuple(current.__dataclass_fields__)
    for path in mask:
        if path not in changeable and path != "*":
            raise InvalidArgument(
                f"'{path[:100]}' cannot be changed",
                field="update_mask",
                reason="UPDATE_MASK_INVALID",
                remedy=f"Name whole fields out of {', '.join(changeable)}.",
            )
    if "*" in mask:
        kept = {name: getattr(current, name) for name in _NOT_SHOWN if name in changeable and not getattr(given, name)}
        return replace(given, **kept)
    unset = type(given)()
    paths = mask or [name for name in changeable if getattr(given, name) != getattr(unset, name)]
    return replace(current, **{path: getattr(given, path) for path in paths})
