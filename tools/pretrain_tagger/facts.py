"""What the tagger can say: for each question the possible answers. The first answer is always silence."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.demo_pictures.backgrounds import COLOURS, KINDS
from research.fiveshot_tiny.scenes.characters import CHARACTERS
from research.fiveshot_tiny.scenes.sprites import OBJECTS, SHAPES

NOTHING = ""
SIDE = 64
"""Pixels of the network's square input."""

NOUNS: tuple[str, ...] = (*OBJECTS, *SHAPES, *CHARACTERS)
COLOURED: frozenset[str] = frozenset((*SHAPES, *CHARACTERS))
"""Things that are drawn in any colour, so that their colour is worth saying."""

BACKGROUND_LABELS: dict[str, str] = {
    **{name: f"{name} background" for name in COLOURS},
    "gradient": "gradient background",
    "stripes": "striped background",
    "dots": "dotted background",
    **{name: name for name in KINDS if name not in ("plain", "gradient", "stripes", "dots")},
}
COUNT_LABELS = ("one", "two", "three")

QUESTIONS: dict[str, tuple[str, ...]] = {
    "object": (NOTHING, *NOUNS),
    "count": (NOTHING, *COUNT_LABELS),
    "colour": (NOTHING, *COLOURS),
    "background": (NOTHING, *BACKGROUND_LABELS.values()),
    "size": (NOTHING, "small", "large"),
    "place": (NOTHING, "on the left", "centered", "on the right"),
}


@dataclass(frozen=True)
class Facts:
    """The right answers for one picture. inside: it belongs to the drawn world; outside it only silence is right."""

    object: str = NOTHING
    count: str = NOTHING
    colour: str = NOTHING
    background: str = NOTHING
    size: str = NOTHING
    place: str = NOTHING
    inside: bool = True

    def indices(self) -> list[int]:
        """The place of each answer in QUESTIONS, in their order."""
        return [answers.index(getattr(self, question)) for question, answers in QUESTIONS.items()]
