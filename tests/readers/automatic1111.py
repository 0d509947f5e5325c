"""AUTOMATIC1111/stable-diffusion-webui 1.10, folder extensions-builtin/Lora.

Keys: `convert_diffusers_name_to_compvis` and `load_network` of networks.py; weights: network_lora.py, network_hada.py,
network_lokr.py, and `finalize_updown`, `apply_weight_decompose` of network.py; joined attention weights:
`network_apply_weights` of networks.py. It knows Stable Diffusion 1.x, 2.x and XL, in the original models' names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from tests.readers.original import unet_names
from tests.readers.reading import Base, Reading

_SUFFIXES = {
    "attentions": {},
    "resnets": {
        "conv1": "in_layers_2",
        "conv2": "out_layers_3",
        "norm1": "in_layers_0",
        "norm2": "out_layers_0",
        "time_emb_proj": "emb_layers_1",
        "conv_shortcut": "skip_connection",
    },
}  # type: dict[str, dict[str, str]]
_OPEN_CLIP = {"mlp_fc1": "mlp_c_fc", "mlp_fc2": "mlp_c_proj", "self_attn": "attn"}


def read(tensors: Mapping[str, Tensor], base: Base) -> Reading:
    """The file applied at strength 1."""
    places = _places(base)
    found: dict[str, dict[str, Tensor]] = {}
    keys: dict[str, set[str]] = {}
    left_over: set[str] = set()
    for key, tensor in tensors.items():
        network, part = key.split(".", 1)
        name = _converted(network, base)
        if name not in places:
            left_over.add(key)
            continue
        found.setdefault(name, {})[part] = tensor
        keys.setdefault(name, set()).add(key)
    changes: dict[str, Tensor] = {}
    for name, parts in found.items():
        module = places[name]
        # Attention of OpenCLIP is one layer, which is changed when all four of its parts are there.
        joined = re.fullmatch(r"(.*resblocks_\d+_attn)_(q_proj|k_proj|v_proj|out_proj)", name)
        whole = joined is None or all(f"{joined[1]}_{side}_proj" in found for side in ("q", "k", "v", "out"))
        change = _change(parts, base.weights[module]) if whole else None
        if change is None:
            left_over |= keys[name]
        else:
            changes[module] = change
    return Reading(changes, frozenset(left_over))


def _places(base: Base) -> dict[str, str]:
    """The tool's names of layers, to ours."""
    originals = unet_names(base.config, base.of("unet"))
    places = {f"diffusion_model_{name}".replace(".", "_"): f"unet.{module}" for module, name in originals.items()}
    for component in ("text_encoder", "text_encoder_2"):
        open_clip = base.second_version or component == "text_encoder_2"
        prefix = "" if base.family != "sdxl" else "1_" if component == "text_encoder_2" else "0_"
        for module in base.of(component):
            if not module.startswith("encoder.layers."):
                continue
            if open_clip:
                name = module.replace("encoder.layers.", "model.transformer.resblocks.")
                for ours, theirs in (("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"), ("self_attn", "attn")):
                    name = name.replace(ours, theirs)
            else:
                name = f"transformer.text_model.{module}"
            places[f"{prefix}{name}".replace(".", "_")] = f"{component}.{module}"
    return places


def _converted(key: str, base: Base) -> str:
    """The tool's name of the layer that a key is for; the key itself where it has no rule."""
    if found := re.fullmatch(r"lora_unet_down_blocks_(\d+)_(attentions|resnets)_(\d+)_(.+)", key):
        block, kind, layer, rest = int(found[1]), found[2], int(found[3]), found[4]
        suffix = _SUFFIXES[kind].get(rest, rest)
        return f"diffusion_model_input_blocks_{1 + block * 3 + layer}_{int(kind == 'attentions')}_{suffix}"
    if found := re.fullmatch(r"lora_unet_mid_block_(attentions|resnets)_(\d+)_(.+)", key):
        kind, layer, rest = found[1], int(found[2]), found[3]
        place = 1 if kind == "attentions" else layer * 2
        return f"diffusion_model_middle_block_{place}_{_SUFFIXES[kind].get(rest, rest)}"
    if found := re.fullmatch(r"lora_unet_up_blocks_(\d+)_(attentions|resnets)_(\d+)_(.+)", key):
        block, kind, layer, rest = int(found[1]), found[2], int(found[3]), found[4]
        suffix = _SUFFIXES[kind].get(rest, rest)
        return f"diffusion_model_output_blocks_{block * 3 + layer}_{int(kind == 'attentions')}_{suffix}"
    if found := re.fullmatch(r"lora_unet_down_blocks_(\d+)_downsamplers_0_conv", key):
        return f"diffusion_model_input_blocks_{3 + int(found[1]) * 3}_0_op"
    if found := re.fullmatch(r"lora_unet_up_blocks_(\d+)_upsamplers_0_conv", key):
        block = int(found[1])
        return f"diffusion_model_output_blocks_{2 + block * 3}_{2 if block > 0 else 1}_conv"
    if found := re.fullmatch(r"lora_te_text_model_encoder_layers_(\d+)_(.+)", key):
        if base.second_version:
            return f"model_transformer_resblocks_{found[1]}_{_open_clip(found[2])}"
        return f"transformer_text_model_encoder_layers_{found[1]}_{found[2]}"
    if found := re.fullmatch(r"lora_te2_text_model_encoder_layers_(\d+)_(.+)", key):
        return f"1_model_transformer_resblocks_{found[1]}_{_open_clip(found[2])}"
    if key.startswith("lora_te1_text_model"):
        return key.replace("lora_te1_text_model", "0_transformer_text_model", 1)
    return key.replace("lora_unet", "diffusion_model", 1)


def _open_clip(rest: str) -> str:
    ours = next(name for name in _OPEN_CLIP if name in rest)
    return rest.replace(ours, _OPEN_CLIP[ours])


def _change(part: dict[str, Tensor], weight: Tensor) -> Tensor | None:
    """What is added to a weight; None for a kind of network that the tool does not know."""
    rank: int | None = None
    if {"lora_up.weight", "lora_down.weight"} <= part.keys():
        up, down = part["lora_up.weight"], part["lora_down.weight"]
        rank = down.shape[0]
        change = up.flatten(1) @ down.flatten(1)
    elif {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b"} <= part.keys():
        rank = part["hada_w1_b"].shape[0]
        change = (part["hada_w1_a"] @ part["hada_w1_b"].flatten(1)) * (part["hada_w2_a"] @ part["hada_w2_b"].flatten(1))
    elif any(name.startswith("lokr_w1") for name in part) and any(name.startswith("lokr_w2") for name in part):
        factors = []
        for name in ("lokr_w1", "lokr_w2"):
            if f"{name}_b" in part:
                rank = part[f"{name}_b"].shape[0]
            factors.append(part[name] if name in part else part[f"{name}_a"] @ part[f"{name}_b"])
        if factors[1].dim() == 4:
            factors[0] = factors[0][:, :, None, None]
        change = torch.kron(*factors)
    else:
        return None
    scale = part["alpha"].item() / rank if rank is not None and "alpha" in part else 1.0
    change = change.reshape(weight.shape) * scale
    if "dora_scale" not in part:
        return change
    changed = weight + change
    ones = [1] * (weight.dim() - 1)
    # Along the inputs, whatever side the scale is for.
    norm = changed.transpose(0, 1).flatten(1).norm(dim=1).reshape(-1, *ones).transpose(0, 1)
    applied: Tensor = changed * (part["dora_scale"] / norm) - weight
    return applied
