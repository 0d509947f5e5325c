"""Qwen-Image: a transformer trained by flow matching, text of Qwen2.5-VL, an autoencoder made for moving pictures."""

from __future__ import annotations

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
from services.trainer.recipe.families.parts import DIFFUSERS, KOHYA_READERS, SCALED

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
_FEED_FORWARD = ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2")
_ASKED = (
    "Describe the image by detailing the color, shape, size, texture, quantity, text, spatial relationships of the"
    " objects and background:"
)
"""What the text encoder is asked before each caption, in the model's training and in every pipeline of it."""

FACTS = FamilyFacts(
    name="qwen-image",
    title="Qwen-Image",
    architectures=(Architecture("Qwen-Image", "qwen_image"),),
    denoiser=Denoiser(
        component="transformer",
        class_name="QwenImageTransformer2DModel",
        targets=Targets(
            attention=_ATTENTION,
            attention_ff=(*_ATTENTION, *_FEED_FORWARD),
            all=None,
            inside=("transformer_blocks.",),
            # What becomes of the text in the last block, nobody reads.
            unused_end="transformer_blocks",
            unused_layers=("add_q_proj", "to_add_out", "txt_mlp.net.0.proj", "txt_mlp.net.2"),
        ),
        blocks=("transformer_blocks",),
        multiple=2,
        channels_per_latent=4,
        answers_unpacked=True,
        text_widths={"joint_attention_dim": ("text_encoder",)},
        # Those of models that edit pictures or draw layers.
        settings={
            "guidance_embeds": False, "zero_cond_t": False, "use_layer3d_rope": False, "use_additional_t_cond": False,
        },
        checkpoint_sizes={"in_channels": "img_in.weight", "joint_attention_dim": "txt_in.weight"},
    ),
    autoencoder=Autoencoder(channels=16, factor=8, class_name="AutoencoderKLQwenImage"),
    text_encoders=(
        TextEncoder(
            "text_encoder",
            "tokenizer",
            "Qwen2_5_VLForConditionalGeneration",
            "text_config.hidden_size",
            # 1,024 behind the 34 before a caption, which the denoiser does not see.
            1058,
            None,
            wrap=f"<|im_start|>system\n{_ASKED}<|im_end|>\n<|im_start|>user\n{{}}<|im_end|>\n<|im_start|>assistant\n",
            around=39,
            masked=True,
        ),
    ),
    prediction_types=(),
    forms=(
        # As musubi-tuner writes it; every weight of a denoiser has such a name in ComfyUI.
        FileForm(
            "kohya",
            "",
            {"ComfyUI": KOHYA_READERS["ComfyUI"], "diffusers": SCALED},
            {"transformer": "lora_unet"},
        ),
        FileForm("diffusers", DIFFUSERS.ending, {**DIFFUSERS.readers, "ComfyUI": SCALED}),
    ),
    network_modules={
        **dict.fromkeys(DIFFUSERS.adapters, "networks.lora_qwen_image"),
        "loha": "lycoris.kohya",
        "lokr": "lycoris.kohya",
    },
    checkpoint_sign=r"(^|\.)transformer_blocks\.\d+\.txt_mod\.",
    hub_tags=("qwen-image", "qwen-image-diffusers"),
    published={
        "qwen-image": Published(
            1024,
            {
                "transformer": {"in_channels": 64, "out_channels": 16, "joint_attention_dim": 3584},
                "vae": {"z_dim": 16, "dim_mult": [1, 2, 4, 4]},
                "text_encoder": {
                    "text_config": {
                        "model_type": "qwen2_5_vl_text", "vocab_size": 152064, "hidden_size": 3584,
                        "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
                        "num_key_value_heads": 4, "max_position_embeddings": 128000, "tie_word_embeddings": False,
                        "rope_parameters": {
                            "rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [16, 24, 24],
                        },
                    },
                    "vision_config": {
                        "model_type": "qwen2_5_vl", "depth": 32, "hidden_size": 1280, "intermediate_size": 3420,
                        "num_heads": 16, "out_hidden_size": 3584,
                    },
                },
            },
            # Three are one of each kind: nothing before the first learns, and nobody reads the text of the last.
            mixture=((-56, {"num_layers": 3}), (57, {"num_layers": 4})),
        ),
    },
)  # fmt: skip
