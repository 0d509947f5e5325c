"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet with epsilon or v-prediction."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor, nn

from services.trainer.engine.families import unet
from services.trainer.engine.families.base import Conditioning, Posterior, SamplingRequest
from services.trainer.engine.families.loading import load_pipeline
from services.trainer.engine.families.text import TokenIds
from services.trainer.engine.job import BaseModelFiles
from services.trainer.engine.precision import checkpointed, on_device
from services.trainer.engine.quantization import place_denoiser


class StableDiffusion:
    """See ``base.Family``. Key names: ``lora_unet_…`` and ``lora_te_…``, as A1111 and ComfyUI read them."""

    name: ClassVar[str] = "stable-diffusion"
    denoiser_name: ClassVar[str] = "unet"
    kohya_keys: ClassVar[bool] = True

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        """Take a loaded pipeline over: freeze it and move it to ``device``; the autoencoder stays in float32."""
        self.device = device
        self._scheduler = pipeline.scheduler
        self._tokenizer = pipeline.tokenizer
        self._vae = pipeline.vae.to(device).requires_grad_(False).eval()
        self._layout = torch.channels_last
        blocks = unet.unet_targets(pipeline.unet, "all")
        self._unet = place_denoiser(pipeline.unet, blocks, device, dtype, quantization, self._layout)
        self._text_encoder = pipeline.text_encoder.to(device, dtype).requires_grad_(False).eval()
        self.schedule = unet.diffusion_schedule(self._scheduler, device)
        self.latent_factor = unet.latent_factor(self._vae)
        self.pixel_multiple = self.latent_factor * 2 ** (len(self._unet.config.block_out_channels) - 1)
        self._token_ids = TokenIds(pipeline.tokenizer, pipeline.tokenizer.model_max_length)

    @property
    def components(self) -> Mapping[str, nn.Module]:
        return {"unet": self._unet, "text_encoder": self._text_encoder}

    @classmethod
    def load(
        cls, files: BaseModelFiles, device: torch.device, dtype: torch.dtype, quantization: str
    ) -> StableDiffusion:
        """Load from a folder, a single checkpoint or a hub id; see ``loading.load_pipeline`` for the errors."""
        required = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
        pipeline = load_pipeline(
            StableDiffusionPipeline, files, required, dtype, safety_checker=None, requires_safety_checker=False
        )
        return cls(pipeline, device, dtype, quantization)

    def encode_pixels(self, pixels: Tensor) -> Posterior:
        return unet.encode_pixels(self._vae, pixels)

    def decode_latents(self, latents: Tensor) -> list[Image.Image]:
        return unet.decode_latents(self._vae, latents)

    def token_ids(self, captions: Sequence[str]) -> dict[str, Tensor]:
        return {"ids": on_device(self._token_ids(captions), self.device)}

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        return {"encoder_hidden_states": self._text_encoder(tokens["ids"])[0]}

    def encode_text(self, captions: Sequence[str]) -> Conditioning:
        return self.encode_tokens(self.token_ids(captions))

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        noisy = noisy.contiguous(memory_format=self._layout)
        answer: Tensor = self._unet(noisy, timesteps, **conditioning, return_dict=False)[0]
        return answer

    def targets(self, component: str, preset: str) -> list[str]:
        if component == "unet":
            return unet.unet_targets(self._unet, preset)
        return unet.text_targets(self._text_encoder, preset)

    def kohya_name(self, component: str, module: str) -> str:
        if component == "unet":
            return f"lora_unet_{module}".replace(".", "_")
        return unet.kohya_text_name("lora_te", module)

    def pipeline(self, **replaced: nn.Module) -> StableDiffusionPipeline:
        parts = {"unet": self._unet, "text_encoder": self._text_encoder, "vae": self._vae, **replaced}
        return StableDiffusionPipeline(
            **parts,
            tokenizer=self._tokenizer,
            scheduler=unet.fast_solver(self._scheduler),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )

    def with_components(self, components: Mapping[str, nn.Module]) -> StableDiffusion:
        twin = copy.copy(self)
        twin._unet = components.get("unet", self._unet)
        twin._text_encoder = components.get("text_encoder", self._text_encoder)
        return twin

    def use_contiguous_layout(self) -> None:
        self._layout = torch.contiguous_format
        self._unet.to(memory_format=self._layout)

    def enable_gradient_checkpointing(self) -> None:
        self._unet.enable_gradient_checkpointing(checkpointed)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        return unet.sample_with_guidance(pipeline, request, on_step)
