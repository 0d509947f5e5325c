"""kohya-ss/sd-scripts 0.10, networks/lora.py.

`create_network_from_weights`, `create_modules`, `load_weights`, `merge_to`: it wraps linear layers and convolutions
inside attention, residual, resampling and text layers, names them after its own model (diffusers' names for Stable
Diffusion 1.x and 2.x, the original ones for XL), and drops every other key. FLUX and Chroma have a file of
their own, networks/lora_flux.py, and so has Stable Diffusion 3.5, networks/lora_sd3.py; they know the original names
alone.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from tests.readers.original import flux_places, sd3_places, unet_names
from tests.readers.reading import Base, Reading

_TRANSFORMERS = {"flux": flux_places, "chroma": flux_places, "sd3": sd3_places}
_INSIDE = (".attentions.", ".resnets.", ".downsamplers.", ".upsamplers.")


def read(tensors: Mapping[str, Tensor], base: Base) -> Reading:
    """The file merged at strength 1."""
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    for key, tensor in tensors.items():
        name = key.split(".")[0]
        if "alpha" in key:
            alphas[name] = tensor.item()
        elif "lora_down" in key:
            ranks[name] = tensor.shape[0]
    changes: dict[str, Tensor] = {}
    used: set[str] = set()
    for name, module in _modules(base).items():
        if name not in ranks:
            continue
        up, down = tensors[f"{name}.lora_up.weight"], tensors[f"{name}.lora_down.weight"]
        scale = alphas.get(name, ranks[name]) / ranks[name]
        weight = base.weights[module]
        if weight.dim() == 2:
            change = up @ down
        elif down.shape[2:4] == (1, 1):
            change = (up[:, :, 0, 0] @ down[:, :, 0, 0])[:, :, None, None]
        else:
            change = nn.functional.conv2d(down.permute(1, 0, 2, 3), up).permute(1, 0, 2, 3)
        changes[module] = change * scale
        used |= {f"{name}.lora_up.weight", f"{name}.lora_down.weight", f"{name}.alpha"}
    return Reading(changes, frozenset(tensors) - used)


def _modules(base: Base) -> dict[str, str]:
    """Its names of the layers that it wraps, to ours."""
    if base.family in _TRANSFORMERS:
        places = _TRANSFORMERS[base.family](base.config, base.of("transformer"))
        wrapped = {place.weight: module for module, place in places.items() if place.rows is None}
        names = {f"lora_unet.{name}": f"transformer.{module}" for name, module in wrapped.items()}
        for number, encoder in enumerate(("text_encoder", "text_encoder_2") if base.family == "sd3" else (), 1):
            names |= {f"lora_te{number}.text_model.{module}": f"{encoder}.{module}" for module in base.of(encoder)}
        return {name.replace(".", "_"): module for name, module in names.items()}
    modules = [module for module in base.of("unet") if any(part in module for part in _INSIDE)]
    originals = unet_names(base.config, modules) if base.family == "sdxl" else {module: module for module in modules}
    names = {f"lora_unet.{name}": f"unet.{module}" for module, name in originals.items()}
    encoders = ("text_encoder", "text_encoder_2") if base.family == "sdxl" else ("text_encoder",)
    for number, encoder in enumerate(encoders, 1):
        prefix = f"lora_te{number}" if len(encoders) > 1 else "lora_te"
        for module in base.of(encoder):
            if ".self_attn." in module or ".mlp." in module:
                names[f"{prefix}.text_model.{module}"] = f"{encoder}.{module}"
    return {name.replace(".", "_"): module for name, module in names.items()}
