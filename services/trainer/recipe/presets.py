"""Starting points for a training by what is trained, read from ``presets.toml``: sets of presets by name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from services.trainer.recipe.parameter_spec import ParameterValue

FILE = Path(__file__).with_name("presets.toml")


@dataclass(frozen=True, slots=True)
class PresetSet:
    """Presets that belong together.

    Attributes:
        source: where their numbers are from.
        presets: by purpose, the parameters that each sets.
    """

    source: str
    presets: Mapping[str, Mapping[str, ParameterValue]]


@cache
def preset_sets(path: Path = FILE) -> Mapping[str, PresetSet]:
    """Every set by its name."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return {
        name: PresetSet(entry["source"], {purpose: values for purpose, values in entry.items() if purpose != "source"})
        for name, entry in document.items()
    }
