"""Stable Diffusion 3.5: text and picture in one transformer trained by flow matching; two CLIP encoders and T5."""

from __future__ import annotations

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
    Targets,
    TextEncoder,
)
from services.trainer.recipe.families.parts import (
    CLIP_G,
    CLIP_L,
    CLIP_LAYERS,
    CLIP_TARGETS,
    DIFFUSERS,
    KOHYA_READERS,
    NETWORK_MODULES,
    SCALED,
    T5_XXL,
    VAE_16,
)

# Of the second attention of the medium model's blocks too, whose layers have the same endings.
_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
_CLIP = "CLIPTextModelWithProjection"
_TEXT: Mapping[str, Config] = {"text_encoder": CLIP_L, "text_encoder_2": CLIP_G, "text_encoder_3": T5_XXL}
_LARGE = {
    "num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "pos_embed_max_size": 192,
    "qk_norm": "rms_norm",
}  # fmt: skip
_MEDIUM = {
    "num_layers": 24, "num_attention_heads": 24, "caption_projection_dim": 1536, "pos_embed_max_size": 384,
    "qk_norm": "rms_norm", "dual_attention_layers": tuple(range(13)),
}  # fmt: skip

FACTS = FamilyFacts(
    name="sd3",
    title="Stable Diffusion 3.5",
    # The names of sd-scripts' library/sai_model_spec.py and sd3_utils.py.
    architectures=(
        Architecture("stable-diffusion-3-5-medium", "3-5-medium"),
        Architecture("stable-diffusion-3-5-large", "3-5-large"),
    ),
    denoiser=Denoiser(
        component="transformer",
        class_name="SD3Transformer2DModel",
        targets=Targets(
            attention=_ATTENTION,
            attention_ff=(*_ATTENTION, *_FEED_FORWARD),
            all=None,
            inside=("transformer_blocks.",),
            unused_end="transformer_blocks",
            # Nobody asks for text after the last block, and the halves of its text's modulation are the other way round
            # in the original model, so that a change of it would be misread.
            unused_layers=("attn.add_q_proj", "norm1_context.linear"),
        ),
        blocks=("transformer_blocks",),
        multiple=2,
        text_widths={
            "joint_attention_dim": ("text_encoder_3",),
            "pooled_projection_dim": ("text_encoder", "text_encoder_2"),
        },
        # The blocks of Stable Diffusion 3.0 lack this norm.
        settings={"qk_norm": "rms_norm"},
        checkpoint_sizes={
            "in_channels": "x_embedder.proj.weight",
            "joint_attention_dim": "context_embedder.weight",
            "pooled_projection_dim": "y_embedder.mlp.0.weight",
        },
    ),
    autoencoder=Autoencoder(channels=16, factor=8, scale=1.5305, shift=0.0609),
    text_encoders=(
        TextEncoder("text_encoder", "tokenizer", _CLIP, "projection_dim", 77, CLIP_TARGETS, CLIP_LAYERS),
        TextEncoder("text_encoder_2", "tokenizer_2", _CLIP, "projection_dim", 77, CLIP_TARGETS, CLIP_LAYERS),
        TextEncoder("text_encoder_3", "tokenizer_3", "T5EncoderModel", "d_model", 256, None, around=1),
    ),
    prediction_types=(),
    forms=(
        # The names that OneTrainer writes; sd-scripts knows its own alone, which join q, k and v.
        FileForm(
            "kohya",
            "",
            {"ComfyUI": KOHYA_READERS["ComfyUI"]},
            {"transformer": "lora_transformer", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"},
        ),
        replace(DIFFUSERS, readers={**DIFFUSERS.readers, "ComfyUI": SCALED}),
    ),
    network_modules={**NETWORK_MODULES, **dict.fromkeys(DIFFUSERS.adapters, "networks.lora_sd3")},
    # Stable Diffusion 3.0 lacks the norms.
    checkpoint_sign=r"(^|\.)joint_blocks\.\d+\.x_block\.attn\.ln_q\.",
    hub_tags=("stable-diffusion-3", "stable-diffusion-3-diffusers"),
    published={
        "sd-3.5-medium": Published(
            1024,
            {"transformer": _MEDIUM, "vae": VAE_16, **_TEXT},
            # One block of each kind, the last of which nobody asks for text; then one more of those between.
            mixture=(
                (-20, {"num_layers": 3, "dual_attention_layers": (0,)}),
                (9, {"num_layers": 4, "dual_attention_layers": (0,)}),
                (12, {"num_layers": 4, "dual_attention_layers": (0, 1)}),
            ),
        ),
        "sd-3.5-large": Published(
            1024,
            {"transformer": _LARGE, "vae": VAE_16, **_TEXT},
            mixture=((-34, {"num_layers": 3}), (35, {"num_layers": 4})),
        ),
    },
)
