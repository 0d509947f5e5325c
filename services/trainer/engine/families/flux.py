"""FLUX.1: a transformer trained by flow matching, T5 and CLIP text, latents packed two by two, guidance as an input."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import FluxPipeline
from PIL import Image
from torch import Tensor, nn

from services.trainer.engine.families import unet
from services.trainer.engine.families.base import Conditioning, Posterior, SamplingRequest
from services.trainer.engine.families.loading import load_pipeline
from services.trainer.engine.families.text import TokenIds
from services.trainer.engine.job import BaseModelFiles
from services.trainer.engine.precision import checkpointed, on_device
from services.trainer.engine.quantization import place_denoiser
from services.trainer.engine.schedules import FlowSchedule, NoiseSchedule

TEXT_TOKENS = 512
"""T5 tokens of a caption, as FLUX.1 [dev] was trained with."""

TRAINING_GUIDANCE = 1.0
"""Guidance that a distilled model is told while it trains: none, so that the guidance of sampling keeps its meaning."""

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp", "proj_out")


class Flux:
    """See ``base.Family``. Readers of FLUX files take diffusers' names, so there is no kohya form."""

    name: ClassVar[str] = "flux"
    denoiser_name: ClassVar[str] = "transformer"
    kohya_keys: ClassVar[bool] = False

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        """Take a loaded pipeline over: freeze it and move it to ``device``; the autoencoder stays in float32."""
        self.device = device
        self._scheduler = pipeline.scheduler
        self._tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
        self._vae = pipeline.vae.to(device).requires_grad_(False).eval()
        blocks = block_layers(pipeline.transformer)
        self._transformer = place_denoiser(pipeline.transformer, blocks, device, dtype, quantization)
        self._text_encoder = pipeline.text_encoder.to(device, dtype).requires_grad_(False).eval()
        self._text_encoder_2 = pipeline.text_encoder_2.to(device, dtype).requires_grad_(False).eval()
        self.schedule: NoiseSchedule = FlowSchedule()
        self.latent_factor = unet.latent_factor(self._vae)
        self.pixel_multiple = self.latent_factor * 2
        self._clip_ids = TokenIds(pipeline.tokenizer, pipeline.tokenizer.model_max_length)
        self._t5_ids = TokenIds(pipeline.tokenizer_2, min(TEXT_TOKENS, pipeline.tokenizer_2.model_max_length))

    @property
    def components(self) -> Mapping[str, nn.Module]:
        return {"transformer": self._transformer, "text_encoder": self._text_encoder}

    @classmethod
    def load(cls, files: BaseModelFiles, device: torch.device, dtype: torch.dtype, quantization: str) -> Flux:
        """Load from a folder, a single checkpoint or a hub id; see ``loading.load_pipeline`` for the errors."""
        required = ("transformer", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
        return cls(load_pipeline(FluxPipeline, files, required, dtype), device, dtype, quantization)

    def encode_pixels(self, pixels: Tensor) -> Posterior:
        return unet.encode_pixels(self._vae, pixels)

    def decode_latents(self, latents: Tensor) -> list[Image.Image]:
        return unet.decode_latents(self._vae, latents)

    def token_ids(self, captions: Sequence[str]) -> dict[str, Tensor]:
        clip, t5 = self._clip_ids(captions), self._t5_ids(captions)
        return {"ids": on_device(clip, self.device), "ids_2": on_device(t5, self.device)}

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        pooled = self._text_encoder(tokens["ids"]).pooler_output
        with torch.no_grad():
            hidden = self._text_encoder_2(tokens["ids_2"])[0]
        return {"encoder_hidden_states": hidden, "pooled_projections": pooled}

    def encode_text(self, captions: Sequence[str]) -> Conditioning:
        return self.encode_tokens(self.token_ids(captions))

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        height, width = noisy.shape[2:]
        hidden = conditioning["encoder_hidden_states"]
        guidance = None
        if self._transformer.config.guidance_embeds:
            guidance = torch.full((len(noisy),), TRAINING_GUIDANCE, device=noisy.device)
        answer = self._transformer(
            hidden_states=pack(noisy),
            timestep=timesteps,
            guidance=guidance,
            pooled_projections=conditioning["pooled_projections"],
            encoder_hidden_states=hidden,
            txt_ids=torch.zeros(hidden.shape[1], 3, device=noisy.device),
            img_ids=positions(height // 2, width // 2, noisy.device),
            return_dict=False,
        )[0]
        return unpack(answer, height, width)

    def targets(self, component: str, preset: str) -> list[str]:
        if component != "transformer":
            return unet.text_targets(self.components[component], preset)
        blocks = block_layers(self._transformer)
        if preset == "all":
            return blocks
        endings = _ATTENTION if preset == "attention" else (*_ATTENTION, *_FEED_FORWARD)
        return [name for name in blocks if any(name.endswith("." + ending) for ending in endings)]

    def kohya_name(self, component: str, module: str) -> str:
        return f"{component}.{module}"

    def pipeline(self, **replaced: nn.Module) -> FluxPipeline:
        parts = {**self.components, "text_encoder_2": self._text_encoder_2, "vae": self._vae, **replaced}
        return FluxPipeline(
            **parts,
            tokenizer=self._tokenizers[0],
            tokenizer_2=self._tokenizers[1],
            scheduler=type(self._scheduler).from_config(self._scheduler.config),
        )

    def with_components(self, components: Mapping[str, nn.Module]) -> Flux:
        twin = copy.copy(self)
        twin._transformer = components.get("transformer", self._transformer)
        twin._text_encoder = components.get("text_encoder", self._text_encoder)
        return twin

    def use_contiguous_layout(self) -> None:
        """It has no convolutions."""

    def enable_gradient_checkpointing(self) -> None:
        self._transformer.enable_gradient_checkpointing(checkpointed)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        def report(_: Any, step: int, __: Any, state: dict[str, Any]) -> dict[str, Any]:
            on_step(step + 1)
            return state

        pipeline.set_progress_bar_config(disable=True)
        packed = pipeline(
            prompt=list(request.prompts),
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            width=request.width,
            height=request.height,
            generator=[torch.Generator().manual_seed(seed) for seed in request.seeds],
            max_sequence_length=min(TEXT_TOKENS, self._tokenizers[1].model_max_length),
            output_type="latent",
            callback_on_step_end=report,
        ).images
        return unpack(packed, request.height // self.latent_factor, request.width // self.latent_factor)


def block_layers(transformer: nn.Module) -> list[str]:
    """Names of the linear layers of a FLUX transformer's double and single blocks."""
    names = [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear)]
    return [name for name in names if name.startswith(("transformer_blocks.", "single_transformer_blocks."))]


def pack(latents: Tensor) -> Tensor:
    """[B, C, h, w] to tokens [B, h/2 · w/2, 4 C]: each token holds a patch of two by two latents."""
    batch, channels, height, width = latents.shape
    patches = latents.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(batch, height // 2 * (width // 2), channels * 4)


def unpack(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of ``pack``."""
    batch, _, size = tokens.shape
    patches = tokens.view(batch, height // 2, width // 2, size // 4, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(batch, size // 4, height, width)


def positions(rows: int, columns: int, device: torch.device) -> Tensor:
    """Rotary position ids of image tokens, [rows · columns, 3]: 0, row, column."""
    ids = torch.zeros(rows, columns, 3, device=device)
    ids[..., 1] = torch.arange(rows, device=device)[:, None]
    ids[..., 2] = torch.arange(columns, device=device)[None]
    return ids.view(-1, 3)
