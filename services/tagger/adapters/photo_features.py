"""What the photo network sees of a picture and where, small enough to keep: photos of one burst have nearly the same.

The sixteenth of its blocks still knows the place of a thing as well as its form; its 208 planes are turned onto the 32
directions in which photographs differ most (research/photo_tagger). The end of the network, which knows what a thing
is, would find any two photos of one dog alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.tagger.adapters.measurements import reduced
from services.tagger.adapters.onnx_model import Floats, OnnxModel
from services.tagger.adapters.photo_views import SIDE, as_input

PLACES = 5
_WORKING_SIDE = 1024
_MOST = 127


def find_features(model: OnnxModel, rgb: npt.NDArray[np.uint8]) -> bytes:
    """5 × 5 places, row by row, 32 signed bytes each; nothing of a picture without anything.

    rgb: uint8 (height, width, 3), without bars.
    """
    image = Image.fromarray(reduced(rgb, _WORKING_SIDE))
    squeezed = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2)
    features = model.run(as_input([squeezed]))[2][0]
    return kept(features)


def kept(features: Floats) -> bytes:
    """features: (32, rows, columns) over the picture. Their means over 5 × 5 places, the largest number as 127."""
    down, across = (_shares(side) for side in features.shape[1:])
    places = np.einsum("ir,crk,jk->ijc", down, features, across)
    most = float(np.abs(places).max())
    return np.rint(places * (_MOST / most)).astype(np.int8).tobytes() if most > 0 else b""


def _shares(side: int) -> Floats:
    """How much of each place each of so many rows makes up: (5, side), rows that lie across a border in parts."""
    edges = np.linspace(0, side, PLACES + 1)
    rows = np.arange(side)
    inside = np.minimum(rows + 1, edges[1:, None]) - np.maximum(rows, edges[:-1, None])
    return np.asarray(np.clip(inside, 0, 1) * (PLACES / side), np.float32)
