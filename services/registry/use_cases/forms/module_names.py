"""Names of a network's layers: as diffusers spells them, with underscores for dots, and in the original models' code.

The original UNet's names follow sgm's `input_blocks`, those of FLUX its `double_blocks`, as sd-scripts writes them.
"""

from __future__ import annotations

import re

from services.registry.use_cases.forms.refusal import cannot

CLIP_LEVEL = "text_model."
Z_IMAGE_BLOCKS = ("layers.", "noise_refiner.", "context_refiner.")
QWEN_IMAGE_LAYERS = ("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2", "mod.1")
"""Endings of Qwen-Image's layers that FLUX.1 has not."""
FLUX_2_LAYERS = ("to_qkv_mlp_proj", "linear_in", "linear_out")
"""Endings of FLUX.2's layers that FLUX.1 has not; every one of its single blocks has the first."""
# Levels of a name that have an underscore of their own, or are part of one that has.
_LEVELS = [
    "down_blocks", "up_blocks", "mid_block", "transformer_blocks", "single_transformer_blocks", "attentions",
    "resnets", "downsamplers", "upsamplers", "attn", "attn1", "attn2", "to_q", "to_k", "to_v", "to_out", "to_add_out",
    "add_q_proj", "add_k_proj", "add_v_proj", "ff", "ff_context", "net", "proj", "proj_in", "proj_out", "proj_mlp",
    "conv", "conv1", "conv2", "conv_in", "conv_out", "conv_shortcut", "time_emb_proj", "time_embedding",
    "add_embedding", "linear", "linear_1", "linear_2", "norm", "norm1", "norm1_context", "norm_out", "x_embedder",
    "context_embedder", "time_text_embed", "timestep_embedder", "guidance_embedder", "text_embedder", "text_model",
    "encoder", "layers", "self_attn", "q_proj", "k_proj", "v_proj", "out_proj", "mlp", "fc1", "fc2",
    "text_projection", "block", "layer", "SelfAttention", "DenseReluDense", "q", "k", "v", "o", "wi", "wi_0", "wi_1",
    "wo", "attention", "feed_forward", "w1", "w2", "w3", "adaLN_modulation", "noise_refiner", "context_refiner",
    "to_qkv_mlp_proj", "linear_in", "linear_out", "img_mlp", "txt_mlp", "img_mod", "txt_mod",
]  # fmt: skip
_LEVEL = re.compile(rf"(?:{'|'.join(sorted(_LEVELS, key=len, reverse=True))}|\d+)(?=_|$)")
_LAYERS = 2
"""Layers of each block of Stable Diffusion XL's UNet, which its original names count through."""
_RESNET = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_RESNET_BACK = {name.replace(".", "_"): module for module, name in _RESNET.items()}
_DOUBLE = {
    "img_attn_proj": "attn.to_out.0",
    "txt_attn_proj": "attn.to_add_out",
    "img_mlp_0": "ff.net.0.proj",
    "img_mlp_2": "ff.net.2",
    "txt_mlp_0": "ff_context.net.0.proj",
    "txt_mlp_2": "ff_context.net.2",
    "img_mod_lin": "norm1.linear",
    "txt_mod_lin": "norm1_context.linear",
}
_JOINED = {
    "img_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}
_SINGLE = {"linear2": "proj_out", "modulation_lin": "norm.linear"}
_DOUBLE_OF_2 = {
    "img_attn_proj": "attn.to_out.0",
    "txt_attn_proj": "attn.to_add_out",
    "img_mlp_0": "ff.linear_in",
    "img_mlp_2": "ff.linear_out",
    "txt_mlp_0": "ff_context.linear_in",
    "txt_mlp_2": "ff_context.linear_out",
}
_SINGLE_OF_2 = {"linear1": "attn.to_qkv_mlp_proj", "linear2": "attn.to_out"}
_ROWS_OF_2 = {"linear1": 9, "img_mlp_0": 6, "txt_mlp_0": 6}
"""Rows of FLUX.2's layers by the width of what comes in; FLUX.1's have 7 and 4 times so many."""


def dotted(name: str) -> str:
    """`down_blocks.0.attn1.to_q` of `down_blocks_0_attn1_to_q`. Raises FailedPrecondition for levels nobody knows."""
    parts: list[str] = []
    at = 0
    while at < len(name):
        found = _LEVEL.match(name, at)
        if found is None:
            raise cannot(f"'{name[:100]}' is no layer of a known network")
        parts.append(found[0])
        at = found.end() + 1
    return ".".join(parts)


def unet_module(name: str) -> str:
    """The diffusers name of a UNet's layer, of diffusers' own or the original one with underscores."""
    found = re.fullmatch(r"(input|output)_blocks_(\d+)_(\d)_(.+)|middle_block_(\d)_(.+)", name)
    if found is None:
        return dotted(name)
    if found[5]:
        place = int(found[5])
        side = "attentions.0" if place == 1 else f"resnets.{place // 2}"
        return f"mid_block.{side}.{_inside(side, found[6])}"
    number, place, inside = int(found[2]), int(found[3]), found[4]
    step = _LAYERS + 1
    if found[1] == "input":
        block, layer = divmod(number - 1, step)
        if layer == _LAYERS:
            return f"down_blocks.{block}.downsamplers.0.conv"
        side = "down_blocks"
    else:
        block, layer = divmod(number, step)
        if inside == "conv":
            return f"up_blocks.{block}.upsamplers.0.conv"
        side = "up_blocks"
    kind = "attentions" if place else "resnets"
    return f"{side}.{block}.{kind}.{layer}.{_inside(kind, inside)}"


def original_unet_name(module: str) -> str:
    """The original name of a layer in the blocks of Stable Diffusion XL's UNet, with dots."""
    found = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)|mid_block\.(\w+)\.(\d)\.(.+)", module)
    if found is None:
        raise cannot(f"'{module[:100]}' has no name in Stable Diffusion XL's own code")
    if found[6]:
        place = 1 if found[6] == "attentions" else 2 * int(found[7])
        return f"middle_block.{place}.{_original_inside(found[6], found[8])}"
    block, kind, layer, inside = int(found[2]), found[3], int(found[4]), found[5]
    step = _LAYERS + 1
    if kind == "downsamplers":
        return f"input_blocks.{(block + 1) * step}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{block * step + _LAYERS}.2.conv"
    number = block * step + layer
    start = f"input_blocks.{number + 1}" if found[1] == "down" else f"output_blocks.{number}"
    return f"{start}.{int(kind == 'attentions')}.{_original_inside(kind, inside)}"


def of_flux_2(name: str, rows: int, width: int) -> bool:
    """Whether an original layer of FLUX, by its name with underscores, has the size that only FLUX.2's has."""
    return any(name.endswith(f"_{layer}") and rows == width * times for layer, times in _ROWS_OF_2.items())


def flux_modules(name: str, *, second: bool = False) -> tuple[tuple[str, ...], bool] | None:
    """The diffusers layers that an original layer of FLUX is made of, by its name with underscores, in the order of its
    rows; and whether what the first three leave belongs to the last. None when it is no layer of FLUX's blocks.

    second: of FLUX.2, whose names are the same and whose single blocks join other layers."""
    found = re.fullmatch(r"(double|single)_blocks_(\d+)_(.+)", name)
    if found is None:
        return None
    inside = found[3]
    if found[1] == "single":
        start = f"single_transformer_blocks.{found[2]}"
        if inside == "linear1" and not second:
            return tuple(f"{start}.{part}" for part in ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")), True
        known = _SINGLE_OF_2 if second else _SINGLE
    else:
        start = f"transformer_blocks.{found[2]}"
        if inside in _JOINED:
            return tuple(f"{start}.{part}" for part in _JOINED[inside]), False
        known = _DOUBLE_OF_2 if second else _DOUBLE
    if inside not in known:
        raise cannot(f"'{name[:100]}' is no layer of FLUX that is known")
    return (f"{start}.{known[inside]}",), False


def with_clip_level(module: str) -> str:
    """A text encoder's layer below the level that files name and newer code lacks."""
    return CLIP_LEVEL + module if module.startswith("encoder.layers.") else module


def _inside(kind: str, name: str) -> str:
    if kind.startswith("resnets"):
        if name not in _RESNET_BACK:
            raise cannot(f"'{name[:100]}' is no layer of a residual block")
        return _RESNET_BACK[name]
    return dotted(name)


def _original_inside(kind: str, inside: str) -> str:
    return _RESNET.get(inside, inside) if kind == "resnets" else inside
