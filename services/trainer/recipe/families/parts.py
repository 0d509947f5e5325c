"""Parts that several families have in common: the UNet, FLUX.1's blocks, text encoders, the autoencoder, LoRA files."""

from __future__ import annotations

from services.trainer.recipe.families.facts import FileForm, Targets

CLIP_LAYERS = "text_model."
"""Level of a CLIP text encoder that every reader's names have and that transformers 5 removed from the module."""

CHUNKS = 3
"""Pieces of 75 tokens that the UNets' usual tools train and sample with."""

CLIP_TARGETS = Targets(
    attention=("q_proj", "k_proj", "v_proj", "out_proj"),
    attention_ff=("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    all=("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
)

SCALED = ("lora", "rslora")
"""Adapters that are one product of two matrices, scaled."""
_LOW_RANK = (*SCALED, "dora")
_ALL = (*_LOW_RANK, "loha", "lokr")
DIFFUSERS = FileForm("diffusers", "-diffusers", {"diffusers": _LOW_RANK})
KOHYA_READERS = {
    "ComfyUI": _ALL,
    "Forge": _ALL,
    # It scales DoRA along the other side of a weight.
    "Automatic1111": (*SCALED, "loha", "lokr"),
    "sd-scripts": SCALED,
    "diffusers": SCALED,
}
"""Of the kohya form of families with a UNet."""

UNET_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")
UNET_TARGETS = Targets(
    attention=UNET_ATTENTION,
    attention_ff=(*UNET_ATTENTION, "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out"),
    all=None,
    # The input and output layers and the embeddings of time and size stay as they are.
    inside=("down_blocks.", "mid_block.", "up_blocks."),
)
UNET_SIZES = {"in_channels": "input_blocks.0.0.weight", "cross_attention_dim": "attn2.to_k.weight"}
UNET_OTHER_INPUTS = {
    5: "a depth-to-image model",
    7: "an upscaler",
    8: "an InstructPix2Pix model, which edits pictures",
    9: "an inpainting model",
}
"""Input channels of published UNets whose latents have four channels."""

FLUX_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
FLUX_FEED_FORWARD = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2", "proj_mlp", "proj_out")

NETWORK_MODULES = {
    "lora": "networks.lora",
    "rslora": "networks.lora",
    "dora": "networks.lora",
    "loha": "lycoris.kohya",
    "lokr": "lycoris.kohya",
}

CLIP_L = {
    "vocab_size": 49408, "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "projection_dim": 768,
}  # fmt: skip
CLIP_G = {
    "vocab_size": 49408, "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32,
    "num_attention_heads": 20, "projection_dim": 1280,
}  # fmt: skip
T5_XXL = {
    "vocab_size": 32128, "d_model": 4096, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip
QWEN3_4B = {
    "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36,
    "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40960,
}  # fmt: skip
VAE = {
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "latent_channels": 4, "norm_num_groups": 32,
}  # fmt: skip
VAE_16 = {**VAE, "latent_channels": 16, "use_quant_conv": False, "use_post_quant_conv": False}
"""Of Stable Diffusion 3.5, FLUX.1 and what came after it."""
