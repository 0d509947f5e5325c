"""How often each picture of a job is trained: its repeats, and the share of its dataset where a job trains several.

Weights say how the samples of an epoch are shared: datasets of equal weight get equally many, however many pictures
each has, and together as many as their repeats come to. Inside a dataset the pictures' own repeats decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Protocol, TypeVar

from services.trainer.recipe.parameters import TrainingParameters

PICTURES_FOR_A_HELD_OUT_ONE = 8
MOST_DATASETS = 8
"""Of a job, regularisation pictures included."""

T = TypeVar("T")


class Sampled(Protocol):
    """What decides how often a picture is trained.

    Attributes:
        repeats: its own, which the job's ``num_repeats`` multiplies.
        dataset: number of its dataset, from 0. weight: of that dataset beside the others.
    """

    @property
    def repeats(self) -> int: ...
    @property
    def dataset(self) -> int: ...
    @property
    def weight(self) -> float: ...


def held_out_pictures(pictures: Sequence[Sampled], parameters: TrainingParameters) -> tuple[int, ...]:
    """Numbers of the pictures that are kept out of training: the last of each dataset.

    None where a dataset has too few to spare one: what is measured on the others would say nothing of it.
    """
    counts = Counter(picture.dataset for picture in pictures)
    if not parameters.hold_out or min(counts.values()) < PICTURES_FOR_A_HELD_OUT_ONE:
        return ()
    last = {picture.dataset: number for number, picture in enumerate(pictures)}
    return tuple(sorted(last.values()))


def samples_of(own_repeats: int, parameters: TrainingParameters) -> int:
    """Samples that a picture gives an epoch where a job trains one dataset: its own repeats times the job's."""
    return max(1, own_repeats) * parameters.num_repeats


def samples_of_each(pictures: Sequence[Sampled], parameters: TrainingParameters) -> list[int]:
    """Samples that each picture gives an epoch, 0 where it is held out. Exact and the same everywhere."""
    held_out = held_out_pictures(pictures, parameters)
    samples = [
        0 if number in held_out else samples_of(picture.repeats, parameters) for number, picture in enumerate(pictures)
    ]
    weights = {picture.dataset: Fraction(picture.weight).limit_denominator(10_000) for picture in pictures}
    if len(weights) == 1:
        return samples
    shared = _apportioned(sum(samples), list(weights.values()))
    for dataset, total in zip(weights, shared, strict=True):
        members = [number for number, picture in enumerate(pictures) if picture.dataset == dataset and samples[number]]
        parts = _apportioned(total, [Fraction(samples[number]) for number in members])
        for number, part in zip(members, parts, strict=True):
            samples[number] = part
    return samples


def drawn_samples(pictures: Sequence[Sampled], parameters: TrainingParameters) -> float:
    """Samples of a whole job, regularisation pictures included."""
    of_epoch = sum(samples_of_each(pictures, parameters))
    return of_epoch * parameters.num_epochs * (1.0 + parameters.regularization_fraction)


def in_turns(entries: Sequence[T], dataset_of: Callable[[T], int]) -> list[T]:
    """The entries with the datasets taking turns, each in its own order: the first few then say something of all."""
    seen: Counter[int] = Counter()
    ranked = []
    for entry in entries:
        ranked.append((seen[dataset_of(entry)], entry))
        seen[dataset_of(entry)] += 1
    return [entry for _, entry in sorted(ranked, key=lambda each: each[0])]


def _apportioned(total: int, shares: Sequence[Fraction]) -> list[int]:
    """Whole numbers near the shares of a total, by the largest remainders; each at least 1, so that all is trained."""
    whole = sum(shares)
    quotas = [total * share / whole for share in shares]
    parts = [max(1, int(quota)) for quota in quotas]
    order = sorted(range(len(quotas)), key=lambda number: (int(quotas[number]) - quotas[number], number))
    for number in order[: max(0, total - sum(parts))]:
        parts[number] += 1
    return parts
