"""What a person looks at: the contact sheet (epochs by previews beside the training pictures) and the loss plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

GAP = 6
LABEL_WIDTH = 92
SMALLEST_CELL = 128
PAPER = (255, 255, 255)
INK = (40, 40, 40)


def contact_sheet(training: Sequence[Image.Image], rows: Sequence[tuple[str, Sequence[Path]]], path: Path) -> None:
    """Draw the training pictures on top, then one labelled row of previews each, and write a PNG.

    Args:
        training: RGB pictures; at most two rows' worth are shown.
        rows: label (``base``, ``epoch 1``, …) of one line or more, and preview files, equally many in each row.
    """
    columns = max((len(files) for _, files in rows), default=3)
    cell = max(SMALLEST_CELL, _side(rows))
    shown = list(training)[: 2 * columns]
    photo_rows = -(-len(shown) // columns)
    width = LABEL_WIDTH + columns * (cell + GAP) + GAP
    sheet = Image.new("RGB", (width, (photo_rows + len(rows)) * (cell + GAP) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=14)
    for number, photo in enumerate(shown):
        row, column = divmod(number, columns)
        if column == 0 and row == 0:
            draw.text((GAP, GAP + cell // 2), "training", INK, font)
        sheet.paste(_fitted(photo, cell), _corner(row, column, cell))
    for row, (label, files) in enumerate(rows, photo_rows):
        draw.multiline_text((GAP, GAP + row * (cell + GAP) + cell // 2), label, INK, font, anchor="lm")
        for column, file in enumerate(files):
            with Image.open(file) as preview:
                sheet.paste(_fitted(preview.convert("RGB"), cell), _corner(row, column, cell))
    _save(sheet, path)


def loss_plot(losses: Sequence[float], steps_per_epoch: int, path: Path) -> None:
    """Draw the loss of every step, its running mean, and where epochs end, and write a PNG."""
    # Not with the module: helper processes and a worker that waits for its first job draw nothing.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), dpi=110)
    FigureCanvasAgg(figure)
    # A layout that matplotlib works out draws everything twice.
    axes = figure.add_axes((0.1, 0.115, 0.87, 0.835))
    steps = numpy.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color="#b8c7d9", linewidth=0.8, label="loss of a step")
    axes.plot(steps, running_mean(losses, max(1, steps_per_epoch // 3)), color="#1f5fa8", label="running mean")
    for end in range(steps_per_epoch, len(losses) + 1, steps_per_epoch):
        axes.axvline(end, color="#dddddd", linewidth=0.8, zorder=0)
        axes.annotate(
            f"epoch {end // steps_per_epoch}",
            (end, 1),
            xycoords=("data", "axes fraction"),
            fontsize=7,
            rotation=90,
            ha="right",
            va="top",
            color="#777777",
        )
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    axes.set_xlim(1, max(2, len(losses)))
    axes.legend(frameon=False)
    partial = path.with_suffix(".partial")
    figure.savefig(partial, format="png")
    partial.replace(path)


def running_mean(values: Sequence[float], window: int) -> NDArray[numpy.float64]:
    """Mean of each value and up to ``window - 1`` before it; as long as ``values``."""
    sums = numpy.cumsum(numpy.asarray(values, dtype=float))
    shifted = numpy.concatenate([numpy.zeros(min(window, len(values))), sums[:-window]])
    mean: NDArray[numpy.float64] = (sums - shifted) / numpy.minimum(numpy.arange(1, len(values) + 1), window)
    return mean


def _side(rows: Sequence[tuple[str, Sequence[Path]]]) -> int:
    for _, files in rows:
        for file in files:
            with Image.open(file) as preview:
                return min(256, preview.width)
    return SMALLEST_CELL


def _corner(row: int, column: int, cell: int) -> tuple[int, int]:
    return LABEL_WIDTH + column * (cell + GAP), GAP + row * (cell + GAP)


def _fitted(picture: Image.Image, cell: int) -> Image.Image:
    """The picture inside a square cell, whole, on white."""
    scale = cell / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    square = Image.new("RGB", (cell, cell), PAPER)
    square.paste(picture.resize(size, Image.Resampling.LANCZOS), ((cell - size[0]) // 2, (cell - size[1]) // 2))
    return square


def _save(image: Image.Image, path: Path) -> None:
    partial = path.with_suffix(".partial")
    image.save(partial, format="PNG")
    partial.replace(path)
