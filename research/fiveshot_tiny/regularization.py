"""Regularisation pictures that ship beside the weights: scenes of the base's own world, with captions.

Fine-tuning mixes them into its batches, so that a LoRA learns its subject and leaves the rest as it was. They are
drawn, not sampled from the base: what is kept then is what the base should know, not its mistakes.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from research.fiveshot_tiny.config import Size
from research.fiveshot_tiny.scenes.compose import draw_scenes

SEED = 41
COUNT = 192


def write_regularization(folder: Path, size: Size) -> None:
    """Writes `regularization.safetensors`: tensor `pictures` (uint8, n x h x w x 3), metadata `captions` (JSON)."""
    pictures, captions = draw_scenes(COUNT, seed=SEED, size=size.resolution)
    path = folder / "regularization.safetensors"
    save_file(
        {"pictures": torch.from_numpy(pictures).contiguous()},
        path,
        metadata={"captions": json.dumps(captions)},
    )
