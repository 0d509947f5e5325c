"""Draws what a job did: the contact sheet (epochs × previews beside the training pictures) and the loss curve."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from PIL import Image, ImageDraw

from gateway.cli.letters import length, wrapped, write

CELL = 192
GAP = 10
MARGIN = 24
LABEL_WIDTH = 150
HEADER_HEIGHT = 64
TITLE_HEIGHT = 48
INK, PALE, _ACCENT, PAPER = "#1c1c1c", "#6b6b6b", "#b3261e", "#ffffff"
_MAX_TRAINING_COLUMNS = 3


@dataclass(frozen=True)
class SheetRow:
    """One row: previews as encoded pictures, in the order of the prompts."""

    label: str
    detail: str
    previews: Sequence[bytes]
    highlighted: bool = False


@dataclass(frozen=True)
class LossPoint:
    """A measured loss. step: optimizer step."""

    step: int
    value: float


@dataclass(frozen=True)
class EpochMark:
    """The end of an epoch on the loss curve. held_out: loss on held-out photos, where measured."""

    epoch: int
    step: int
    loss: float
    held_out: float | None
    recommended: bool


def contact_sheet(
    title: str, training: Sequence[bytes], prompts: Sequence[str], rows: Sequence[SheetRow]
) -> Image.Image:
    """One picture of everything: training pictures at the left, a row per epoch at the right, prompts above.

    training, previews: encoded pictures of any size; they are scaled to cells of 192 pixels.
    """
    columns = max(1, len(prompts))
    grid_height = HEADER_HEIGHT + max(1, len(rows)) * (CELL + GAP)
    per_column = max(1, (grid_height - HEADER_HEIGHT) // (CELL + GAP))
    training_columns = min(_MAX_TRAINING_COLUMNS, -(-len(training) // per_column)) if training else 0
    left = MARGIN + training_columns * (CELL + GAP) + (GAP * 2 if training else 0)
    width = max(left + LABEL_WIDTH + columns * (CELL + GAP), MARGIN + ceil(length(title, 24))) + MARGIN
    sheet = Image.new("RGB", (width, MARGIN + TITLE_HEIGHT + grid_height + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    write(draw, (MARGIN, MARGIN), title, size=24, fill=INK)
    top = MARGIN + TITLE_HEIGHT
    _training(sheet, draw, training[: training_columns * per_column], per_column, top)
    for column, prompt in enumerate(prompts):
        text = "\n".join(wrapped(prompt, size=14, width=CELL, most=3))
        write(draw, (left + LABEL_WIDTH + column * (CELL + GAP), top), text, size=14, fill=PALE)
    for number, row in enumerate(rows):
        _row(sheet, draw, row, left, top + HEADER_HEIGHT + number * (CELL + GAP))
    return sheet


def loss_chart(title: str, points: Sequence[LossPoint], epochs: Sequence[EpochMark], path: Path) -> None:
    """Writes the loss curve as PNG: every measured point, a running mean, the epochs' ends, the recommended one."""
    # Loaded here, because it takes as long as everything else of the command line together.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = [point.step for point in points]
    values = [point.value for point in points]
    smooth = running_mean(values, max(1, len(values) // 20))
    axes.plot(steps, values, color="#c9d6e8", linewidth=1, label="loss of a step")
    axes.plot(steps, smooth, color="#24527a", linewidth=2, label="running mean")
    held_out = [(mark.step, mark.held_out) for mark in epochs if mark.held_out is not None]
    if held_out:
        axes.plot(*zip(*held_out, strict=True), "o--", color="#b3261e", markersize=5, label="held-out photos")
    for mark in epochs:
        axes.axvline(mark.step, color="#1b7f3b" if mark.recommended else "#dddddd", linewidth=1)
        label = f"epoch {mark.epoch}" + ("\nrecommended" if mark.recommended else "")
        axes.annotate(
            label, (mark.step, 1), xycoords=("data", "axes fraction"), xytext=(-4, -4), textcoords="offset points",
            ha="right", va="top", fontsize=8, color="#1b7f3b" if mark.recommended else "#888888",
        )  # fmt: skip
    axes.set(title=title, xlabel="optimizer step", ylabel="loss")
    axes.grid(axis="y", color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", ncols=3, bbox_to_anchor=(0, -0.24), borderaxespad=0)
    figure.savefig(path, format="png")


def loss_curves(jobs: Mapping[str, Sequence[LossPoint]], path: Path) -> None:
    """Writes the running means of several jobs' losses as one picture, over the thin lines of every point."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for number, (name, points) in enumerate(jobs.items()):
        steps, values = [point.step for point in points], [point.value for point in points]
        colour = f"C{number % 10}"
        axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.3)
        axes.plot(steps, running_mean(values, max(1, len(values) // 20)), color=colour, linewidth=2, label=name)
    axes.set(xlabel="optimizer step", ylabel="loss, running mean")
    axes.grid(axis="y", color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def running_mean(values: Sequence[float], half_width: int) -> list[float]:
    """Mean over `half_width` values to either side, fewer at the ends."""
    means = []
    for index in range(len(values)):
        window = values[max(0, index - half_width) : index + half_width + 1]
        means.append(sum(window) / len(window))
    return means


def _training(sheet: Image.Image, draw: ImageDraw.ImageDraw, pictures: Sequence[bytes], rows: int, top: int) -> None:
    if pictures:
        write(draw, (MARGIN, top), "training pictures", size=14, fill=PALE)
    for index, data in enumerate(pictures):
        column, row = divmod(index, rows)
        paste(sheet, data, MARGIN + column * (CELL + GAP), top + HEADER_HEIGHT + row * (CELL + GAP))


def _row(sheet: Image.Image, draw: ImageDraw.ImageDraw, row: SheetRow, left: int, top: int) -> None:
    ink = _ACCENT if row.highlighted else INK
    label = "\n".join(wrapped(row.label, size=18, width=LABEL_WIDTH - GAP, most=2))
    write(draw, (left, top + CELL // 2 - 24 * (1 + label.count("\n"))), label, size=18, fill=ink)
    detail = "\n".join(wrapped(row.detail, size=13, width=LABEL_WIDTH - GAP, most=4))
    write(draw, (left, top + CELL // 2 + 2), detail, size=13, fill=ink if row.highlighted else PALE)
    for column, data in enumerate(row.previews):
        x = left + LABEL_WIDTH + column * (CELL + GAP)
        paste(sheet, data, x, top)
        if row.highlighted:
            draw.rectangle((x - 3, top - 3, x + CELL + 2, top + CELL + 2), outline=_ACCENT, width=3)


def paste(sheet: Image.Image, data: bytes, x: int, y: int) -> tuple[int, int, int, int]:
    """Puts a picture into a cell, whole, in the middle; the place that it fills: left, top, right, bottom."""
    with Image.open(io.BytesIO(data)) as encoded:
        picture = encoded.convert("RGB")
    scale = min(CELL / picture.width, CELL / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS)
    left, top = x + (CELL - size[0]) // 2, y + (CELL - size[1]) // 2
    sheet.paste(picture, (left, top))
    return left, top, left + size[0], top + size[1]


def blank() -> bytes:
    """An empty cell."""
    buffer = io.BytesIO()
    Image.new("RGB", (CELL, CELL), "#f2f2f2").save(buffer, "PNG")
    return buffer.getvalue()
