"""Where something is written in a picture: by the detector of PP-OCRv4, which reads nothing.

The network says for each pixel whether it lies in the core of a line of text (differentiable binarization, Liao et al.
2020). A core is thinner than its line, so a box grows by as much as the core is high.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.tagger.adapters.measurements import reduced
from services.tagger.adapters.onnx_model import Floats, OnnxModel, runtime_installed
from services.tagger.models.pictures import Picture

WEIGHTS = Path(__file__).parents[1] / "weights" / "pp-ocrv4-det"

Box = tuple[float, float, float, float]

_SIDE = 736
_MULTIPLE = 32
_MEAN = np.array([0.406, 0.456, 0.485], np.float32)
_DEVIATION = np.array([0.225, 0.224, 0.229], np.float32)
# Set on the development set (docs/audit.md).
_CORE = 0.3
_SURE = 0.7
_LEAST_CELLS = 4
_GROWS = 0.9
# A line is filled with its letters, longer than high, and no higher than this share of the shorter side: what is not is
# seldom a line of text, and often the network's idea of a cat's face.
_FILLED, _LONG, _HIGHEST = 0.5, 2.0, 0.2
# Cells of so many pixels are joined to lines: enough to bridge the gap between two words.
_CELL = 4
_MOST = 50


class PpOcrTextFinder:
    """A TextFinder around such a folder. threads: how many cores one look may use."""

    def __init__(self, folder: Path = WEIGHTS, *, threads: int = 1) -> None:
        self._path = folder / "model.onnx"
        self._model = OnnxModel(self._path, threads=threads)

    def available(self) -> bool:
        """Whether it can work here."""
        return runtime_installed() and self._path.is_file()

    def find_text(self, picture: Picture) -> list[Box]:
        """See the port."""
        pixels = _as_input(picture.rgb)
        (cores,) = self._model.run(pixels)
        return boxes_of(cores[0, 0])


def boxes_of(cores: Floats) -> list[Box]:
    """The boxes about all lines, the largest first, as shares of the picture. cores: (rows, columns) in 0 to 1."""
    rows, columns = cores.shape[0] // _CELL, cores.shape[1] // _CELL
    cells = cores[: rows * _CELL, : columns * _CELL].reshape(rows, _CELL, columns, _CELL).max(axis=(1, 3))
    boxes = []
    for members in _joined(cells >= _CORE):
        down, across = members[:, 0], members[:, 1]
        if len(members) < _LEAST_CELLS or float(cells[down, across].max()) < _SURE:
            continue
        left, top, right, bottom = across.min(), down.min(), across.max() + 1, down.max() + 1
        high, long = sorted((bottom - top, right - left))
        if long < _LONG * high or len(members) < _FILLED * high * long or high > _HIGHEST * min(rows, columns):
            continue
        grown = _GROWS * high
        boxes.append(
            (
                float(max(0.0, (left - grown) / columns)),
                float(max(0.0, (top - grown) / rows)),
                float(min(1.0, (right + grown) / columns)),
                float(min(1.0, (bottom + grown) / rows)),
            )
        )
    boxes.sort(key=lambda box: -(box[2] - box[0]) * (box[3] - box[1]))
    return boxes[:_MOST]


def _as_input(rgb: npt.NDArray[np.uint8]) -> Floats:
    small = reduced(rgb, _SIDE)
    sides = [max(_MULTIPLE, round(side / _MULTIPLE) * _MULTIPLE) for side in small.shape[1::-1]]
    fitted = np.asarray(Image.fromarray(small).resize((sides[0], sides[1]), Image.Resampling.BICUBIC), np.float32)
    normal = (fitted[..., ::-1] / 255 - _MEAN) / _DEVIATION
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], np.float32)


def _joined(on: npt.NDArray[np.bool_]) -> Iterator[npt.NDArray[np.intp]]:
    """The groups of neighbouring cells that are on, diagonals and a gap of one cell included: (cells, 2), row and
    column."""
    left = {(int(row), int(column)) for row, column in np.argwhere(on)}
    while left:
        todo = [left.pop()]
        group = []
        while todo:
            row, column = todo.pop()
            group.append((row, column))
            for near in [(row + y, column + x) for y in (-1, 0, 1) for x in (-2, -1, 0, 1, 2)]:
                if near in left:
                    left.remove(near)
                    todo.append(near)
        yield np.array(group, np.intp)
