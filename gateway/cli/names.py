"""The nearest legal id to what somebody typed."""

from __future__ import annotations

import re
import unicodedata

_MAX = 63


def nearest_id(given: str, kind: str = "") -> str:
    """`backpack_dog` becomes `backpack-dog`, `2024` of kind `model` `model-2024`; "" where nothing is left."""
    plain = unicodedata.normalize("NFKD", given).encode("ascii", "ignore").decode().lower()
    joined = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    if not joined:
        return ""
    if not joined[:1].isalpha():
        joined = f"{kind or 'id'}-{joined}".strip("-")
    return joined[:_MAX].strip("-")
