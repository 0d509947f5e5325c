"""Finds previews that are copies of a training picture: moved, at another size, mirrored or in other colours.

Compared is where a picture changes, not what colours it has: the strength of its edges on a coarse grid. The middle of
each training picture, in several sizes and mirrored, slides over a preview; likeness is the highest normalised
correlation that it finds (Lewis 1995). How far copies and others lie apart is measured in docs/evaluation.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import torch
import torch.nn.functional as functional
from PIL import Image
from torch import Tensor

COPY_LIKENESS = 0.8
"""From here on a preview is a copy; no other photo of a subject is as like, see docs/evaluation.md."""

SIDE = 32
"""Cells of a picture's shorter side."""

MIDDLE = 24
"""Cells of the side of the part that slides, so that it finds itself when it is moved by an eighth."""

SIZES = (0.8, 0.9, 1.0, 1.12, 1.25)
_SMALLEST_SPREAD = 1e-3


class CopyDetector:
    """Knows the training pictures; made once a job, on the CPU."""

    def __init__(self, pictures: Sequence[Image.Image]) -> None:
        """pictures: as they are trained, at least one, of any size."""
        parts = [_middle(_edges(picture, size)) for picture in pictures for size in SIZES]
        whole = torch.stack([*parts, *(part.flip(-1) for part in parts)])
        centred = whole - whole.mean(dim=(1, 2), keepdim=True)
        self._parts = functional.normalize(centred.flatten(1), dim=1).view_as(centred).unsqueeze(1)

    def likeness(self, previews: Sequence[Image.Image]) -> float:
        """Of the preview and the training picture that are most alike: 0 to 1, which is the same picture."""
        found = [_correlation(_edges(preview, 1.0), self._parts) for preview in previews]
        return max(0.0, min(1.0, max(found, default=0.0)))


def _edges(picture: Image.Image, size: float) -> Tensor:
    """Strength of the edges [rows, columns], the shorter side ``SIDE`` cells times ``size`` long."""
    # Twice as fine as the grid, so that an edge between two cells counts in both.
    scale = 2 * SIDE * size / min(picture.size)
    width, height = (max(2 * MIDDLE, 2 * round(scale * side / 2)) for side in picture.size)
    filtered = Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    small = picture.convert("RGB").resize((width, height), filtered)
    pixels = torch.from_numpy(numpy.asarray(small, dtype=numpy.float32)).permute(2, 0, 1) / 255.0
    padded = functional.pad(pixels.unsqueeze(0), (1, 1, 1, 1), mode="replicate")[0]
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    strength = (across.square() + down.square()).sum(0).sqrt()
    # The root keeps one hard edge from outweighing all others.
    return functional.avg_pool2d(strength.sqrt()[None], 2)[0]


def _middle(edges: Tensor) -> Tensor:
    top, left = ((side - MIDDLE) // 2 for side in edges.shape)
    return edges[top : top + MIDDLE, left : left + MIDDLE]


def _correlation(edges: Tensor, parts: Tensor) -> float:
    """Highest correlation of any part [N, 1, MIDDLE, MIDDLE] (mean 0, norm 1) with any place of its size."""
    places = functional.conv2d(edges[None, None], parts)
    cells = MIDDLE * MIDDLE
    mean = functional.avg_pool2d(edges[None], MIDDLE, 1)
    spread = functional.avg_pool2d(edges.square()[None], MIDDLE, 1) - mean.square()
    return float((places[0] / (cells * spread.clamp(min=_SMALLEST_SPREAD**2)).sqrt()).max())
