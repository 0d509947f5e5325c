"""The file of a LoRA's layers in each form, as the tools read it that the form is named after."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from services.registry.models.names import KOHYA
from services.registry.use_cases.forms import adapter_config, module_names
from services.registry.use_cases.forms.reading import TEXT_ENCODER, TRANSFORMER, UNET, Layer
from services.registry.use_cases.forms.refusal import cannot
from services.registry.use_cases.forms.tensors import Tensor, number

Family = Literal["stable-diffusion", "sdxl", "flux", "flux2", "qwen-image", "z-image"]
_PREFIXES: Mapping[Family, Mapping[str, str]] = {
    "stable-diffusion": {UNET: "lora_unet", TEXT_ENCODER: "lora_te"},
    "sdxl": {UNET: "lora_unet", TEXT_ENCODER: "lora_te1", "text_encoder_2": "lora_te2"},
    # ComfyUI knows Z-Image's layers by LyCORIS' names alone.
    "z-image": {TRANSFORMER: "lycoris"},
    "flux2": {TRANSFORMER: "lycoris"},
    "qwen-image": {TRANSFORMER: "lora_unet"},
    # Also of Chroma and Stable Diffusion 3.5, whose files have the same names.
    "flux": {TRANSFORMER: "lora_transformer", TEXT_ENCODER: "lora_te1", "text_encoder_2": "lora_te2"},
}
# Settings of the form that the file had, and digests of the bytes that it had.
_OF_THE_OLD_FILE = ("lora_adapter_metadata", "format", "sshs_", "modelspec.hash_")
_WIDTH_OF_XL = 2048


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A file to write: its tensors and metadata, and the settings that lie beside it in PEFT's form, "" otherwise."""

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    settings: str = ""


def about(metadata: Mapping[str, str], *, source: str, name: str) -> dict[str, str]:
    """The metadata of a new file. metadata: of the file that it is made of. source: what that is. name: the new one's,
    without an ending."""
    kept = {key: value for key, value in metadata.items() if not key.startswith(_OF_THE_OLD_FILE)}
    return {**kept, "ss_output_name": name, "modelspec.title": name, "fiveshot.converted_from": source}


def rewritten(layers: Sequence[Layer], form: str, metadata: Mapping[str, str], kept: Mapping[str, str]) -> Rewritten:
    """The layers in kohya's or diffusers' form. metadata: of the file that they are from. kept: of the new one.

    Raises FailedPrecondition(FORM_NOT_POSSIBLE).
    """
    return Rewritten(_kohya(layers, family_of(layers, metadata)), kept) if form == KOHYA else _diffusers(layers, kept)


def for_peft(layers: Sequence[Layer], kept: Mapping[str, str]) -> dict[str, Rewritten]:
    """The layers as PEFT saves them: a file with its settings for each network, by the network's name."""
    networks = sorted({layer.component for layer in layers})
    own = {**kept, "format": "pt"}
    # Since its fifth release transformers names the layers of CLIP's plain text encoder without that level, but not
    # those of the one with a projection, which Stable Diffusion 3.5 has in the first place too.
    second = [layer.module for layer in layers if layer.component == "text_encoder_2"]
    projected = TRANSFORMER in networks and any(module.startswith(module_names.CLIP_LEVEL) for module in second)
    level = {} if projected else {TEXT_ENCODER: module_names.CLIP_LEVEL}
    return {
        name: _peft([layer for layer in layers if layer.component == name], own, level.get(name, ""))
        for name in networks
    }


def family_of(layers: Sequence[Layer], metadata: Mapping[str, str]) -> Family:
    """Which family of base models a LoRA changes: by what the file says, else by its layers."""
    components = {layer.component for layer in layers}
    if TRANSFORMER in components:
        ours = [layer.module for layer in layers if layer.component == TRANSFORMER]
        if all(module.startswith(module_names.Z_IMAGE_BLOCKS) for module in ours):
            return "z-image"
        architecture = metadata.get("modelspec.architecture", "")
        if any(module.endswith(module_names.QWEN_IMAGE_LAYERS) for module in ours) or architecture.startswith("Qwen-"):
            return "qwen-image"
        second = any(module.endswith(module_names.FLUX_2_LAYERS) for module in ours)
        return "flux2" if second or architecture.startswith("Flux.2-") else "flux"
    if "text_encoder_2" in components:
        return "sdxl"
    architecture = metadata.get("modelspec.architecture", "") or metadata.get("ss_base_model_version", "")
    if re.match(r"stable-diffusion-xl|sdxl", architecture):
        return "sdxl"
    if re.match(r"stable-diffusion-v[12]|sd_v", architecture):
        return "stable-diffusion"
    deep = any(re.search(r"\.transformer_blocks\.[1-9]", layer.module) for layer in layers)
    wide = any(layer.module.endswith("attn2.to_k") and layer.down.shape[1] == _WIDTH_OF_XL for layer in layers)
    return "sdxl" if deep or wide else "stable-diffusion"


def _kohya(layers: Sequence[Layer], family: Family) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for layer in layers:
        prefix = _PREFIXES[family].get(layer.component)
        if prefix is None:
            raise cannot(f"{layer.component} is no network of its base model that such files know")
        path = layer.module
        if family == "sdxl" and layer.component == UNET:
            path = module_names.original_unet_name(path)
        key = f"{prefix}_{path}".replace(".", "_")
        tensors[f"{key}.lora_down.weight"] = layer.down
        tensors[f"{key}.lora_up.weight"] = layer.up
        tensors[f"{key}.alpha"] = number(layer.alpha)
    return tensors


def _diffusers(layers: Sequence[Layer], metadata: Mapping[str, str]) -> Rewritten:
    """The scale goes into the second matrix: some readers of these names look at no settings."""
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, dict[str, tuple[int, float]]] = {}
    for layer in layers:
        key = f"{layer.component}.{layer.module}"
        tensors[f"{key}.lora_A.weight"] = layer.down
        tensors[f"{key}.lora_B.weight"] = layer.up.times(layer.scale)
        inner = layer.module.removeprefix(module_names.CLIP_LEVEL)
        ranks.setdefault(layer.component, {})[inner] = (layer.rank, float(layer.rank))
    settings = {
        f"{component}.{key}": value
        for component, own in ranks.items()
        for key, value in adapter_config.described(own).items()
    }
    return Rewritten(tensors, {**metadata, "format": "pt", "lora_adapter_metadata": _json(settings)})


def _peft(layers: Sequence[Layer], metadata: Mapping[str, str], level: str) -> Rewritten:
    """level: that the network's own names lack."""
    modules = {layer.module.removeprefix(level): layer for layer in layers}
    tensors: dict[str, Tensor] = {}
    for module, layer in modules.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = layer.down
        tensors[f"base_model.model.{module}.lora_B.weight"] = layer.up
    settings: dict[str, Any] = {
        "peft_type": "LORA", "task_type": None, "base_model_name_or_path": None, "inference_mode": True,
        "bias": "none", "fan_in_fan_out": False, "init_lora_weights": True, "lora_dropout": 0.0,
        **adapter_config.described({module: (layer.rank, layer.alpha) for module, layer in modules.items()}),
    }  # fmt: skip
    return Rewritten(tensors, metadata, json.dumps(settings, indent=2, sort_keys=True) + "\n")


def _json(settings: Mapping[str, Any]) -> str:
    return json.dumps(settings, separators=(",", ":"), sort_keys=True)
