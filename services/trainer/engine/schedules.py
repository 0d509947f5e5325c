"""Noise levels: how a clean latent is mixed with noise, what the model is asked to predict, and what it weighs.

``DiffusionSchedule`` is DDPM (Ho et al. 2020) with epsilon, v-prediction (Salimans and Ho 2022) or sample targets and
min-SNR weights (Hang et al. 2023). ``FlowSchedule`` is rectified flow as in Stable Diffusion 3 and FLUX.1
(Esser et al. 2024). Positions are numbers in [0, 1): 0 is almost clean, 1 is pure noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from services.trainer.recipe.parameters import TrainingParameters


class NoiseSchedule(Protocol):
    """What the loop needs of a schedule. Tensors have the batch first; ``position`` is float32 [B] in [0, 1).

    Attributes:
        prediction_type: as schedulers call what the model answers; empty for flow matching.
        zero_terminal_snr: at the last level nothing of the picture is left (Lin et al. 2024).
    """

    prediction_type: str
    zero_terminal_snr: bool

    def shift(self, tokens: int) -> float:
        """How far to shift the drawing of positions towards noise for pictures of so many patches; 1 is not at all."""
        ...

    def timesteps(self, position: Tensor) -> Tensor:
        """What the denoiser is told, [B]."""
        ...

    def noisy(self, latents: Tensor, noise: Tensor, position: Tensor) -> Tensor:
        """Latents mixed with noise, of the shape of both."""
        ...

    def target(self, latents: Tensor, noise: Tensor, position: Tensor) -> Tensor:
        """What the denoiser should answer."""
        ...

    def weight(self, position: Tensor, min_snr_gamma: float) -> Tensor:
        """Weight of each sample's loss, [B]."""
        ...


def draw_positions(
    count: int, parameters: TrainingParameters, generator: torch.Generator, by_size: float = 1.0
) -> Tensor:
    """Noise levels of one batch, float32 [count].

    ``stratified`` puts one draw into each of ``count`` equal slices, in random order: the mean loss of a small batch
    then varies much less than with independent draws. ``by_resolution`` is ``logit_normal`` shifted as the model's own
    sampling is.

    Args:
        by_size: the schedule's shift for pictures of this size.
    """
    device = generator.device
    if parameters.timestep_sampling in ("logit_normal", "by_resolution"):
        position = torch.sigmoid(torch.randn(count, generator=generator, device=device))
    elif parameters.timestep_sampling == "stratified":
        order = torch.randperm(count, generator=generator, device=device)
        position = (order + torch.rand(1, generator=generator, device=device)) / count
    else:
        position = torch.rand(count, generator=generator, device=device)
    if parameters.timestep_sampling == "by_resolution":
        position = _shifted(position, by_size)
    if parameters.timestep_shift > 0.0:
        position = _shifted(position, parameters.timestep_shift)
    return position.clamp(max=1.0 - 1e-6)


def _shifted(position: Tensor, shift: float) -> Tensor:
    return shift * position / (1.0 + (shift - 1.0) * position)


def _spread(values: Tensor, like: Tensor) -> Tensor:
    """One value a sample [B], to multiply with tensors of any shape [B, …]."""
    return values.view(-1, *[1] * (like.dim() - 1))


class DiffusionSchedule:
    """DDPM noise levels read from a diffusers scheduler's ``alphas_cumprod``."""

    def __init__(self, alphas_cumprod: Tensor, prediction_type: str, *, zero_terminal_snr: bool = False) -> None:
        """``alphas_cumprod``: float [T], falling. ``prediction_type``: epsilon, v_prediction or sample."""
        if prediction_type not in ("epsilon", "v_prediction", "sample"):
            raise ValueError(f"unknown prediction type {prediction_type!r}")
        self._signal = alphas_cumprod.float().sqrt()
        self._noise = (1.0 - alphas_cumprod.float()).sqrt()
        self.prediction_type = prediction_type
        self.zero_terminal_snr = zero_terminal_snr

    def shift(self, tokens: int) -> float:
        return 1.0

    def timesteps(self, position: Tensor) -> Tensor:
        return (position * len(self._signal)).long()

    def noisy(self, latents: Tensor, noise: Tensor, position: Tensor) -> Tensor:
        signal, sigma = self._scales(position, latents)
        return signal * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, position: Tensor) -> Tensor:
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return latents
        signal, sigma = self._scales(position, latents)
        return signal * noise - sigma * latents

    def weight(self, position: Tensor, min_snr_gamma: float) -> Tensor:
        if min_snr_gamma == 0.0:
            return torch.ones_like(position)
        signal, sigma = self._scales(position, position)
        ratio = (signal / sigma.clamp(min=1e-6)) ** 2
        clipped = ratio.clamp(max=min_snr_gamma)
        # The weight is min(SNR, gamma) in x0 space; each prediction type has its own factor to it.
        if self.prediction_type == "epsilon":
            return clipped / ratio.clamp(min=1e-6)
        return clipped / (ratio + 1.0) if self.prediction_type == "v_prediction" else clipped

    def _scales(self, position: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        step = self.timesteps(position)
        return _spread(self._signal[step], like), _spread(self._noise[step], like)


class FlowSchedule:
    """Straight lines from data to noise: x = (1 - sigma) data + sigma noise, and the model predicts noise - data.

    A position is sigma itself; its shift towards noise belongs to the drawing of positions.
    """

    prediction_type = ""
    zero_terminal_snr = False

    def __init__(self, config: Mapping[str, Any]) -> None:
        """``config``: of the model's scheduler, which says how its sampling shifts with the size of pictures."""
        self._few = (config.get("base_image_seq_len", 256), config.get("base_shift", 0.5))
        self._many = (config.get("max_image_seq_len", 4096), config.get("max_shift", 1.15))

    def shift(self, tokens: int) -> float:
        (few, least), (many, most) = self._few, self._many
        return math.exp(least + (most - least) * (tokens - few) / (many - few))

    def timesteps(self, position: Tensor) -> Tensor:
        return position

    def noisy(self, latents: Tensor, noise: Tensor, position: Tensor) -> Tensor:
        sigma = _spread(position, latents)
        return (1.0 - sigma) * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, position: Tensor) -> Tensor:
        return noise - latents

    def weight(self, position: Tensor, min_snr_gamma: float) -> Tensor:
        return torch.ones_like(position)
