"""Stable Diffusion XL: two CLIP text encoders, a pooled embedding and the picture's size as conditioning."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image
from torch import Tensor, nn

from services.trainer.engine.families import unet
from services.trainer.engine.families.base import Conditioning, Posterior, SamplingRequest
from services.trainer.engine.families.loading import load_pipeline
from services.trainer.engine.families.text import TokenIds
from services.trainer.engine.job import BaseModelFiles
from services.trainer.engine.precision import checkpointed, on_device
from services.trainer.engine.quantization import place_denoiser

_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}


class StableDiffusionXL:
    """See ``base.Family``. Key names are the original model's (sgm) ones, as sd-scripts writes them."""

    name: ClassVar[str] = "sdxl"
    denoiser_name: ClassVar[str] = "unet"
    kohya_keys: ClassVar[bool] = True

    def __init__(self, pipeline: Any, device: torch.device, dtype: torch.dtype, quantization: str) -> None:
        """Take a loaded pipeline over; the autoencoder stays in float32, in half precision it overflows."""
        self.device = device
        self._scheduler = pipeline.scheduler
        self._tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
        self._vae = pipeline.vae.to(device).requires_grad_(False).eval()
        self._layout = torch.channels_last
        blocks = unet.unet_targets(pipeline.unet, "all")
        self._unet = place_denoiser(pipeline.unet, blocks, device, dtype, quantization, self._layout)
        self._text_encoder = pipeline.text_encoder.to(device, dtype).requires_grad_(False).eval()
        self._text_encoder_2 = pipeline.text_encoder_2.to(device, dtype).requires_grad_(False).eval()
        self.schedule = unet.diffusion_schedule(self._scheduler, device)
        self.latent_factor = unet.latent_factor(self._vae)
        self.pixel_multiple = self.latent_factor * 2 ** (len(self._unet.config.block_out_channels) - 1)
        self._known_sizes: dict[tuple[int, int, torch.dtype], Tensor] = {}
        self._token_ids = [TokenIds(one, one.model_max_length) for one in self._tokenizers]

    @property
    def components(self) -> Mapping[str, nn.Module]:
        return {"unet": self._unet, "text_encoder": self._text_encoder, "text_encoder_2": self._text_encoder_2}

    @classmethod
    def load(
        cls, files: BaseModelFiles, device: torch.device, dtype: torch.dtype, quantization: str
    ) -> StableDiffusionXL:
        """Load from a folder, a single checkpoint or a hub id; see ``loading.load_pipeline`` for the errors."""
        required = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
        pipeline = load_pipeline(StableDiffusionXLPipeline, files, required, dtype, add_watermarker=False)
        return cls(pipeline, device, dtype, quantization)

    def encode_pixels(self, pixels: Tensor) -> Posterior:
        return unet.encode_pixels(self._vae, pixels)

    def decode_latents(self, latents: Tensor) -> list[Image.Image]:
        return unet.decode_latents(self._vae, latents)

    def token_ids(self, captions: Sequence[str]) -> dict[str, Tensor]:
        first, second = (on_device(ids_of(captions), self.device) for ids_of in self._token_ids)
        return {"ids": first, "ids_2": second}

    def encode_tokens(self, tokens: Mapping[str, Tensor]) -> Conditioning:
        hidden = []
        for ids, encoder in ((tokens["ids"], self._text_encoder), (tokens["ids_2"], self._text_encoder_2)):
            encoded = encoder(ids, output_hidden_states=True)
            # The layer before the last is what the model was trained on, in both encoders.
            hidden.append(encoded.hidden_states[-2])
        return {"encoder_hidden_states": torch.cat(hidden, dim=-1), "text_embeds": encoded[0]}

    def encode_text(self, captions: Sequence[str]) -> Conditioning:
        return self.encode_tokens(self.token_ids(captions))

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        noisy = noisy.contiguous(memory_format=self._layout)
        sizes = self._sizes(noisy)
        answer: Tensor = self._unet(
            noisy,
            timesteps,
            encoder_hidden_states=conditioning["encoder_hidden_states"],
            added_cond_kwargs={"text_embeds": conditioning["text_embeds"], "time_ids": sizes.expand(len(noisy), -1)},
            return_dict=False,
        )[0]
        return answer

    def _sizes(self, noisy: Tensor) -> Tensor:
        """Size conditioning [1, 6]. Kept by shape, because making it waits for the device."""
        height, width = (side * self.latent_factor for side in noisy.shape[2:])
        key = (height, width, noisy.dtype)
        if key not in self._known_sizes:
            # Every picture fills its bucket, so it counts as taken whole at that size: previews are asked for the same.
            sizes = torch.tensor([[height, width, 0, 0, height, width]], device=noisy.device, dtype=noisy.dtype)
            self._known_sizes[key] = sizes
        return self._known_sizes[key]

    def targets(self, component: str, preset: str) -> list[str]:
        if component == "unet":
            return unet.unet_targets(self._unet, preset)
        return unet.text_targets(self.components[component], preset)

    def kohya_name(self, component: str, module: str) -> str:
        if component == "unet":
            return f"lora_unet_{sgm_name(module, self._unet.config.layers_per_block)}".replace(".", "_")
        return unet.kohya_text_name("lora_te1" if component == "text_encoder" else "lora_te2", module)

    def pipeline(self, **replaced: nn.Module) -> StableDiffusionXLPipeline:
        parts = {**self.components, "vae": self._vae, **replaced}
        return StableDiffusionXLPipeline(
            **parts,
            tokenizer=self._tokenizers[0],
            tokenizer_2=self._tokenizers[1],
            scheduler=unet.fast_solver(self._scheduler),
            add_watermarker=False,
        )

    def with_components(self, components: Mapping[str, nn.Module]) -> StableDiffusionXL:
        twin = copy.copy(self)
        twin._unet = components.get("unet", self._unet)
        twin._text_encoder = components.get("text_encoder", self._text_encoder)
        twin._text_encoder_2 = components.get("text_encoder_2", self._text_encoder_2)
        return twin

    def use_contiguous_layout(self) -> None:
        self._layout = torch.contiguous_format
        self._unet.to(memory_format=self._layout)

    def enable_gradient_checkpointing(self) -> None:
        self._unet.enable_gradient_checkpointing(checkpointed)

    def sample(self, pipeline: Any, request: SamplingRequest, on_step: Callable[[int], None]) -> Tensor:
        return unet.sample_with_guidance(pipeline, request, on_step)


def sgm_name(module: str, layers_per_block: int) -> str:
    """The original (sgm) name of a module of diffusers' UNet, e.g. ``input_blocks.4.1.transformer_blocks.0…``."""
    step = layers_per_block + 1
    side, _, rest = module.partition(".")
    if side == "mid_block":
        kind, number, inside = rest.split(".", 2)
        place = 1 if kind == "attentions" else 2 * int(number)
        return f"middle_block.{place}.{_inside(kind, inside)}"
    found = re.fullmatch(r"(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)", rest)
    assert found, f"no original name for {module}"
    block, kind, layer, inside = int(found[1]), found[2], int(found[3]), found[4]
    if side == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * step}.0.op"
        return f"input_blocks.{1 + block * step + layer}.{int(kind == 'attentions')}.{_inside(kind, inside)}"
    if kind == "upsamplers":
        return f"output_blocks.{block * step + layers_per_block}.2.conv"
    return f"output_blocks.{block * step + layer}.{int(kind == 'attentions')}.{_inside(kind, inside)}"


def _inside(kind: str, inside: str) -> str:
    return _RESNET[inside] if kind == "resnets" else inside
