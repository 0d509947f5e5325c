"""Noise levels: how a clean latent is mixed with noise, what the model is asked to predict, and what it weighs.

``DiffusionSchedule`` is DDPM (Ho et al. 2020) with epsilon, v-prediction (Salimans and Ho 2022) or sample targets and
min-SNR weights (Hang et al. 2023). ``FlowSchedule`` is rectified flow as in Stable Diffusion 3 and FLUX.1
(Esser et al. 2024). Positions are numbers in [0, 1): 0 is almost clean, 1 is pure noise.
"""

from __future__ import annotations

from typing import Protocol

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


def draw_positions(count: int, parameters: TrainingParameters, generator: torch.Generator) -> Tensor:
    """Noise levels of one batch, float32 [count].

    ``stratified`` puts one draw into each of ``count`` equal slices, in random order: the mean loss of a small batch
    then varies much less than with independent draws.
    """
    device = generator.device
    if parameters.timestep_sampling == "logit_normal":
        position = torch.sigmoid(torch.randn(count, generator=generator, device=device))
    elif parameters.timestep_sampling == "stratified":
        order = torch.randperm(count, generator=generator, device=device)
        position = (order + torch.rand(1, generator=generator, device=device)) / count
    else:
        position = torch.rand(count, generator=generator, device=device)
    if parameters.timestep_shift > 0.0:
        shift = parameters.timestep_shift
        position = shift * position / (1.0 + (shift - 1.0) * position)
    return position.clamp(max=1.0 - 1e-6)


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

    def timesteps(self, position: Tensor) -> Tensor:
        return (position * len(self._signal)).long()

    def noisy(self, latents: Tensor, noise: Tensor, position: Tensor) -> Tensor:
        signal, sigma = self._scales(position)
        return signal * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, position: Tensor) -> Tensor:
        if self.prediction_type == "epsilon":
            return noise
        if self.prediction_type == "sample":
            return latents
        signal, sigma = self._scales(position)
        return signal * noise - sigma * latents

    def weight(self, position: Tensor, min_snr_gamma: float) -> Tensor:
        if min_snr_gamma == 0.0:
            return torch.ones_like(position)
        signal, sigma = (scale.flatten() for scale in self._scales(position))
        ratio = (signal / sigma.clamp(min=1e-6)) ** 2
        clipped = ratio.clamp(max=min_snr_gamma)
        # The weight is min(SNR, gamma) in x0 space; each prediction type has its own factor to it.
        if self.prediction_type == "epsilon":
            return clipped / ratio.clamp(min=1e-6)
        return clipped / (ratio + 1.0) if self.prediction_type == "v_prediction" else clipped

    def _scales(self, position: Tensor) -> tuple[Tensor, Tensor]:
        step = self.timesteps(position)
        return self._signal[step].view(-1, 1, 1, 1), self._noise[step].view(-1, 1, 1, 1)


class FlowSchedule:
    """Straight lines from data to noise: x = (1 - sigma) data + sigma noise, and the model predicts noise - data.

    A position is sigma itself; its shift towards noise belongs to the drawing of positions.
    """

    prediction_type = ""
    zero_terminal_snr = False

    def timesteps(self, position: Tensor) -> Tensor:
        return position

    def noisy(self, latents: Tensor, noise: Tensor, position: Tensor) -> Tensor:
        sigma = position.view(-1, *[1] * (latents.dim() - 1))
        return (1.0 - sigma) * latents + sigma * noise

    def target(self, latents: Tensor, noise: Tensor, position: Tensor) -> Tensor:
        return noise - latents

    def weight(self, position: Tensor, min_snr_gamma: float) -> Tensor:
        return torch.ones_like(position)
