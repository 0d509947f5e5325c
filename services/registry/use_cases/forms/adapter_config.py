"""How strongly a LoRA applies: the settings beside a file of PEFT's form, or in the metadata of diffusers'."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from services.chassis.errors import InvalidArgument
from services.registry.use_cases.forms.refusal import cannot

MAX_RANK = 65_536
_FAULTS = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
"""What a stranger's settings cause while they are read; JSON spells whole numbers beyond any float."""
_NAME = re.compile(r"\^?(?:[A-Za-z0-9_.]|\\\.)+\$?")


@dataclass(frozen=True, slots=True)
class AdapterConfig:
    """rank, alpha: of layers that no pattern names. by_root: rsLoRA, scaled by the square root of the rank.

    patterns: alpha by the end of a layer's name.
    """

    rank: int = 0
    alpha: float = 0.0
    by_root: bool = False
    patterns: Mapping[str, float] = field(default_factory=dict)

    def alpha_of(self, module: str, rank: int) -> float:
        """The alpha of a layer, which its own rank divides."""
        alpha = self.alpha or float(rank)
        for ending, value in self.patterns.items():
            if f".{module}".endswith(f".{ending}"):
                alpha = value
                break
        return alpha * math.sqrt(rank) if self.by_root else alpha


def read(text: str) -> AdapterConfig:
    """The settings of an adapter_config.json. Raises InvalidArgument(ADAPTER_CONFIG_INVALID)."""
    try:
        given = json.loads(text)
        if not isinstance(given, dict) or str(given.get("peft_type", "LORA")).upper() != "LORA":
            raise ValueError("peft_type")
        rank, alpha = given["r"], given["lora_alpha"]
        if type(rank) is not int or not 0 < rank <= MAX_RANK:
            raise ValueError("r")
        return AdapterConfig(rank, _alpha(alpha), bool(given.get("use_rslora")), _patterns(given))
    except _FAULTS as error:
        raise InvalidArgument(
            "The settings are not those that PEFT writes for a LoRA: numbers for r and lora_alpha, and names of layers"
            " where alpha differs",
            field="adapter_config",
            reason="ADAPTER_CONFIG_INVALID",
            remedy="Send the adapter_config.json that lies beside the file.",
        ) from error


def of_component(metadata: Mapping[str, str], component: str) -> AdapterConfig:
    """The settings of one network in the metadata of diffusers' form; alpha equals the rank where there are none."""
    try:
        given = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        start = f"{component}."
        own = {key.removeprefix(start): value for key, value in given.items() if key.startswith(start)}
        if not own:
            return AdapterConfig()
        return AdapterConfig(
            int(own.get("r", 0)), _alpha(own["lora_alpha"]), bool(own.get("use_rslora")), _patterns(own)
        )
    except _FAULTS as error:
        raise cannot("its metadata holds settings that cannot be read") from error


def described(layers: Mapping[str, tuple[int, float]]) -> dict[str, Any]:
    """The settings that say rank and alpha of each layer: those that most have, and patterns for the rest.

    layers: rank and alpha by the layer's name.
    """
    (rank, alpha), _ = Counter(layers.values()).most_common(1)[0]
    return {
        "r": rank,
        "lora_alpha": _plain(alpha),
        "rank_pattern": {name: own for name, (own, _) in layers.items() if own != rank},
        "alpha_pattern": {name: _plain(own) for name, (_, own) in layers.items() if own != alpha},
        "target_modules": sorted(layers),
        "use_rslora": False,
        "use_dora": False,
    }


def _alpha(value: Any) -> float:
    if isinstance(value, bool) or not math.isfinite(value) or not 0 < value < 1e6:
        raise ValueError("lora_alpha")
    return float(value)


def _patterns(given: Mapping[str, Any]) -> dict[str, float]:
    """PEFT takes regular expressions. A stranger's could keep a process busy for hours, so names alone are taken."""
    patterns: dict[str, float] = {}
    for name, value in (given.get("alpha_pattern") or {}).items():
        if not _NAME.fullmatch(name):
            raise ValueError("alpha_pattern")
        patterns[name.removeprefix("^").removesuffix("$").replace("\\.", ".")] = _alpha(value)
    return patterns


def _plain(value: float) -> float | int:
    """PEFT types alpha as a whole number; where it is one it is written as one."""
    return int(value) if value == int(value) else value
