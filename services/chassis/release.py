"""Which release of Fiveshot this is."""

from __future__ import annotations

from functools import cache
from importlib import metadata


@cache
def release() -> str:
    """The version of the installed package (https://semver.org)."""
    return metadata.version("fiveshot")
