"""What a reader is given, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Base:
    """A base model as a reader knows it.

    Attributes:
        family: of our facts.
        second_version: Stable Diffusion 2.x, whose text encoder tools load in another form.
        config: of the denoiser, as its ``config.json`` holds it.
        weights: of linear layers and convolutions, by ``component.module``.
    """

    family: str
    second_version: bool
    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    def of(self, component: str) -> list[str]:
        """Modules of a component that hold a weight."""
        return [name.removeprefix(f"{component}.") for name in self.weights if name.startswith(f"{component}.")]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a tool does with a file: the change of each weight, and the keys that it leaves aside."""

    changes: Mapping[str, Tensor]
    left_over: frozenset[str]
