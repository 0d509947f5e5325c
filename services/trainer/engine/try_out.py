"""Pictures on request, as plain data: what to draw, and of what. Knows no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.trainer.recipe.preview_cells import Cell

if TYPE_CHECKING:
    from services.trainer.engine.job import BaseModelFiles


class NotWanted(Exception):
    """Nobody waits for the pictures any more."""


@dataclass(frozen=True, slots=True)
class DrawnPicture:
    """A cell as a PNG. step: optimizer steps that were done, of a job as it stands now; else 0."""

    cell: Cell
    path: Path
    step: int = 0


@dataclass(frozen=True, slots=True)
class TryOut:
    """Pictures to draw. Callbacks are called on the thread that draws.

    Attributes:
        cells: in the order in which they are drawn.
        width, height: pixels. guidance: classifier-free.
        folder: gets ``cell-1.png`` and so on.
        on_pictures: gets pictures as soon as they are written.
        wanted: asked at each solver step; False ends the drawing with NotWanted.
        on_end: of a try-out between the steps of a run, how it ended; None for well.
    """

    cells: tuple[Cell, ...]
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float
    folder: Path
    on_pictures: Callable[[Sequence[DrawnPicture]], None]
    wanted: Callable[[], bool]
    on_end: Callable[[Exception | None], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class TryOutSpec:
    """A try-out of files, without a job.

    Attributes:
        weights: a LoRA in diffusers' form for each source.
        mixed_precision, quantization: as the parameters of a job say them; device, streamed_blocks: as its spec.
    """

    try_out: TryOut
    base_model: BaseModelFiles
    weights: Mapping[str, Path]
    mixed_precision: str
    quantization: str
    device: str
    streamed_blocks: int = 0
