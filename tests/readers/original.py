"""Names that weights have in the original models' code, which tools keep: sgm's UNet and Black Forest Labs' FLUX.

The UNet's follow `unet_to_diffusers`, those of FLUX.1, FLUX.2 and Chroma `flux_to_diffusers`, Z-Image's
`z_image_to_diffusers`, those of Stable Diffusion 3.5 `mmdit_to_diffusers`, all of ComfyUI's comfy/utils.py.
diffusers' loaders/lora_conversion_utils.py has FLUX.2's names in `_convert_kohya_flux2_lora_to_diffusers` and
Qwen-Image's in `_convert_non_diffusers_qwen_lora_to_diffusers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_DOUBLE = {
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "norm1.linear": "img_mod.lin",
    "norm1_context.linear": "txt_mod.lin",
    "ff.net.0.proj": "img_mlp.0",
    "ff.net.2": "img_mlp.2",
    "ff_context.net.0.proj": "txt_mlp.0",
    "ff_context.net.2": "txt_mlp.2",
}
_JOINT = {
    "attn.to_out.0": "x_block.attn.proj",
    "attn.to_add_out": "context_block.attn.proj",
    "attn2.to_out.0": "x_block.attn2.proj",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
_SINGLE = {"norm.linear": "modulation.lin", "proj_out": "linear2"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module's weight lies: an original weight, and its rows there; all of them when None."""

    weight: str
    rows: tuple[int, int] | None = None


def unet_names(config: Mapping[str, Any], modules: list[str]) -> dict[str, str]:
    """The original name of each module of diffusers' UNet that lies in its blocks."""
    layers, down = config["layers_per_block"], config["down_block_types"]
    names: dict[str, str] = {}
    for block, kind in enumerate(down):
        place = 1 + (layers + 1) * block
        for layer in range(layers):
            names[f"down_blocks.{block}.resnets.{layer}."] = f"input_blocks.{place + layer}.0."
            if "Attn" in kind:
                names[f"down_blocks.{block}.attentions.{layer}."] = f"input_blocks.{place + layer}.1."
        names[f"down_blocks.{block}.downsamplers.0.conv"] = f"input_blocks.{place + layers}.0.op"
    for number, place in enumerate((0, 2)):
        names[f"mid_block.resnets.{number}."] = f"middle_block.{place}."
    names["mid_block.attentions.0."] = "middle_block.1."
    for block, kind in enumerate(config["up_block_types"]):
        place = (layers + 1) * block
        for layer in range(layers + 1):
            names[f"up_blocks.{block}.resnets.{layer}."] = f"output_blocks.{place + layer}.0."
            if "Attn" in kind:
                names[f"up_blocks.{block}.attentions.{layer}."] = f"output_blocks.{place + layer}.1."
        after = 2 if "Attn" in kind else 1
        names[f"up_blocks.{block}.upsamplers.0.conv"] = f"output_blocks.{place + layers}.{after}.conv"
    found: dict[str, str] = {}
    for module in modules:
        for start, original in names.items():
            if module.startswith(start):
                rest = module.removeprefix(start)
                found[module] = original + (_RESNET[rest] if ".resnets." in start else rest)
    return found


def flux_places(config: Mapping[str, Any], modules: list[str]) -> dict[str, Place]:
    """Where the weight of each module of diffusers' FLUX transformer lies in the original one."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    places: dict[str, Place] = {}
    for block in range(config["num_layers"]):
        inside, original = f"transformer_blocks.{block}.", f"double_blocks.{block}."
        for number, kind in enumerate("qkv"):
            rows = (number * width, width)
            places[f"{inside}attn.to_{kind}"] = Place(f"{original}img_attn.qkv", rows)
            places[f"{inside}attn.add_{kind}_proj"] = Place(f"{original}txt_attn.qkv", rows)
        places |= {f"{inside}{name}": Place(original + other) for name, other in _DOUBLE.items()}
    for block in range(config["num_single_layers"]):
        inside, original = f"single_transformer_blocks.{block}.", f"single_blocks.{block}."
        for number, kind in enumerate("qkv"):
            places[f"{inside}attn.to_{kind}"] = Place(f"{original}linear1", (number * width, width))
        places[f"{inside}proj_mlp"] = Place(f"{original}linear1", (3 * width, 4 * width))
        places |= {f"{inside}{name}": Place(original + other) for name, other in _SINGLE.items()}
    return {module: place for module, place in places.items() if module in modules}


_DOUBLE_2 = {
    "attn.to_out.0": "img_attn.proj",
    "attn.to_add_out": "txt_attn.proj",
    "ff.linear_in": "img_mlp.0",
    "ff.linear_out": "img_mlp.2",
    "ff_context.linear_in": "txt_mlp.0",
    "ff_context.linear_out": "txt_mlp.2",
}
_SINGLE_2 = {"attn.to_qkv_mlp_proj": "linear1", "attn.to_out": "linear2"}


def flux2_places(config: Mapping[str, Any], modules: list[str]) -> dict[str, Place]:
    """Where the weight of each module of diffusers' FLUX.2 transformer lies in the original one."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    places: dict[str, Place] = {}
    for module in modules:
        stream, _, rest = module.partition(".")
        block, _, inside = rest.partition(".")
        if stream == "single_transformer_blocks":
            places[module] = Place(f"single_blocks.{block}.{_SINGLE_2[inside]}")
        elif stream == "transformer_blocks" and inside in _DOUBLE_2:
            places[module] = Place(f"double_blocks.{block}.{_DOUBLE_2[inside]}")
        elif stream == "transformer_blocks":
            side = "txt" if "add_" in inside else "img"
            kind = inside.removesuffix("_proj")[-1]
            places[module] = Place(f"double_blocks.{block}.{side}_attn.qkv", ("qkv".index(kind) * width, width))
    return places


def qwen_image_places(config: Mapping[str, Any], modules: list[str]) -> dict[str, Place]:
    """The original Qwen-Image transformer has the names of diffusers' one, which came with it."""
    return {module: Place(module) for module in modules}


def z_image_places(config: Mapping[str, Any], modules: list[str]) -> dict[str, Place]:
    """Where the weight of each module of diffusers' Z-Image transformer lies in the original one."""
    width, places = config["dim"], {}
    for module in modules:
        block, found, kind = module.partition(".attention.")
        if found and kind.startswith("to_out"):
            places[module] = Place(f"{block}.attention.out")
        elif found:
            places[module] = Place(f"{block}.attention.qkv", ("qkv".index(kind[-1]) * width, width))
        else:
            places[module] = Place(module.removeprefix("all_").replace(".2-1", ""))
    return places


def sd3_places(config: Mapping[str, Any], modules: list[str]) -> dict[str, Place]:
    """Where the weight of each module of diffusers' transformer of Stable Diffusion 3.5 lies in the original one."""
    width = config["num_attention_heads"] * config["attention_head_dim"]
    places: dict[str, Place] = {}
    for block in range(config["num_layers"]):
        inside, original = f"transformer_blocks.{block}.", f"joint_blocks.{block}."
        for number, kind in enumerate("qkv"):
            rows = (number * width, width)
            places[f"{inside}attn.to_{kind}"] = Place(f"{original}x_block.attn.qkv", rows)
            places[f"{inside}attn.add_{kind}_proj"] = Place(f"{original}context_block.attn.qkv", rows)
            places[f"{inside}attn2.to_{kind}"] = Place(f"{original}x_block.attn2.qkv", rows)
        places |= {f"{inside}{name}": Place(original + other) for name, other in _JOINT.items()}
    return {module: place for module, place in places.items() if module in modules}


def original_weights(places: Mapping[str, Place], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The original weights, those of several modules joined."""
    parts: dict[str, list[tuple[int, Tensor]]] = {}
    for module, place in places.items():
        parts.setdefault(place.weight, []).append((place.rows[0] if place.rows else 0, weights[module]))
    return {
        name: torch.cat([weight for _, weight in sorted(found, key=lambda one: one[0])])
        for name, found in parts.items()
    }
