"""Draws many captioned pictures block by block, each from its own random stream, in one process or several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Block = tuple[int, int, int, int]
"""Seed, number of the block, pictures in it, pixels a side."""

_PICTURES = 250


def draw_in_blocks(
    draw: Callable[[Block], tuple[Pixels, list[str]]], count: int, *, seed: int, size: int, processes: int = 1
) -> tuple[Pixels, list[str]]:
    """`count` uint8 pictures (count, size, size, 3) with their captions, the same for any `processes`.

    `draw` must be a function of a module, because processes import it.
    """
    jobs = [(seed, i, min(_PICTURES, count - i * _PICTURES), size) for i in range(-(-count // _PICTURES))]
    if processes == 1:
        blocks = [draw(job) for job in jobs]
    else:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            blocks = pool.map(draw, jobs)
    return np.concatenate([b[0] for b in blocks]), [caption for b in blocks for caption in b[1]]
