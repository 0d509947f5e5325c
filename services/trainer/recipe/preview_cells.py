"""The cells of a preview request: every source at every strength with every prompt and seed, in one fixed order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

MAX_STRENGTH = 2.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One picture to draw. index: its place in the order, from 0."""

    index: int
    source: str
    strength: float
    prompt: str
    seed: int

    @property
    def file_id(self) -> str:
        """`cell-1` and so on."""
        return f"cell-{self.index + 1}"


def cells_of(
    sources: Sequence[str], strengths: Sequence[float], prompts: Sequence[str], seeds: Sequence[int]
) -> tuple[Cell, ...]:
    """All cells: sources outermost, then strengths, prompts, seeds."""
    combined = itertools.product(sources, strengths, prompts, seeds)
    return tuple(Cell(index, *parts) for index, parts in enumerate(combined))
