"""ComfyUI, and Forge, which took its rules over.

Key maps: `model_lora_keys_unet`, `model_lora_keys_clip` of comfy/lora.py; loading: `load_lora` there and `load` of each
adapter in comfy/weight_adapter/; weights: `calculate_weight` and `weight_decompose` there. Forge's copies:
packages_3rdparty/comfyui_lora_collection/lora.py for keys, backend/patcher/lora.py for weights.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tests.readers.original import (
    Place,
    flux2_places,
    flux_places,
    original_weights,
    qwen_image_places,
    sd3_places,
    unet_names,
    z_image_places,
)
from tests.readers.reading import Base, Reading

_CLIP = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2")
_ENCODERS = {
    "stable-diffusion": ("text_encoder",),
    "sdxl": ("text_encoder", "text_encoder_2"),
    "flux": ("text_encoder",),
    "sd3": ("text_encoder", "text_encoder_2"),
    # Its key map of language models has no name that we write.
    "z-image": (),
    "chroma": (),
    "flux2-klein": (),
    "qwen-image": (),
}
# FLUX.2 and Chroma are kinds of FLUX to it, and `flux_to_diffusers` has the names of all.
_LIKE_FLUX = ("flux", "chroma", "flux2-klein")
_TRANSFORMERS = {
    "flux": flux_places,
    "chroma": flux_places,
    "flux2-klein": flux2_places,
    "qwen-image": qwen_image_places,
    "sd3": sd3_places,
    "z-image": z_image_places,
}


def read(tensors: Mapping[str, Tensor], base: Base) -> Reading:
    """The file applied at strength 1."""
    component = "transformer" if base.family in _TRANSFORMERS else "unet"
    modules = base.of(component)
    if base.family in _TRANSFORMERS:
        inside = _TRANSFORMERS[base.family](base.config, modules)
    else:
        inside = {module: Place(name) for module, name in unet_names(base.config, modules).items()}
    places = {f"{component}.{module}": place for module, place in inside.items()}
    for encoder in _ENCODERS[base.family]:
        names = [name for name in base.of(encoder) if name.startswith("encoder.layers.")]
        places |= {f"{encoder}.{name}": Place(f"{encoder}|{name}") for name in names}
    weights = original_weights(places, base.weights)
    patched = {name: weight.clone() for name, weight in weights.items()}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        ending = next((ending for ending in _KNOWN if name.endswith(f".{ending}")), "")
        parts.setdefault(name.removesuffix(f".{ending}"), {})[ending] = tensor
    used: set[str] = set()
    for key, place in _key_map(base, inside).items():
        if key in parts and "" not in parts[key] and _patch(patched[place.weight], place.rows, parts[key]):
            used |= {f"{key}.{ending}" for ending in parts[key]}
    changes = {}
    for module, place in places.items():
        change = patched[place.weight] - weights[place.weight]
        changes[module] = change if place.rows is None else change.narrow(0, *place.rows)
    return Reading({name: change for name, change in changes.items() if change.any()}, frozenset(tensors) - used)


_KNOWN = {
    "alpha", "dora_scale", "lora_up.weight", "lora_down.weight", "lora_B.weight", "lora_A.weight",
    *(f"hada_w{number}_{side}" for number in (1, 2) for side in "ab"),
    *(f"lokr_w{number}{side}" for number in (1, 2) for side in ("", "_a", "_b")),
}  # fmt: skip


def _key_map(base: Base, inside: Mapping[str, Place]) -> dict[str, Place]:
    """Every key that the tool looks for, and the weight that it changes."""
    keys: dict[str, Place] = {}
    for module, place in inside.items():
        flat = module.replace(".", "_")
        keys[f"lora_unet_{place.weight}".replace(".", "_")] = Place(place.weight)
        if base.family in (*_LIKE_FLUX, "sd3"):
            keys |= {f"transformer.{module}": place, f"lycoris_{flat}": place, f"lora_transformer_{flat}": place}
        elif base.family == "qwen-image":
            keys |= {f"transformer.{module}": place, module: place, f"lycoris_{flat}": place}
        elif base.family == "z-image":
            keys |= {f"transformer.{module}": place, f"diffusion_model.{module}": place, module: place}
            keys |= {f"lycoris_{flat}": place}
        else:
            keys |= {f"lora_unet_{flat}": place, f"lycoris_{flat}": place}
            dotted = module.replace(".to_", ".processor.to_").removesuffix(".0" if module.endswith("to_out.0") else "")
            keys |= {dotted: place, f"unet.{dotted}": place}
    for number, encoder in enumerate(_ENCODERS[base.family], 1):
        prefixes = ("lora_te", "lora_te1") if number == 1 else ("lora_te2",)
        for layer in range(32):
            for name in _CLIP:
                module = f"encoder.layers.{layer}.{name}"
                if f"{encoder}.{module}" not in base.weights:
                    continue
                place = Place(f"{encoder}|{module}")
                flat = f"text_model_encoder_layers_{layer}_{name.replace('.', '_')}"
                keys |= {f"{prefix}_{flat}": place for prefix in prefixes}
                keys[f"{encoder}.text_model.{module}"] = place
    return keys


def _patch(weight: Tensor, rows: tuple[int, int] | None, part: dict[str, Tensor]) -> bool:
    """Change a weight in place by what lies under one key; False when there is nothing that the tool knows."""
    if rows is not None:
        weight = weight.narrow(0, *rows)
    alpha = part["alpha"].item() if "alpha" in part else None
    up = part.get("lora_up.weight", part.get("lora_B.weight"))
    scale = 1.0
    if up is not None:
        down = part["lora_down.weight" if "lora_up.weight" in part else "lora_A.weight"]
        scale = 1.0 if alpha is None else alpha / down.shape[0]
        change = up.flatten(1) @ down.flatten(1)
    elif "hada_w1_a" in part:
        scale = 1.0 if alpha is None else alpha / part["hada_w1_b"].shape[0]
        change = (part["hada_w1_a"] @ part["hada_w1_b"]) * (part["hada_w2_a"] @ part["hada_w2_b"])
    elif any(ending.startswith("lokr_") for ending in part):
        factors, rank = [], None
        for name in ("lokr_w1", "lokr_w2"):
            if name in part:
                factors.append(part[name])
            else:
                rank = part[f"{name}_b"].shape[0]
                factors.append(part[f"{name}_a"] @ part[f"{name}_b"])
        if factors[1].dim() == 4:
            factors[0] = factors[0][:, :, None, None]
        # Where both factors are whole there is no rank, and alpha counts for nothing.
        scale = alpha / rank if alpha is not None and rank is not None else 1.0
        change = torch.kron(*factors)
    else:
        return False
    change = change.reshape(weight.shape) * scale
    if "dora_scale" in part:
        weight.copy_(_decomposed(weight, change, part["dora_scale"]))
    else:
        weight += change
    return True


def _decomposed(weight: Tensor, change: Tensor, scale: Tensor) -> Tensor:
    changed = weight + change
    ones = [1] * (weight.dim() - 1)
    if scale.shape[0] == weight.shape[0]:
        # The norm of the base weight alone, not of the sum.
        norm = weight.flatten(1).norm(dim=1).reshape(-1, *ones)
    else:
        norm = changed.transpose(0, 1).flatten(1).norm(dim=1).reshape(-1, *ones).transpose(0, 1)
    applied: Tensor = changed * (scale / (norm + torch.finfo(weight.dtype).eps))
    return applied
