"""How alike two pictures look: a perceptual hash of 64 bits, whose distance is small where one is a copy of the other.

pHash (Zauner 2010): the picture in grey at 32 × 32, its cosine transform, and for each of the 8 × 8 lowest frequencies
whether it lies above their median. Scaling, another format and a little light change few bits; a mirror changes most.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

_SIDE, _KEPT = 32, 8
# A wave of this size lightens and darkens the picture by a level or so.
_FORMLESS = 500.0


def perceptual_hash(image: Image.Image) -> str:
    """64 bits in hex, of an upright RGB picture; "" for one without any form, which would look like all others."""
    grey = np.asarray(image.convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    places, waves = np.arange(_SIDE) + 0.5, np.arange(_KEPT)
    cosines = np.cos(np.pi / _SIDE * np.outer(waves, places))
    lowest = (cosines @ grey @ cosines.T).reshape(-1)
    if np.abs(lowest[1:]).max() < _FORMLESS:
        return ""
    # The first is the mean light, which says nothing of the form.
    bits = lowest > np.median(lowest[1:])
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"
