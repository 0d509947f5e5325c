"""Pictures with facts as arrays, drawn in blocks that lie on disk: drawing costs more than learning from a picture."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from tools.pretrain_tagger.cartoon_scenes import draw_cartoon
from tools.pretrain_tagger.facts import Facts
from tools.pretrain_tagger.outside import draw_outside, draw_stranger
from tools.pretrain_tagger.scenes import draw_scene

BLOCK = 500
# Shares of a training block.
_KINDS: dict[str, tuple[float, Callable[[random.Random], tuple[Image.Image, Facts]]]] = {
    "scene": (0.46, draw_scene),
    "cartoon": (0.18, draw_cartoon),
    "stranger": (0.12, draw_stranger),
    "outside": (0.24, draw_outside),
}


@dataclass(frozen=True)
class Examples:
    """pictures: uint8 (n, side, side, 3). answers: int64 (n, questions). inside: bool (n,)."""

    pictures: npt.NDArray[np.uint8]
    answers: npt.NDArray[np.int64]
    inside: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, drawn: list[tuple[Image.Image, Facts]]) -> Examples:
        """Arrays of drawn pictures."""
        return cls(
            np.stack([np.asarray(image, np.uint8) for image, _ in drawn]),
            np.array([facts.indices() for _, facts in drawn], np.int64),
            np.array([facts.inside for _, facts in drawn], np.bool_),
        )

    @classmethod
    def joined(cls, parts: list[Examples]) -> Examples:
        """Several one after the other."""
        return cls(
            np.concatenate([part.pictures for part in parts]),
            np.concatenate([part.answers for part in parts]),
            np.concatenate([part.inside for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.pictures)


def draw_block(number: int) -> Examples:
    """BLOCK examples; the same for the same number."""
    rng = random.Random(f"tagger/{number}")
    shares = [share for share, _ in _KINDS.values()]
    draws = [draw for _, draw in _KINDS.values()]
    return Examples.of([draw(rng) for draw in rng.choices(draws, shares, k=BLOCK)])


def write_blocks(folder: Path, numbers: range) -> None:
    """Draws the blocks that are not on disk yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        path = folder / f"block-{number:04d}.npz"
        if path.exists():
            continue
        block = draw_block(number)
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            np.savez_compressed(file, pictures=block.pictures, answers=block.answers, inside=block.inside)
        partial.replace(path)


def read_blocks(folder: Path, *, skip: int = 0, count: int | None = None) -> Examples:
    """The blocks on disk in order. Raises FileNotFoundError when there is none in that range."""
    paths = sorted(folder.glob("block-*.npz"))[skip:][:count]
    if not paths:
        raise FileNotFoundError(f"no blocks in {folder}: run the command draw first")
    parts: list[Examples] = []
    for path in paths:
        with np.load(path) as arrays:
            parts.append(Examples(arrays["pictures"], arrays["answers"], arrays["inside"]))
    return Examples.joined(parts)
