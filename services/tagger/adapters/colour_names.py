"""Names for colours, by perceptual lightness, chroma and hue (OKLab, Björn Ottosson 2020)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

COLOUR_NAMES = (
    "black", "gray", "white", "red", "orange", "brown", "yellow", "beige", "green", "teal", "blue", "purple", "pink",
)  # fmt: skip

_TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]], np.float32,
)  # fmt: skip
_TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]], np.float32,
)  # fmt: skip

# Hue in degrees where each name ends; measured on the sRGB circle at full chroma.
_HUES = ((14, "pink"), (46, "red"), (80, "orange"), (114, "yellow"), (168, "green"), (222, "teal"), (285, "blue"),
         (332, "purple"), (361, "pink"))  # fmt: skip
# Below this chroma an eye sees no hue; a little more is allowed where it is dark or nearly white.
_GREY_CHROMA = 0.038


def to_oklab(rgb: npt.NDArray[np.uint8]) -> Floats:
    """sRGB, uint8 (..., 3), to OKLab, float32 (..., 3): lightness 0 to 1, then green-red and blue-yellow."""
    value = rgb.astype(np.float32) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.asarray(np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T, np.float32)


def chroma(lab: Floats) -> Floats:
    """How far from grey: 0 for greys, about 0.3 for the purest screen colours."""
    return np.hypot(lab[..., 1], lab[..., 2])


def name_indices(lab: Floats, *, shaded: bool = False) -> npt.NDArray[np.int64]:
    """The index in COLOUR_NAMES of every colour of an OKLab array (..., 3), -1 where no name is sure.

    shaded: in a photograph a light grey is as often white in the shade as it is grey; it then gets no name.
    """
    lightness, colourfulness = lab[..., 0], chroma(lab)
    hue = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])) % 360
    ends = np.array([end for end, _ in _HUES])
    hue_names = np.array([COLOUR_NAMES.index(name) for _, name in _HUES])
    named = hue_names[np.searchsorted(ends, hue, side="right")]

    def fits(name: str) -> npt.NDArray[np.bool_]:
        return np.asarray(named == COLOUR_NAMES.index(name), np.bool_)

    # Brown, pink, beige and olive are no hues of their own but dark, pale or muted forms of others.
    dark_orange = (fits("orange") | fits("yellow") & (hue < 96)) & (lightness < 0.6)
    muted_red = fits("red") & (hue >= 32) & (lightness < 0.6) & (colourfulness < 0.13)
    muted_orange = (hue >= 32) & (hue < 105) & (colourfulness < 0.095) & (lightness < 0.72)
    new = np.select(
        [
            muted_orange | dark_orange | muted_red,
            fits("red") & (lightness > 0.72) & (hue < 37),
            fits("red") & (lightness > 0.7),
            (hue >= 45) & (hue < 112) & (lightness >= 0.72) & (colourfulness < 0.085),
            fits("yellow") & (lightness < 0.65),
            fits("teal") & (hue >= 200) & (lightness > 0.75),
        ],
        [COLOUR_NAMES.index(name) for name in ("brown", "pink", "orange", "beige", "green", "blue")],
        named,
    )

    grey = colourfulness < _GREY_CHROMA
    light_grey = grey & (lightness > 0.6)
    named = np.where(grey, COLOUR_NAMES.index("gray"), new)
    named = np.where(light_grey & shaded, -1, named)
    named = np.where(grey & (lightness > 0.88), COLOUR_NAMES.index("white"), named)
    dark = (lightness < 0.30) & (colourfulness < 0.06) | (lightness < 0.2)
    return np.asarray(np.where(dark, COLOUR_NAMES.index("black"), named), np.int64)
