"""Stable Diffusion XL: two CLIP text encoders, a pooled embedding and the picture's size as conditioning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from services.trainer.recipe.families.facts import (
    Architecture,
    Autoencoder,
    Config,
    Denoiser,
    FamilyFacts,
    FileForm,
    Published,
    TextEncoder,
)
from services.trainer.recipe.families.parts import (
    CHUNKS,
    CLIP_G,
    CLIP_L,
    CLIP_LAYERS,
    CLIP_TARGETS,
    DIFFUSERS,
    KOHYA_READERS,
    NETWORK_MODULES,
    UNET_OTHER_INPUTS,
    UNET_SIZES,
    UNET_TARGETS,
    VAE,
)

_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}


def original_name(module: str, unet: Config) -> str:
    """The original (sgm) name of a module of diffusers' UNet, as sd-scripts writes it."""
    return sgm_name(module, unet["layers_per_block"])


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


def _other_kind(configs: Mapping[str, Config]) -> str | None:
    """The refiner is told an aesthetic score in place of two of the size conditioning's six numbers."""
    unet, encoder = configs["unet"], configs.get("text_encoder_2", {})
    embedded, a_number = unet.get("projection_class_embeddings_input_dim"), unet.get("addition_time_embed_dim")
    pooled = encoder.get("projection_dim")
    if embedded and a_number and pooled and embedded - pooled == 5 * a_number:
        return "an SDXL refiner"
    return None


FACTS = FamilyFacts(
    name="sdxl",
    title="Stable Diffusion XL",
    architectures=(Architecture("stable-diffusion-xl-v1-base", "sdxl_base_v1-0"),),
    denoiser=Denoiser(
        component="unet",
        class_name="UNet2DConditionModel",
        targets=UNET_TARGETS,
        multiple=4,
        text_widths={"cross_attention_dim": ("text_encoder", "text_encoder_2")},
        settings={"addition_embed_type": "text_time", "class_embed_type": None, "encoder_hid_dim_type": None},
        other_inputs=UNET_OTHER_INPUTS,
        checkpoint_sizes={**UNET_SIZES, "projection_class_embeddings_input_dim": "label_emb.0.0.weight"},
        original_name=original_name,
    ),
    autoencoder=Autoencoder(channels=4, factor=8, scale=0.13025),
    text_encoders=(
        # Of the first encoder only the answer of the layer before the last is used, of the second also the pooled one.
        TextEncoder(
            "text_encoder",
            "tokenizer",
            "CLIPTextModel",
            "hidden_size",
            77,
            replace(CLIP_TARGETS, unused_end="encoder.layers"),
            CLIP_LAYERS,
            CHUNKS,
        ),
        TextEncoder(
            "text_encoder_2",
            "tokenizer_2",
            "CLIPTextModelWithProjection",
            "hidden_size",
            77,
            CLIP_TARGETS,
            CLIP_LAYERS,
            CHUNKS,
        ),
    ),
    prediction_types=("epsilon", "v_prediction", "sample"),
    forms=(
        FileForm(
            "kohya",
            "",
            KOHYA_READERS,
            {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"},
        ),
        DIFFUSERS,
    ),
    network_modules=NETWORK_MODULES,
    other_kind=_other_kind,
    checkpoint_sign=r"^conditioner\.embedders\.",
    hub_tags=("stable-diffusion-xl", "stable-diffusion-xl-diffusers"),
    published={
        "sdxl": Published(
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
                "vae": VAE,
                "text_encoder": CLIP_L,
                "text_encoder_2": CLIP_G,
            },
            repeated={"transformer_layers_per_block": 10},
        ),
    },
)  # fmt: skip
