"""Update masks (https://google.aip.dev/134): which fields of a resource a caller means to change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from services.chassis.names import check_mask
from services.dataset.models.resources import DatasetFields, ImageFields

FieldsT = TypeVar("FieldsT", DatasetFields, ImageFields)

_SEEN = ("features",)
"""What a caller that sends an image back has not read: only its own name in a mask changes it."""


def check_changeable(mask: Sequence[str], fields: type[DatasetFields | ImageFields]) -> None:
    """Raises InvalidArgument(reason=UPDATE_MASK_INVALID) for paths that are none of the fields."""
    check_mask(mask, tuple(fields.__dataclass_fields__))


def masked(current: FieldsT, given: FieldsT, mask: Sequence[str]) -> FieldsT:
    """`current` with the fields of `given` that the mask names.

    An empty mask names all that are set (not empty, not 0, not what an unset enum means); `*` names all. Raises
    InvalidArgument(reason=UPDATE_MASK_INVALID) for a path that is not a field which can be changed.
    """
    changeable = tuple(current.__dataclass_fields__)
    check_changeable(mask, type(current))
    if "*" in mask:
        return replace(given, **{name: getattr(current, name) for name in _SEEN if name in changeable})
    unset = type(given)()
    set_ = [name for name in changeable if name not in _SEEN and getattr(given, name) != getattr(unset, name)]
    paths = mask or set_
    return replace(current, **{path: getattr(given, path) for path in paths})
