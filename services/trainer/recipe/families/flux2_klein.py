"""FLUX.2 [klein]: a transformer trained by flow matching, three layers of Qwen3 as text, no guidance as an input."""

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
from services.trainer.recipe.families.parts import QWEN3_4B

FACTS = FamilyFacts(
    name="flux2-klein",
    title="FLUX.2 [klein]",
    architectures=(
        Architecture("Flux.2-klein-4b", "flux2_klein_4b"),
        Architecture("Flux.2-klein-9b", "flux2_klein_9b"),
    ),
    denoiser=replace(DENOISER, settings={"guidance_embeds": False}),
    autoencoder=AUTOENCODER,
    text_encoders=(
        TextEncoder(
            "text_encoder",
            "tokenizer",
            "Qwen3ForCausalLM",
            "hidden_size",
            512,
            None,
            # Qwen3's chat template around one message of the user, with a place for an answer without thoughts.
            wrap="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
            around=12,
            padding_reaches_denoiser=True,
            depth=27,
        ),
    ),
    prediction_types=(),
    forms=FORMS,
    network_modules=NETWORK_MODULES,
    checkpoint_sign=CHECKPOINT_SIGN,
    hub_tags=HUB_TAGS,
    published={
        "flux2-klein-4b": Published(
            1024,
            {
                "transformer": {
                    "num_layers": 5,
                    "num_single_layers": 20,
                    "num_attention_heads": 24,
                    "joint_attention_dim": 7680,
                    "guidance_embeds": False,
                },
                "vae": PUBLISHED_VAE,
                "text_encoder": {**QWEN3_4B, "tie_word_embeddings": True},
            },
            repeated={"num_layers": 5, "num_single_layers": 20},
        ),
    },
)
