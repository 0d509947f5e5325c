"""A step whose forward passes do not fit into the device's memory is done anew in smaller parts.

Every draw of a step follows from (seed, step), and ``losses.batch_loss`` divides by the samples of the whole step, so
that the parts' losses and gradients add up to those of the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from services.trainer.engine.conditioning import TextConditioner
from services.trainer.engine.job import Notice
from services.trainer.engine.passes import PassInputs
from services.trainer.engine.step import Step


def smaller(micro_batch: int, largest_pass: int) -> int | None:
    """Samples of a part to try next; None when parts are single samples already.

    Args:
        micro_batch: samples of a part that was too large, 0 where passes were whole.
        largest_pass: samples of the step's largest pass.
    """
    size = min(micro_batch or largest_pass, largest_pass)
    return -(-size // 2) if size > 1 else None


def parts_of(
    inputs: PassInputs,
    captions: Sequence[str],
    conditioner: TextConditioner,
    micro_batch: int,
    preserved: Sequence[str] = (),
) -> list[PassInputs]:
    """A pass in parts of ``micro_batch`` samples at most; 0 leaves it whole. preserved: see ``batches``."""
    count = len(captions)
    if not micro_batch or count <= micro_batch:
        return [inputs]
    return [
        replace(
            inputs,
            latents=inputs.latents[rows],
            noise=inputs.noise[rows],
            level=inputs.level[rows],
            weights=inputs.weights[rows],
            text=conditioner.inputs(captions[rows]),
            mask=None if inputs.mask is None else inputs.mask[rows],
            kept_text=conditioner.inputs(preserved[rows]) if preserved else {},
            kept_weights=None if inputs.kept_weights is None else inputs.kept_weights[rows],
        )
        for rows in (slice(first, first + micro_batch) for first in range(0, count, micro_batch))
    ]


def accumulate(step: Step, parts: Sequence[PassInputs]) -> tuple[Tensor, Tensor]:
    """Add the gradients of a pass; returns its share in the step's loss and its samples' losses [B]."""
    if len(parts) == 1:
        return step.accumulate(parts[0]), step.sample_losses
    shares, losses = [], []
    for part in parts:
        shares.append(step.accumulate(part))
        losses.append(step.sample_losses)
    return torch.stack(shares).sum(), torch.cat(losses)


def in_parts(micro_batch: int) -> Notice:
    """What the user is told."""
    pictures = "single pictures" if micro_batch == 1 else f"parts of {micro_batch} pictures"
    return Notice(
        f"The device has too little memory for a whole batch, so each one is computed in {pictures}; "
        "batch size and steps stay the same."
    )
