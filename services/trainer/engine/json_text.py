"""JSON of PEFT configurations, which hold sets and enums; sorted, so that equal configurations give equal bytes."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any


def to_json(value: Any) -> str:
    """Compact JSON with sorted keys; sets become sorted lists, enums their values."""
    return json.dumps(value, default=_plain, sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")
