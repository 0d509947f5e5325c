"""FLUX.1: a transformer trained by flow matching, T5 and CLIP text, latents packed two by two, guidance as an input."""

from __future__ import annotations

from dataclasses import replace

from services.trainer.recipe.families.facts import (
    Architecture,
    Autoencoder,
    Denoiser,
    FamilyFacts,
    FileForm,
    Published,
    Targets,
    TextEncoder,
)
from services.trainer.recipe.families.parts import (
    CLIP_L,
    CLIP_LAYERS,
    CLIP_TARGETS,
    DIFFUSERS,
    FLUX_ATTENTION,
    FLUX_FEED_FORWARD,
    KOHYA_READERS,
    NETWORK_MODULES,
    SCALED,
    T5_XXL,
    VAE_16,
)

FACTS = FamilyFacts(
    name="flux",
    title="FLUX.1",
    architectures=(Architecture("flux-1-dev", "flux1"), Architecture("flux-1-schnell", "flux1")),
    denoiser=Denoiser(
        component="transformer",
        class_name="FluxTransformer2DModel",
        targets=Targets(
            attention=FLUX_ATTENTION,
            attention_ff=(*FLUX_ATTENTION, *FLUX_FEED_FORWARD),
            all=None,
            inside=("transformer_blocks.", "single_transformer_blocks."),
        ),
        blocks=("transformer_blocks", "single_transformer_blocks"),
        multiple=2,
        channels_per_latent=4,
        text_widths={"joint_attention_dim": ("text_encoder_2",), "pooled_projection_dim": ("text_encoder",)},
        other_inputs={128: "a control model (Canny or Depth)", 384: "a fill model, which inpaints"},
        checkpoint_sizes={
            "in_channels": "img_in.weight",
            "joint_attention_dim": "txt_in.weight",
            "pooled_projection_dim": "vector_in.in_layer.weight",
        },
    ),
    autoencoder=Autoencoder(channels=16, factor=8, scale=0.3611, shift=0.1159),
    text_encoders=(
        TextEncoder("text_encoder", "tokenizer", "CLIPTextModel", "hidden_size", 77, CLIP_TARGETS, CLIP_LAYERS),
        TextEncoder("text_encoder_2", "tokenizer_2", "T5EncoderModel", "d_model", 512, None),
    ),
    prediction_types=(),
    forms=(
        # ComfyUI and Forge take these names, which OneTrainer writes; they drop DoRA's scales from diffusers' names.
        FileForm(
            "kohya",
            "",
            {"ComfyUI": KOHYA_READERS["ComfyUI"], "Forge": KOHYA_READERS["Forge"]},
            {"transformer": "lora_transformer", "text_encoder": "lora_te1"},
        ),
        replace(DIFFUSERS, readers={**DIFFUSERS.readers, "ComfyUI": SCALED, "Forge": SCALED}),
    ),
    network_modules={**NETWORK_MODULES, **dict.fromkeys(DIFFUSERS.adapters, "networks.lora_flux")},
    # FLUX.2 and Chroma have such blocks too, but compute this once for all of them.
    checkpoint_sign=r"(^|\.)double_blocks\.\d+\.img_mod\.",
    hub_tags=("flux", "flux-diffusers"),
    guidance_is_an_input=True,
    published={
        "flux-1": Published(
            1024,
            {
                "transformer": {"guidance_embeds": True},
                "vae": VAE_16,
                "text_encoder": CLIP_L,
                "text_encoder_2": T5_XXL,
            },
            repeated={"num_layers": 19, "num_single_layers": 38},
        ),
    },
)
