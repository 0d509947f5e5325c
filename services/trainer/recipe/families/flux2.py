"""What FLUX.2 [klein] and FLUX.2 [dev] have in common; only their text encoders and guidance differ."""

from __future__ import annotations

from dataclasses import replace

from services.trainer.recipe.families.facts import Autoencoder, Config, Denoiser, FileForm, Targets
from services.trainer.recipe.families.parts import DIFFUSERS, KOHYA_READERS, SCALED, VAE

_ATTENTION = (
    "to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out",
    # Of the single blocks; the feed-forward layer's first half is in it too.
    "to_qkv_mlp_proj",
)  # fmt: skip
_FEED_FORWARD = ("ff.linear_in", "ff.linear_out", "ff_context.linear_in", "ff_context.linear_out", "attn.to_out")

DENOISER = Denoiser(
    component="transformer",
    class_name="Flux2Transformer2DModel",
    targets=Targets(
        attention=_ATTENTION,
        attention_ff=(*_ATTENTION, *_FEED_FORWARD),
        all=None,
        inside=("transformer_blocks.", "single_transformer_blocks."),
    ),
    blocks=("transformer_blocks", "single_transformer_blocks"),
    multiple=2,
    channels_per_latent=4,
    # The answers of three layers of the text encoder, one beside the other.
    text_widths={"joint_attention_dim": ("text_encoder",) * 3},
    checkpoint_sizes={"in_channels": "img_in.weight", "joint_attention_dim": "txt_in.weight"},
)
AUTOENCODER = Autoencoder(channels=32, factor=8, class_name="AutoencoderKLFlux2")
FORMS = (
    # ComfyUI takes LyCORIS' names of diffusers' layers, and diffusers those of LoKr alone.
    FileForm(
        "kohya",
        "",
        {"ComfyUI": KOHYA_READERS["ComfyUI"], "diffusers": ("lokr",)},
        {"transformer": "lycoris"},
    ),
    replace(DIFFUSERS, readers={**DIFFUSERS.readers, "ComfyUI": SCALED}),
)
NETWORK_MODULES = {
    **dict.fromkeys(DIFFUSERS.adapters, "networks.lora_flux_2"),
    "loha": "lycoris.kohya",
    "lokr": "lycoris.kohya",
}
# Both have it; the check on a worker tells them apart by their sizes.
CHECKPOINT_SIGN = r"(^|\.)double_stream_modulation_img\."
HUB_TAGS = ("flux2", "flux2-diffusers")
PUBLISHED_VAE: Config = {**VAE, "latent_channels": 32}
