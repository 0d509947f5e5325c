"""Z-Image: a single-stream transformer trained by flow matching, Qwen3 text that only its length counts of."""

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
from services.trainer.recipe.families.parts import DIFFUSERS, KOHYA_READERS, QWEN3_4B, SCALED, VAE_16

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
_FEED_FORWARD = ("feed_forward.w1", "feed_forward.w2", "feed_forward.w3")

FACTS = FamilyFacts(
    name="z-image",
    title="Z-Image",
    # The names of musubi-tuner's utils/sai_model_spec.py and of ai-toolkit's `get_base_model_version`.
    architectures=(Architecture("Z-Image", "zimage"),),
    denoiser=Denoiser(
        component="transformer",
        class_name="ZImageTransformer2DModel",
        targets=Targets(
            attention=_ATTENTION,
            attention_ff=(*_ATTENTION, *_FEED_FORWARD),
            all=None,
            # Neither musubi-tuner nor ai-toolkit trains the refiners before the main layers.
            inside=("layers.",),
        ),
        blocks=("layers",),
        multiple=2,
        text_widths={"cap_feat_dim": ("text_encoder",)},
        settings={"siglip_feat_dim": None},
        checkpoint_sizes={"cap_feat_dim": "cap_embedder.1.weight"},
    ),
    autoencoder=Autoencoder(channels=16, factor=8, scale=0.3611, shift=0.1159),
    text_encoders=(
        TextEncoder(
            "text_encoder",
            "tokenizer",
            "Qwen3Model",
            "hidden_size",
            512,
            None,
            # Qwen3's chat template around one message of the user, with a place for the answer.
            wrap="<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n",
            around=8,
            masked=True,
        ),
    ),
    prediction_types=(),
    forms=(
        # Of kohya's kinds of names ComfyUI knows LyCORIS' alone for modules that its own model joins (q, k and v).
        FileForm("kohya", "", {"ComfyUI": KOHYA_READERS["ComfyUI"]}, {"transformer": "lycoris"}),
        replace(DIFFUSERS, readers={**DIFFUSERS.readers, "ComfyUI": SCALED}),
    ),
    network_modules={
        **dict.fromkeys(DIFFUSERS.adapters, "networks.lora_zimage"),
        "loha": "lycoris.kohya",
        "lokr": "lycoris.kohya",
    },
    checkpoint_sign=r"(^|\.)(cap_embedder|noise_refiner)\.",
    hub_tags=("z-image", "z-image-diffusers"),
    published={
        "z-image": Published(
            1024,
            {
                "transformer": {"cap_feat_dim": 2560, "axes_lens": (1536, 512, 512)},
                "vae": VAE_16,
                "text_encoder": QWEN3_4B,
            },
            repeated={"n_layers": 30},
        ),
    },
)
