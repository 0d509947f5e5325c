"""The loss of a batch, sample by sample, so that weights, masks and accumulation stay exact."""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor


def per_sample_loss(prediction: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
    """Mean squared error of each sample in float32.

    Args:
        prediction, target: [B, C, h, w].
        mask: weights [B, 1, h, w] with mean 1, or None.

    Returns:
        [B].
    """
    squared = functional.mse_loss(prediction.float(), target.float(), reduction="none")
    if mask is not None:
        squared = squared * mask
    return squared.mean(dim=list(range(1, squared.dim())))


def batch_loss(losses: Tensor, weights: Tensor, samples_in_step: Tensor) -> Tensor:
    """Share of one forward pass in the loss of its optimizer step.

    Dividing by the samples of the *step* makes accumulated gradients equal to those of one large batch, also when the
    last batch of a bucket is smaller.

    Args:
        losses, weights: [B].
        samples_in_step: samples over all forward passes and processes of the step, a scalar.
    """
    return (losses * weights).sum() / samples_in_step


def region_mask(height: int, width: int, region: tuple[float, float, float, float], outside: float) -> Tensor:
    """Loss weights [1, height, width] with mean 1: ``outside`` the region the weight is that share of the inside's.

    Args:
        region: left, top, right, bottom as shares of the latent's width and height.
    """
    left, top, right, bottom = region
    mask = torch.full((1, height, width), outside)
    rows = slice(int(top * height), max(int(top * height) + 1, round(bottom * height)))
    columns = slice(int(left * width), max(int(left * width) + 1, round(right * width)))
    mask[:, rows, columns] = 1.0
    return mask / mask.mean()
