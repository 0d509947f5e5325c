"""The training loss of each picture over the run, and which pictures are learnt unlike the others.

Counted from the losses of the steps, so it costs nothing; noise levels differ from sample to sample, so losses are kept
by level, and a picture is named only where its fall differs from the others' by more than chance explains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from services.trainer.engine.precision import on_device
from services.trainer.engine.processes import Processes

LEVELS = 4
"""Parts of the range of noise levels that are counted apart."""

FEWEST_PICTURES = 3
FEWEST_SAMPLES = 12
"""Of a picture in each half of the run; with fewer nothing is said."""

STANDARD_ERRORS = 3.0
DIFFERENT_FALL = 0.1
"""Share of its own first loss by which a picture must fall more or less than the typical one to be named."""

Counts = list[list[list[float]]]
"""Of an epoch: for each picture and level the samples, the sum of their losses and that of the losses' squares."""


class PictureLosses:
    """Counts of the epoch that is being trained, resident on the device."""

    def __init__(self, pictures: int, device: torch.device) -> None:
        # One row more, for regularisation pictures.
        self._counts = torch.zeros(pictures + 1, LEVELS, 3, device=device)

    def add(self, pictures: Sequence[int], levels: Tensor, losses: Tensor) -> None:
        """Samples of a pass: number of the picture (-1 for another), noise level and loss [B] of each."""
        rows = on_device(torch.tensor([each % len(self._counts) for each in pictures]), losses.device)
        place = rows * LEVELS + (levels * LEVELS).long().clamp(max=LEVELS - 1)
        loss = losses.float()
        self._counts.view(-1, 3).index_add_(0, place, torch.stack([torch.ones_like(loss), loss, loss.square()], dim=1))

    def counted(self, processes: Processes) -> Counts:
        """The counts so far, of all processes."""
        found: Counts = processes.add_up(self._counts[:-1].clone()).tolist()
        return found

    def start(self, counts: Counts | None = None) -> None:
        """Begin an epoch, or go on with one whose first steps counted so much."""
        self._counts.zero_()
        if counts:
            self._counts[:-1] += torch.tensor(counts, device=self._counts.device)


@dataclass(frozen=True, slots=True)
class Unlike:
    """Numbers of the pictures that are hardly learnt, and of those that are learnt by heart."""

    hardly_learnt: tuple[int, ...]
    by_heart: tuple[int, ...]


def unlike_the_others(epochs: Sequence[Counts]) -> Unlike:
    """Pictures whose loss fell much less, or much more, between the first and the last half of the run."""
    half = len(epochs) // 2
    if not half:
        return Unlike((), ())
    falls = {
        number: fall
        for number in range(len(epochs[0]))
        if (fall := _fall(_total(epochs[:half], number), _total(epochs[-half:], number))) is not None
    }
    if len(falls) < FEWEST_PICTURES:
        return Unlike((), ())
    typical = median(fall for fall, _ in falls.values())
    clear = {
        number: fall - typical
        for number, (fall, error) in falls.items()
        if abs(fall - typical) > max(DIFFERENT_FALL, STANDARD_ERRORS * error)
    }
    less = tuple(number for number, difference in clear.items() if difference < 0)
    return Unlike(less, tuple(number for number in clear if number not in less))


def _total(epochs: Sequence[Counts], number: int) -> Tensor:
    return torch.tensor([epoch[number] for epoch in epochs], dtype=torch.float64).sum(0)


def _fall(first: Tensor, last: Tensor) -> tuple[float, float] | None:
    """Share of its loss that a picture lost between two sums of counts [LEVELS, 3], and that share's standard error."""
    both = (first[:, 0] > 1) & (last[:, 0] > 1)
    if not bool(both.any()) or min(float(part[both, 0].sum()) for part in (first, last)) < FEWEST_SAMPLES:
        return None
    (before, before_error), (after, after_error) = (_mean(part[both]) for part in (first, last))
    ratio = after / before
    return 1.0 - ratio, ratio * ((before_error / before) ** 2 + (after_error / after) ** 2) ** 0.5


def _mean(counts: Tensor) -> tuple[float, float]:
    """Mean over levels of the mean loss of each, and its standard error."""
    samples, sums, squares = counts.unbind(1)
    means = sums / samples
    variances = (squares / samples - means.square()).clamp(min=0.0) / (samples - 1)
    return max(float(means.mean()), 1e-12), float(variances.sum().sqrt()) / len(counts)
