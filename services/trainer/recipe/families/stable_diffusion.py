"""Stable Diffusion 1.x and 2.x: one CLIP text encoder, a UNet with epsilon or v-prediction."""

from __future__ import annotations

from services.trainer.recipe.families.facts import (
    Architecture,
    Autoencoder,
    Denoiser,
    FamilyFacts,
    FileForm,
    Published,
    TextEncoder,
)
from services.trainer.recipe.families.parts import (
    CHUNKS,
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

FACTS = FamilyFacts(
    name="stable-diffusion",
    title="Stable Diffusion 1.x and 2.x",
    # `get_model_version_str_for_sd1_sd2` of sd-scripts' library/model_util.py gives the versions.
    architectures=(
        Architecture("stable-diffusion-v1", "sd_v1"),
        Architecture("stable-diffusion-v2-512", "sd_v2", v2=True),
        Architecture("stable-diffusion-v2-768-v", "sd_v2_v", v2=True),
    ),
    denoiser=Denoiser(
        component="unet",
        class_name="UNet2DConditionModel",
        targets=UNET_TARGETS,
        multiple=8,
        text_widths={"cross_attention_dim": ("text_encoder",)},
        settings={
            "addition_embed_type": None,
            "class_embed_type": None,
            "num_class_embeds": None,
            "encoder_hid_dim_type": None,
        },
        other_inputs=UNET_OTHER_INPUTS,
        checkpoint_sizes=UNET_SIZES,
    ),
    autoencoder=Autoencoder(channels=4, factor=8, scale=0.18215),
    text_encoders=(
        TextEncoder("text_encoder", "tokenizer", "CLIPTextModel", "hidden_size", 77, CLIP_TARGETS, CLIP_LAYERS, CHUNKS),
    ),
    prediction_types=("epsilon", "v_prediction", "sample"),
    forms=(
        FileForm("kohya", "", KOHYA_READERS, {"unet": "lora_unet", "text_encoder": "lora_te"}),
        DIFFUSERS,
    ),
    network_modules=NETWORK_MODULES,
    checkpoint_sign=r"^cond_stage_model\.",
    hub_tags=("stable-diffusion", "stable-diffusion-diffusers"),
    published={
        "sd-1.5": Published(
            512, {"unet": {"cross_attention_dim": 768, "attention_head_dim": 8}, "vae": VAE, "text_encoder": CLIP_L}
        ),
        "sd-2.1": Published(
            768,
            {
                "unet": {
                    "cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True,
                },
                "vae": VAE,
                "text_encoder": {
                    "vocab_size": 49408, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23,
                    "num_attention_heads": 16, "projection_dim": 512,
                },
            },
        ),
    },
)  # fmt: skip
