"""The tagger that only measures: the colour of a plain background, and the colours of the subject before it.

It never guesses content. Format, size, exposure and sharpness are facts of the picture, which the dataset service
keeps; they are no words for a caption.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from services.tagger.adapters import measurements
from services.tagger.adapters.colour_names import COLOUR_NAMES, Floats
from services.tagger.models.pictures import Category, Picture, Score, Scores, TaggerInfo

TAGGER_ID = "measured"

# Above this share of equal neighbours a picture is a drawing, whose light grey is no white in the shade.
_DRAWING = 0.5

_CATEGORIES = (Category("colour", measurements.COLOUR_THRESHOLD), Category("background", 0.5))
_VOCABULARY = (*COLOUR_NAMES, "plain background", *(f"{name} background" for name in COLOUR_NAMES))


class MeasuredTagger:
    """A Tagger without a model: every label is computed from the pixels and can be checked by looking."""

    def describe(self) -> TaggerInfo:
        """See the port."""
        return TaggerInfo(
            id=TAGGER_ID,
            display_name="Measured",
            description=(
                "Measures plain backgrounds and the colours of what stands before them. It recognises no objects, "
                "people or places, and is silent where no background can be told from the subject."
            ),
            domain="pictures with a plain or transparent background",
            vocabulary=_VOCABULARY,
            categories=_CATEGORIES,
            model_sha256="",
            device="cpu",
            measures_only=True,
        )

    def available(self) -> bool:
        """Always: it needs nothing but the pixels."""
        return True

    def infer(self, batch: Sequence[Picture]) -> list[Scores]:
        """See the port. The score of a colour is its share of the subject, of a background its share of the border."""
        return [Scores(tuple(_measure(picture))) for picture in batch]


def _measure(picture: Picture) -> Iterator[Score]:
    photograph = measurements.flat_share(picture.rgb) <= _DRAWING
    lab = measurements.to_lab(picture.rgb)
    if picture.alpha is not None:
        yield from _shares(lab, _visible(picture.alpha, lab.shape[:2]), photograph=photograph)
        return
    background = measurements.find_background(lab, photograph=photograph)
    if background is None:
        return
    yield from _shares(lab, ~background.mask, photograph=photograph)
    yield Score("plain background", "background", background.share, True, TAGGER_ID)
    if background.colour:
        yield Score(f"{background.colour} background", "background", background.share, True, TAGGER_ID)


def _shares(lab: Floats, where: measurements.Mask, *, photograph: bool) -> Iterator[Score]:
    for name, share in measurements.colour_shares(lab, where, photograph=photograph).items():
        yield Score(name, "colour", share, True, TAGGER_ID)


def _visible(alpha: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], shape: tuple[int, ...]) -> measurements.Mask:
    """Where the reduced picture is mostly opaque."""
    size = (shape[1], shape[0])
    small = np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BOX))
    return np.asarray(small >= 128, np.bool_)
