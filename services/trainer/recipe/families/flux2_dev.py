"""FLUX.2 [dev]: a transformer trained by flow matching, three layers of Mistral 3 as text, guidance as an input."""

from __future__ import annotations

from dataclasses import replace

from services.trainer.recipe.families.facts import Architecture, FamilyFacts, Published, TextEncoder
from services.trainer.recipe.families.flux2 import (
    AUTOENCODER,
    CHECKPOINT_SIGN,
    DENOISER,
    FORMS,
    HUB_TAGS,
    NETWORK_MODULES,
    PUBLISHED_VAE,
)

_SYSTEM = (
    "You are an AI that reasons about image descriptions. You give structured responses focusing on object"
    " relationships, object\nattribution and actions without speculation."
)
"""The model was trained with captions behind these words; diffusers has them in pipelines/flux2/system_messages.py."""

FACTS = FamilyFacts(
    name="flux2-dev",
    title="FLUX.2 [dev]",
    architectures=(Architecture("Flux.2-dev", "flux2"),),
    denoiser=replace(DENOISER, settings={"guidance_embeds": True}),
    autoencoder=AUTOENCODER,
    text_encoders=(
        TextEncoder(
            "text_encoder",
            "tokenizer",
            "Mistral3ForConditionalGeneration",
            "text_config.hidden_size",
            512,
            None,
            # Mistral's chat template without its first token, which the tokenizer puts there.
            wrap=f"[SYSTEM_PROMPT]{_SYSTEM}[/SYSTEM_PROMPT][INST]{{}}[/INST]",
            around=36,
            padding_reaches_denoiser=True,
            in_processor=True,
            depth=30,
        ),
    ),
    prediction_types=(),
    forms=FORMS,
    network_modules=NETWORK_MODULES,
    checkpoint_sign=CHECKPOINT_SIGN,
    hub_tags=HUB_TAGS,
    guidance_is_an_input=True,
    published={
        "flux2-dev": Published(
            1024,
            {
                "transformer": {"joint_attention_dim": 15360, "guidance_embeds": True},
                "vae": PUBLISHED_VAE,
                "text_encoder": {
                    "tie_word_embeddings": False,
                    "text_config": {
                        "model_type": "mistral", "vocab_size": 131072, "hidden_size": 5120, "intermediate_size": 32768,
                        "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128,
                        "max_position_embeddings": 131072, "tie_word_embeddings": False,
                    },
                    "vision_config": {
                        "model_type": "pixtral", "hidden_size": 1024, "intermediate_size": 4096, "head_dim": 64,
                        "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 1540, "patch_size": 14,
                    },
                },
            },
            repeated={"num_layers": 8, "num_single_layers": 48},
        ),
    },
)  # fmt: skip
