"""Base models as configurations: what is needed to build their modules without weights.

The public configurations are those of the models' own repositories (`config.json` of each component); our small base's
are read from its folder. Only what differs from the defaults of diffusers and transformers is written out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    FluxTransformer2DModel,
    UNet2DConditionModel,
)
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from services.trainer.engine.families.base import Family
from services.trainer.engine.families.flux import TEXT_TOKENS, Flux
from services.trainer.engine.families.sdxl import StableDiffusionXL
from services.trainer.engine.families.stable_diffusion import StableDiffusion

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A base model. side: pixels of the square that it was trained at. parts: configurations by component.

    repeated: how often a denoiser's equal blocks come, by the name in its configuration. Such a model is counted with
    one and with two of them, which takes minutes instead of hours, and the difference taken so many times.
    """

    family: str
    side: int
    parts: Mapping[str, Config]
    repeated: Mapping[str, int] = field(default_factory=dict)

    def mixture(self) -> list[tuple[int, Blueprint]]:
        """Thin models, and how often each counts for this one: the sum of them is the whole."""
        if not self.repeated:
            return [(1, self)]
        once = dict.fromkeys(self.repeated, 1)
        more = [(count - 1, self._with({**once, name: 2})) for name, count in self.repeated.items()]
        return [(1 - sum(count for count, _ in more), self._with(once)), *more]

    def _with(self, repeats: Mapping[str, int]) -> Blueprint:
        denoiser = "transformer" if self.family == "flux" else "unet"
        config = dict(self.parts[denoiser])
        for name, count in repeats.items():
            config[name] = (*config[name][:-1], count) if isinstance(config.get(name), tuple) else count
        return Blueprint(self.family, self.side, {**self.parts, denoiser: config})


@dataclass(frozen=True, slots=True)
class Built:
    """A family over modules that were just built, and the modules that a family keeps to itself."""

    family: Family
    autoencoder: Any
    text_encoders: tuple[nn.Module, ...]


_CLIP_L = {
    "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "projection_dim": 768,
}  # fmt: skip
_VAE = {
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "latent_channels": 4, "norm_num_groups": 32,
}  # fmt: skip

BLUEPRINTS: dict[str, Blueprint] = {
    "sd-1.5": Blueprint(
        "stable-diffusion",
        512,
        {"unet": {"cross_attention_dim": 768, "attention_head_dim": 8}, "vae": _VAE, "text_encoder": _CLIP_L},
    ),
    "sd-2.1": Blueprint(
        "stable-diffusion",
        768,
        {
            "unet": {
                "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True,
            },
            "vae": _VAE,
            "text_encoder": {
                "vocab_size": 49408, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23,
                "num_attention_heads": 16, "projection_dim": 512,
            },
        },
    ),
    "sdxl": Blueprint(
        "sdxl",
        1024,
        {
            "unet": {
                "block_out_channels": (320, 640, 1280),
                "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
                "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
                "transformer_layers_per_block": (1, 2, 10), "cross_attention_dim": 2048,
                "attention_head_dim": (5, 10, 20), "use_linear_projection": True,
                "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 2816,
            },
            "vae": _VAE,
            "text_encoder": _CLIP_L,
            "text_encoder_2": {
                "vocab_size": 49408, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
                "num_attention_heads": 20, "projection_dim": 1280,
            },
        },
        repeated={"transformer_layers_per_block": 10},
    ),
    "flux-1": Blueprint(
        "flux",
        1024,
        {
            "transformer": {"guidance_embeds": True},
            "vae": {**_VAE, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False},
            "text_encoder": _CLIP_L,
            "text_encoder_2": {
                "vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
                "feed_forward_proj": "gated-gelu",
            },
        },
        repeated={"num_layers": 19, "num_single_layers": 38},
    ),
}  # fmt: skip


def blueprint_of_folder(folder: Path, family: str, side: int) -> Blueprint:
    """The blueprint of a base model that lies in diffusers layout."""
    parts = {path.parent.name: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*/config.json"))}
    return Blueprint(family, side, parts)


def build(blueprint: Blueprint, dtype: torch.dtype) -> Built:
    """The family with fresh modules. Call it where tensors are fake, or it allocates the whole model."""
    vae = AutoencoderKL.from_config(dict(blueprint.parts["vae"]))
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with modules_stay():
            return _assembled(blueprint, vae, dtype)
    finally:
        torch.set_default_dtype(before)


@contextmanager
def modules_stay() -> Iterator[None]:
    """Makes `Module.to` do nothing: fake weights cannot be converted, and they are made in the right format at once."""
    to = nn.Module.to
    nn.Module.to = lambda module, *_, **__: module  # type: ignore[assignment]
    try:
        yield
    finally:
        nn.Module.to = to  # type: ignore[method-assign]


def _assembled(blueprint: Blueprint, vae: Any, dtype: torch.dtype) -> Built:
    parts = blueprint.parts
    clip_config = CLIPTextConfig(**_for_transformers(parts["text_encoder"]))
    clip = CLIPTextModel(clip_config)
    held = {"vae": vae, "text_encoder": clip, "tokenizer": _Tokenizer(clip_config.max_position_embeddings)}
    device = torch.device("cpu")
    if blueprint.family == "flux":
        t5 = T5EncoderModel(T5Config(**_for_transformers(parts["text_encoder_2"])))
        held |= {"text_encoder_2": t5, "tokenizer_2": _Tokenizer(TEXT_TOKENS)}
        held["transformer"] = FluxTransformer2DModel.from_config(dict(parts["transformer"]))
        held["scheduler"] = None
        return Built(Flux(SimpleNamespace(**held), device, dtype, "none"), vae, (clip, t5))
    held["unet"] = UNet2DConditionModel.from_config(dict(parts["unet"]))
    held["scheduler"] = DDPMScheduler()
    if blueprint.family == "stable-diffusion":
        return Built(StableDiffusion(SimpleNamespace(**held), device, dtype, "none"), vae, (clip,))
    second = CLIPTextModelWithProjection(CLIPTextConfig(**_for_transformers(parts["text_encoder_2"])))
    held |= {"text_encoder_2": second, "tokenizer_2": held["tokenizer"]}
    return Built(StableDiffusionXL(SimpleNamespace(**held), device, dtype, "none"), vae, (clip, second))


class _Tokenizer:
    """Stands for a tokenizer: as many ids as the encoder takes."""

    def __init__(self, length: int) -> None:
        self.model_max_length = length

    def __call__(self, captions: list[str], **_: object) -> SimpleNamespace:
        return SimpleNamespace(input_ids=torch.zeros(len(captions), self.model_max_length, dtype=torch.int64))


def _for_transformers(config: Config) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in ("architectures", "model_type")}
