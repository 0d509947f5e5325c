"""What a model family must be able to do; the train loop, previews, export and evaluation know nothing else of it.

A family owns the loaded modules of one base model. Pixels are float32 [B, 3, H, W] in -1..1, latents [B, C, h, w] are
scaled as the denoiser expects them, text conditioning is a dict of tensors with the batch first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from services.trainer.engine.schedules import NoiseSchedule

Conditioning = dict[str, Tensor]


class Posterior(NamedTuple):
    """The autoencoder's answer for a picture: mean and standard deviation of its latent, [B, C, h, w] each."""

    mean: Tensor
    std: Tensor


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """Pictures to sample in one batch; ``prompts`` and ``seeds`` have one entry a picture."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    negative_prompt: str
    width: int
    height: int
    steps: int
    guidance: float


class Family(Protocol):
    """One loaded base model.

    Life cycle: built by ``families.load_family``; its weights are frozen and on ``device``; adapters are injected into
    ``components`` by ``adapters.add_adapters``; nothing needs closing.
    """

    name: ClassVar[str]
    denoiser_name: ClassVar[str]
    """Which of the components predicts the noise."""
    kohya_keys: ClassVar[bool]
    """Whether other tools read this family's LoRA under kohya's names; if not, only the diffusers form is written."""
    device: torch.device
    pixel_multiple: int
    """Sides of a picture must be multiples of it."""
    latent_factor: int
    """Pixels of a picture's side per latent."""

    @property
    def schedule(self) -> NoiseSchedule:
        """Noise levels that the model was trained with."""
        ...

    @property
    def components(self) -> Mapping[str, nn.Module]:
        """What may carry an adapter, by the name it has in a diffusers LoRA file; the denoiser first."""
        ...

    def encode_pixels(self, pixels: Tensor) -> Posterior:
        """The scaled posterior of pictures."""
        ...

    def decode_latents(self, latents: Tensor) -> list[Image.Image]:
        """RGB pictures of scaled latents."""
        ...

    def token_ids(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Padded token ids of each caption by tokenizer, int64 [B, length] on the device."""
        ...

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        """Text conditioning of token ids; with gradients when a text encoder carries an adapter.

        Never waits for the device, so that a step with a trained text encoder can be recorded.
        """
        ...

    def encode_text(self, captions: Sequence[str]) -> Conditioning:
        """Text conditioning of each caption."""
        ...

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's answer, of the shape of ``noisy``."""
        ...

    def targets(self, component: str, preset: str) -> list[str]:
        """Names of the modules of a component that ``attention``, ``attention_ff`` or ``all`` gives an adapter."""
        ...

    def kohya_name(self, component: str, module: str) -> str:
        """The key, without its ending, under which kohya-style readers look for a module's LoRA."""
        ...

    def pipeline(self, **replaced: nn.Module) -> Any:
        """A diffusers pipeline over the live modules, some replaced; sharing weights, so it costs no memory."""
        ...

    def with_components(self, components: Mapping[str, nn.Module]) -> Family:
        """A shallow copy of the family in which some components are others."""
        ...

    def use_contiguous_layout(self) -> None:
        """Give channels-last up, which convolutions are faster with; for measurements."""
        ...

    def enable_gradient_checkpointing(self) -> None:
        """Trade time for memory in the denoiser's backward pass."""
        ...

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        """Scaled latents sampled with the family's fast solver; ``on_step`` gets the solver's step, from 1."""
        ...
