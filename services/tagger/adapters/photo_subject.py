"""Where the subject of a photograph is: by what excites the photo network, looked at whole and in quarters.

The network's evidence for its classes (class activation maps, Zhou et al. 2016) spreads far over the classes where
something is recognised, and little over a plain ground. A quarter of the picture at the network's full size shows where
a thing ends twice as finely as the whole does; but shown an empty quarter the network sees something in it all the
same, so the whole decides where there is anything at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.tagger.adapters.measurements import reduced
from services.tagger.adapters.onnx_model import Floats, OnnxModel
from services.tagger.adapters.photo_views import SIDE, as_input

Box = tuple[float, float, float, float]

_WORKING_SIDE = 1024
_GRID = 36
# Set on the development set (docs/crops.md): from this share of the peak on a place belongs to the subject, and so much
# of the picture's side is added to what belongs to it.
_EXCITED = 0.15
_MARGIN = 0.08
# Of the whole's excitement: this share of the places is surely empty, and this part of what is above them is enough.
_EMPTY = 30
_ENOUGH = 1 / 8
# As many as a picture's tags take.
_AT_ONCE = 3
_QUARTERS = ((0, 0), (1, 0), (0, 1), (1, 1))


def find_subject(model: OnnxModel, rgb: npt.NDArray[np.uint8]) -> Box | None:
    """Left, top, right, bottom of what stands out, with a margin, as shares of the picture; None where nothing does.

    rgb: uint8 (height, width, 3), without bars.
    """
    image = Image.fromarray(reduced(rgb, _WORKING_SIDE))
    if min(image.size) < 2:
        return None
    squeezed = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, reducing_gap=2)
    looks = [squeezed, *(_quarter(image, across, down) for across, down in _QUARTERS)]
    whole, *quarters = evidence_of(model, looks).std(axis=1)
    return box_of(above_the_ground(_joined(quarters)) * something(finer(whole, _GRID)))


def evidence_of(model: OnnxModel, looks: Sequence[Image.Image]) -> Floats:
    """What speaks for each class at each place of each look: (n, classes, rows, columns).

    A few looks at a time: together they take as much longer as there are more of them, and as much more memory.
    """
    parts = [looks[first : first + _AT_ONCE] for first in range(0, len(looks), _AT_ONCE)]
    return np.concatenate([model.run(as_input(list(part)))[1] for part in parts])


def box_of(excitement: Floats) -> Box | None:
    """The box about all places that are excited enough. excitement: (rows, columns) over the picture."""
    if float(excitement.max()) <= 0:
        return None
    places = excitement >= _EXCITED * excitement.max()
    rows, columns = np.flatnonzero(places.any(axis=1)), np.flatnonzero(places.any(axis=0))
    high, wide = places.shape
    return (
        max(0.0, float(columns[0]) / wide - _MARGIN),
        max(0.0, float(rows[0]) / high - _MARGIN),
        min(1.0, float(columns[-1] + 1) / wide + _MARGIN),
        min(1.0, float(rows[-1] + 1) / high + _MARGIN),
    )


def _quarter(image: Image.Image, across: int, down: int) -> Image.Image:
    width, height = image.width / 2, image.height / 2
    box = (across * width, down * height, (across + 1) * width, (down + 1) * height)
    return image.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=box, reducing_gap=2)


def _joined(quarters: Sequence[Floats]) -> Floats:
    """The four quarters side by side, (36, 36)."""
    half = _GRID // 2
    whole = np.empty((_GRID, _GRID), np.float32)
    for (across, down), each in zip(_QUARTERS, quarters, strict=True):
        whole[down * half : (down + 1) * half, across * half : (across + 1) * half] = finer(each, half)
    return whole


def finer(excitement: Floats, side: int) -> Floats:
    """The excitement in so many rows and columns, interpolated."""
    fine = Image.fromarray(excitement.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(fine, np.float32)


def above_the_ground(excitement: Floats) -> Floats:
    """What exceeds the excitement of half of all places."""
    return np.asarray(np.clip(excitement - np.median(excitement), 0, None), np.float32)


def something(excitement: Floats) -> Floats:
    """1 where the whole picture shows something, down to 0 where it is empty."""
    above = np.clip(excitement - np.percentile(excitement, _EMPTY), 0, None)
    most = float(above.max())
    return np.asarray(np.clip(above / (_ENOUGH * most), 0, 1), np.float32) if most > 0 else above
