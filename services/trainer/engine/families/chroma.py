"""Chroma: FLUX.1's latents and flow matching, T5 text of which one padding token counts, guidance by two answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers import ChromaPipeline
from torch import Tensor, nn

from services.trainer.engine.families.base import Conditioning, Family, SamplingRequest
from services.trainer.engine.families.flux import pack, positions, unpack
from services.trainer.engine.families.text import LENGTHS, TEXTS, mask_of, trimmed
from services.trainer.engine.precision import checkpointed, on_device
from services.trainer.engine.schedules import FlowSchedule
from services.trainer.recipe.families.chroma import FACTS

_LEFT_OUT = -200.0
"""The library multiplies the masks of two tokens and adds the product to what one thinks of the other. Between tokens
that count this is 1, which changes nothing, and of one that does not count it leaves e^-200, which is 0 in every number
format; products of two such stay within float16, and nobody reads what they answer."""


class Chroma(Family):
    """See ``base.Family``."""

    facts = FACTS
    pipeline_class = ChromaPipeline
    # The lengths of a batch's texts decide the shapes inside.
    recordable = False

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        super().__init__(pipeline, device, dtype, quantization)
        self.schedule = FlowSchedule(self._scheduler.config)
        self._mask: dict[str, Tensor | None] = {}

    def latent_multiple(self) -> int:
        return self.facts.denoiser.multiple

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        ids = tokens["text_encoder"]
        lengths = tokens.get(f"text_encoder.{LENGTHS}")
        hidden = self._modules["text_encoder"](ids, attention_mask=mask_of(lengths, ids))[0]
        # The first token that pads a text is one that the model was trained to look at.
        return trimmed(hidden, None if lengths is None else (lengths + 1).clamp(max=ids.shape[1]))

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = noisy.shape[2:]
        texts, patches = conditioning[TEXTS], pack(noisy)
        self._mask["now"] = None
        # Texts of one length need none, and without one attention never holds a number for each pair of tokens.
        if LENGTHS in conditioning and bool((conditioning[LENGTHS] < texts.shape[1]).any()):
            self._mask["now"] = torch.cat([text_mask(conditioning), torch.ones_like(patches[..., 0])], dim=1)
        answer = self.denoiser(
            hidden_states=patches,
            timestep=timesteps,
            encoder_hidden_states=texts,
            txt_ids=torch.zeros(texts.shape[1], 3, device=noisy.device),
            img_ids=positions(height // 2, width // 2, noisy.device),
            attention_mask=self._mask["now"],
            return_dict=False,
        )[0]
        return unpack(answer, height, width)

    def solver(self) -> Any:
        return type(self._scheduler).from_config(self._scheduler.config)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        wanted = self.encode_text(request.prompts)
        texts = {"prompt_embeds": wanted[TEXTS], "prompt_attention_mask": text_mask(wanted)}
        if request.guidance > 1.0:
            unwanted = self.encode_text([request.negative_prompt] * len(request.prompts))
            texts |= {
                "negative_prompt_embeds": unwanted[TEXTS],
                "negative_prompt_attention_mask": text_mask(unwanted),
            }
        packed = self._sampled(pipeline, request, on_step, **texts)
        return unpack(packed, request.height // self.latent_factor, request.width // self.latent_factor)

    def enable_gradient_checkpointing(self) -> None:
        """As for every family; the library's own way forgets the mask in the single blocks."""
        self.denoiser.enable_gradient_checkpointing(self._checkpointed)

    def _checkpointed(self, block: nn.Module, *arguments: Any) -> Any:
        if type(block).__name__ == "ChromaSingleTransformerBlock":
            arguments = (*arguments, self._mask["now"])
        return checkpointed(block, *arguments)


FAMILY = Chroma


def text_mask(conditioning: Mapping[str, Tensor]) -> Tensor:
    """1 for each token of a text that counts, [B, longest], as the library's attention takes it."""
    texts = conditioning[TEXTS]
    mask = torch.ones_like(texts[..., 0])
    if LENGTHS in conditioning:
        places = torch.arange(texts.shape[1], device=texts.device)
        mask[places >= on_device(conditioning[LENGTHS], texts.device)[:, None]] = _LEFT_OUT
    return mask
