"""The tagger that only measures: colours, background, tones, sharpness, size and shape. It never guesses content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from services.tagger.adapters import measurements
from services.tagger.adapters.colour_names import COLOUR_NAMES, Floats
from services.tagger.models import Category, Picture, Score, Scores, TaggerInfo

TAGGER_ID = "measured"

LOW_RESOLUTION_SIDE = 512
HIGH_RESOLUTION_SIDE = 2048

# Above this share of equal neighbours a picture is a drawing, of which exposure and sharpness say nothing.
_DRAWING = 0.5
_CLIPPED = 0.05
_FEW_MIDTONES = 0.15
_FLAT_RANGE = 0.25
_FLAT_SPREAD = 0.08
_HARD_SPREAD = 0.32
# On the test photographs: unblurred 17 and more (0.49), Gaussian blur of 1 pixel 4.5 (0.19), of 2 pixels 2.1 (0.15).
_BLURRED_DETAIL = 2.5
_BLURRED_RELATIVE = 0.16
_SQUARE = 1.05

_CATEGORIES = (
    Category("colour", 0.12),
    Category("background", 0.5),
    Category("tone", 0.5),
    Category("quality", 0.5),
    Category("format", 0.5),
)
_VOCABULARY = (
    *COLOUR_NAMES,
    "plain background", "transparent background", *(f"{name} background" for name in COLOUR_NAMES),
    "greyscale", "underexposed", "overexposed", "low contrast", "high contrast",
    "blurry", "low resolution", "high resolution",
    "portrait orientation", "landscape orientation", "square",
)  # fmt: skip


class MeasuredTagger:
    """A Tagger without a model: every label is computed from the pixels and can be checked by looking."""

    def describe(self) -> TaggerInfo:
        """See the port."""
        return TaggerInfo(
            id=TAGGER_ID,
            display_name="Measured",
            description=(
                "Measures colours, plain and transparent backgrounds, exposure, contrast, blur, resolution and "
                "orientation. It recognises no objects, people or places."
            ),
            domain="any picture",
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
        """See the port. The score of a colour is its share, of a background its share of the border, else 1."""
        return [Scores(tuple(_measure(picture))) for picture in batch]


def _measure(picture: Picture) -> Iterator[Score]:
    drawing = measurements.flat_share(picture.rgb) > _DRAWING
    lab = measurements.to_lab(picture.rgb)
    yield from _colours(picture, lab, photograph=not drawing)
    if measurements.is_greyscale(lab):
        yield _score("greyscale", "tone")
    if not drawing and picture.alpha is None:
        yield from _photographic(picture)
    yield from _format(picture)


def _colours(picture: Picture, lab: Floats, *, photograph: bool) -> Iterator[Score]:
    """Colours of the subject where a background can be told from it, otherwise of the whole picture."""
    everything = np.ones(lab.shape[:2], np.bool_)
    if picture.alpha is not None:
        visible = _visible(picture.alpha, lab.shape[:2])
        yield from _shares(lab, visible, photograph=photograph)
        ring = measurements.ring_mask(lab.shape[:2])
        if (share := float((~visible)[ring].mean())) >= 0.5:
            yield _score("transparent background", "background", share)
        return
    background = measurements.find_background(lab, photograph=photograph)
    if background is None:
        yield from _shares(lab, everything, photograph=photograph)
        return
    yield from _shares(lab, ~background.mask, photograph=photograph)
    yield _score("plain background", "background", background.share)
    if background.colour:
        yield _score(f"{background.colour} background", "background", background.share)


def _shares(lab: Floats, where: measurements.Mask, *, photograph: bool) -> Iterator[Score]:
    for name, share in measurements.colour_shares(lab, where, photograph=photograph).items():
        yield _score(name, "colour", share)


def _photographic(picture: Picture) -> Iterator[Score]:
    """Clipping alone is no fault (a white wall, a night sky); with few midtones as well it is."""
    tones = measurements.measure_tones(picture.rgb)
    if tones.middle < _FEW_MIDTONES and max(tones.dark, tones.bright) > _CLIPPED:
        yield _score("underexposed" if tones.dark > tones.bright else "overexposed", "quality")
    if tones.range < _FLAT_RANGE and tones.spread < _FLAT_SPREAD:
        yield _score("low contrast", "quality")
    elif tones.spread > _HARD_SPREAD:
        yield _score("high contrast", "quality")
    measured = measurements.sharpness(picture.rgb)
    if measured is not None:
        detail, relative = measured
        if detail < _BLURRED_DETAIL and relative < _BLURRED_RELATIVE:
            yield _score("blurry", "quality")


def _format(picture: Picture) -> Iterator[Score]:
    shorter = min(picture.width, picture.height)
    if shorter < LOW_RESOLUTION_SIDE:
        yield _score("low resolution", "quality")
    elif shorter >= HIGH_RESOLUTION_SIDE:
        yield _score("high resolution", "quality")
    if picture.width > picture.height * _SQUARE:
        yield _score("landscape orientation", "format")
    elif picture.height > picture.width * _SQUARE:
        yield _score("portrait orientation", "format")
    else:
        yield _score("square", "format")


def _visible(alpha: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], shape: tuple[int, ...]) -> measurements.Mask:
    """Where the reduced picture is mostly opaque."""
    size = (shape[1], shape[0])
    small = np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BOX))
    return np.asarray(small >= 128, np.bool_)


def _score(label: str, category: str, score: float = 1.0) -> Score:
    return Score(label, category, score, measured=True, tagger=TAGGER_ID)
