"""Pictures, what backends say of them, and what a backend is. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from services.chassis.errors import DomainError
from services.chassis.requests.keys import digest

OBJECT = "object"
"""The category of nouns for what a picture shows; subjects are suggested out of it."""
KIND = "kind"
"""The category of what a noun's thing is more exactly: the corgi of `dog`."""


@dataclass(frozen=True)
class Picture:
    """A decoded picture.

    rgb: uint8 (height, width, 3), upright, in sRGB, transparency on white; it may be smaller than the original, never
    below 768 pixels on the shorter side unless the original is. alpha: uint8 (height, width), None when the picture is
    opaque. width, height: of the original in pixels, upright.
    """

    rgb: npt.NDArray[np.uint8]
    alpha: npt.NDArray[np.uint8] | None
    width: int
    height: int

    def part(self, box: tuple[float, float, float, float] | None) -> Picture:
        """What lies in a box of shares (left, top, right, bottom), a pixel at least; all of it for None."""
        if box is None:
            return self
        height, width = self.rgb.shape[:2]
        x, y = min(round(box[0] * width), width - 1), min(round(box[1] * height), height - 1)
        cut = slice(y, max(round(box[3] * height), y + 1)), slice(x, max(round(box[2] * width), x + 1))
        across, down = round((box[2] - box[0]) * self.width), round((box[3] - box[1]) * self.height)
        return Picture(self.rgb[cut], None if self.alpha is None else self.alpha[cut], max(across, 1), max(down, 1))


@dataclass(frozen=True)
class Category:
    """A group of labels. threshold: scores below it are dropped by default. exclusive: only the best label counts.

    takes_threshold: a request's one threshold is for it; others keep their own, so that asking for more of what a
    picture shows adds no rating and no colour.
    """

    name: str
    threshold: float
    exclusive: bool = False
    adaptive_floor: float = 0.0
    """The least threshold that MCut may choose."""
    takes_threshold: bool = True

    @property
    def on_request(self) -> bool:
        """Whether it is given only to a request that sets its threshold."""
        return self.threshold >= 1.0


class Kind(StrEnum):
    """What a backend writes."""

    TAGS = "tags"
    CAPTIONS = "captions"


@dataclass(frozen=True)
class TaggerInfo:
    """What a backend says of itself. Its name is `taggers/{id}`.

    domain: the kind of pictures it knows; outside it it stays silent. model_sha256: "" where nothing was learnt.
    batch_size: how many pictures it likes at once. measures_only: True when nothing was learnt. model: of a captioner,
    as its server names it. fault: why it cannot be used; "" for one that works. revision: raised when its scores change
    although its weights do not. parts: fingerprints of those that it is made of.
    """

    id: str
    display_name: str
    description: str
    domain: str
    vocabulary: tuple[str, ...]
    categories: tuple[Category, ...]
    model_sha256: str
    device: str
    batch_size: int = 1
    measures_only: bool = False
    kind: Kind = Kind.TAGS
    model: str = ""
    fault: str = ""
    revision: int = 2
    """2: only what lies inside bars is scored."""
    parts: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Resource name."""
        return f"taggers/{self.id}"

    @property
    def fingerprint(self) -> str:
        """Equal for backends that give a picture the same scores: 64 hex digits."""
        return digest(self.id, self.model_sha256, self.revision, self.parts)


@dataclass(frozen=True)
class Score:
    """A label with its raw score, 0 to 1, and the backend that gave it. measured: computed, not predicted.

    broader: wider nouns that it counts for as well, the nearest first.
    """

    label: str
    category: str
    score: float
    measured: bool
    tagger: str
    model_sha256: str = ""
    broader: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scores:
    """All raw scores of one picture, or why there are none. outside_domain: the backend does not know such pictures."""

    scores: tuple[Score, ...] = ()
    error: DomainError | None = None
    outside_domain: bool = False
