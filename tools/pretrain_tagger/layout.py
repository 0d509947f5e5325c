"""Where things stand in a picture, and which facts follow from that. Shared by both renderers."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tools.pretrain_tagger.facts import COUNT_LABELS, NOTHING

_COUNT_WEIGHTS = (0.64, 0.18, 0.18)
# Shares of the picture's side; between small and large lies a gap in which nobody could decide.
_SMALL, _LARGE = (0.3, 0.48), (0.62, 0.9)
# Of three equal columns: a centre within one names the place; near a border between them nothing is drawn.
_PLACES = {"on the left": (0.22, 0.34), "centered": (0.45, 0.55), "on the right": (0.66, 0.78)}


@dataclass(frozen=True)
class Spot:
    """A thing's centre and side as shares of the picture's side."""

    x: float
    y: float
    side: float


@dataclass(frozen=True)
class Layout:
    """Spots with the facts that they make true."""

    spots: tuple[Spot, ...]
    count: str
    size: str
    place: str


def arrange(rng: random.Random) -> Layout:
    """One to three equal spots that do not cover each other. Size and place are facts of a lone thing only."""
    number = rng.choices((1, 2, 3), _COUNT_WEIGHTS)[0]
    if number > 1:
        return Layout(_row(rng, number), COUNT_LABELS[number - 1], NOTHING, NOTHING)
    if rng.random() < 0.5:
        spot = Spot(0.5 + rng.uniform(-0.03, 0.03), 0.5 + rng.uniform(-0.03, 0.04), rng.uniform(*_LARGE))
        return Layout((spot,), COUNT_LABELS[0], "large", NOTHING)
    place = rng.choice(list(_PLACES))
    spot = Spot(rng.uniform(*_PLACES[place]), rng.uniform(0.35, 0.68), rng.uniform(*_SMALL))
    return Layout((spot,), COUNT_LABELS[0], "small", place)


def _row(rng: random.Random, number: int) -> tuple[Spot, ...]:
    """Things side by side, or three in a triangle."""
    if number == 3 and rng.random() < 0.4:
        side = rng.uniform(0.34, 0.42)
        centres = [(0.27, 0.7), (0.73, 0.7), (0.5, 0.28)]
    else:
        side = rng.uniform(0.72, 0.94) / number
        centres = [((i + 0.5) / number, 0.5) for i in range(number)]
    shake = 0.02
    return tuple(
        Spot(x + rng.uniform(-shake, shake), y + rng.uniform(-shake, shake) * 3, side * rng.uniform(0.92, 1.0))
        for x, y in centres
    )
