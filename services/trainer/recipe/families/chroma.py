"""Chroma: FLUX.1's blocks without CLIP, modulated by a network of its own; T5 text with a mask, real guidance."""

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
    name="chroma",
    title="Chroma",
    # The names of sd-scripts' library/sai_model_spec.py and flux_utils.py.
    architectures=(Architecture("chroma", "chroma"),),
    denoiser=Denoiser(
        component="transformer",
        class_name="ChromaTransformer2DModel",
        targets=Targets(
            attention=FLUX_ATTENTION,
            attention_ff=(*FLUX_ATTENTION, *FLUX_FEED_FORWARD),
            # Its blocks have no modulation of their own, so there is nothing else in them.
            all=None,
            inside=("transformer_blocks.", "single_transformer_blocks."),
        ),
        blocks=("transformer_blocks", "single_transformer_blocks"),
        multiple=2,
        channels_per_latent=4,
        text_widths={"joint_attention_dim": ("text_encoder",)},
        checkpoint_sizes={"in_channels": "img_in.weight", "joint_attention_dim": "txt_in.weight"},
    ),
    autoencoder=Autoencoder(channels=16, factor=8, scale=0.3611, shift=0.1159),
    text_encoders=(
        TextEncoder("text_encoder", "tokenizer", "T5EncoderModel", "d_model", 512, None, around=1, masked=True),
    ),
    prediction_types=(),
    forms=(
        # ComfyUI takes it for a kind of FLUX.1 and knows all of that model's names; Forge knows them in FLUX.1 alone.
        FileForm("kohya", "", {"ComfyUI": KOHYA_READERS["ComfyUI"]}, {"transformer": "lora_transformer"}),
        replace(DIFFUSERS, readers={**DIFFUSERS.readers, "ComfyUI": SCALED}),
    ),
    network_modules={**NETWORK_MODULES, **dict.fromkeys(DIFFUSERS.adapters, "networks.lora_flux")},
    checkpoint_sign=r"(^|\.)distilled_guidance_layer\.",
    hub_tags=("chroma", "chroma-diffusers"),
    published={
        "chroma": Published(
            1024,
            {"transformer": {}, "vae": VAE_16, "text_encoder": T5_XXL},
            repeated={"num_layers": 19, "num_single_layers": 38},
        ),
    },
)
