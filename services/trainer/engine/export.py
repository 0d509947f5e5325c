"""The LoRA files of an epoch. Our own writer: diffusers' converter loses alpha and DoRA (see the tests' round trips).

- kohya form: ``lora_unet_<module>.lora_down.weight`` and so on, what A1111 and ComfyUI read; for LoHa and LoKr the
  names of LyCORIS.
- diffusers form: PEFT keys below the component's name, with the adapter's configuration in the metadata. The scale is
  inside the second matrix: some readers of these names look at no configuration.

Which tool applies which form is a fact of each family; tests/readers proves it by the tools' own rules.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from torch import Tensor, nn
from transformers import PreTrainedModel

from services.trainer.engine.families.base import Family
from services.trainer.engine.job import ArtifactFile
from services.trainer.engine.json_text import to_json
from services.trainer.engine.lora import adapter_state, whole_change
from services.trainer.engine.metadata import model_hashes
from services.trainer.engine.quantization import whole_weight
from services.trainer.engine.safetensors_bytes import safetensors_bytes
from services.trainer.recipe.families.parts import CLIP_LAYERS
from services.trainer.recipe.parameters import TrainingParameters

LORA_ENDINGS = {
    "lora_A.weight": "lora_down.weight",
    "lora_B.weight": "lora_up.weight",
    "lora_magnitude_vector.weight": "dora_scale",
    "lora_magnitude_vector": "dora_scale",
}

HALVED = 1e-3
"""Largest share of a matrix's norm that half precision may change; beyond it the matrix stays in float32."""


def write_artifacts(
    folder: Path,
    name: str,
    family: Family,
    carriers: Mapping[str, nn.Module],
    parameters: TrainingParameters,
    metadata: dict[str, str],
) -> tuple[ArtifactFile, ...]:
    """Write an epoch's files into ``folder``.

    Args:
        carriers: the components with an adapter, by name, holding the weights to export.
        metadata: of every file.

    Returns:
        The family's forms whose readers apply the adapter, in the order of its facts.
    """
    dtype = torch.float32 if parameters.mixed_precision == "no" else torch.float16
    folder.mkdir(parents=True, exist_ok=True)
    layouts = {"kohya": kohya_form, "diffusers": diffusers_form}
    files: list[ArtifactFile] = []
    for form in family.facts.forms:
        if parameters.adapter in form.adapters:
            tensors, settings = layouts[form.form](family, carriers, parameters)
            tensors = {key: _narrowed(tensor, dtype).cpu().contiguous() for key, tensor in tensors.items()}
            only_ss = {key: value for key, value in metadata.items() if key.startswith("ss_")}
            about = {**metadata, **settings, **model_hashes(safetensors_bytes(tensors, only_ss))}
            files.append(_write(folder / f"{name}{form.ending}.safetensors", form.form, tensors, about))
    return tuple(files)


def kohya_form(
    family: Family,
    carriers: Mapping[str, nn.Module],
    parameters: TrainingParameters,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors under kohya's names, and settings for the metadata."""
    tensors: dict[str, Tensor] = {}
    for component, module in carriers.items():
        for name, tensor in adapter_state(module).items():
            path, ending = split_key(name)
            key = family.kohya_name(component, path)
            if ending.startswith("lora_magnitude_vector"):
                base, changed = row_norms(module.get_submodule(path))
                tensor = tensor.reshape(base.shape) * (base / changed)
            elif ending in ("lokr_w1", "lokr_w1_a"):
                tensor = tensor * (parameters.alpha / parameters.rank)
            tensors[f"{key}.{LORA_ENDINGS.get(ending, ending)}"] = tensor
            tensors[f"{key}.alpha"] = torch.tensor(kohya_alpha(parameters))
    return tensors, {}


def diffusers_form(
    family: Family,
    carriers: Mapping[str, nn.Module],
    parameters: TrainingParameters,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and settings as ``StableDiffusionPipeline.save_lora_weights`` lays them out, for old and new readers.

    CLIP's layers lie below ``text_model`` in tensors, which newer readers take away and older ones need, and not so in
    ``target_modules``, which all compare with the end of a name.
    """
    tensors: dict[str, Tensor] = {}
    configurations: dict[str, Any] = {}
    for component, module in carriers.items():
        state = adapter_state(module)
        for key, value in state.items():
            if ".lora_B." in key:
                value = value * lora_scale(parameters)
            tensors[diffusers_key(family, component, module, key)] = value
        # Older readers refuse a setting that they do not know, and want the two patterns even when they are empty.
        settings = {
            "r": parameters.rank,
            "lora_alpha": parameters.rank,
            "rank_pattern": {},
            "alpha_pattern": {},
            "target_modules": sorted({split_key(key)[0].removeprefix(CLIP_LAYERS) for key in state}),
            "use_rslora": False,
            "use_dora": parameters.adapter == "dora",
        }
        configurations |= {f"{component}.{key}": value for key, value in settings.items()}
    return tensors, {"format": "pt", LORA_ADAPTER_METADATA_KEY: to_json(configurations)}


def diffusers_key(family: Family, component: str, module: nn.Module, key: str) -> str:
    """The name of a PEFT key of a component in a file of diffusers form."""
    # transformers' loader knows DoRA's scale by this longer name only; diffusers' own loader takes either.
    lengthened = isinstance(module, PreTrainedModel) and key.endswith("lora_magnitude_vector")
    return f"{family.facts.diffusers_key(component, key)}{'.weight' if lengthened else ''}"


def kohya_alpha(parameters: TrainingParameters) -> float:
    """The alpha that makes a reader, which scales by alpha / rank, scale as the trained adapter does.

    rsLoRA scales by alpha / sqrt(rank). LoKr's scale is inside its first matrix, because readers ignore alpha where
    both matrices are whole; an alpha equal to the rank then changes nothing.
    """
    if parameters.adapter == "rslora":
        return parameters.alpha * math.sqrt(parameters.rank)
    return float(parameters.rank) if parameters.adapter == "lokr" else parameters.alpha


def lora_scale(parameters: TrainingParameters) -> float:
    """What a LoRA's product of two matrices is multiplied by."""
    return parameters.alpha / (math.sqrt(parameters.rank) if parameters.adapter == "rslora" else parameters.rank)


def row_norms(layer: Any) -> tuple[Tensor, Tensor]:
    """Norms of the rows of an adapted layer's weight without and with its LoRA, [out, 1] or [out, 1, 1, 1].

    DoRA divides by the second; ComfyUI and Forge, where a scale has a number for each row, by the first
    (``weight_decompose`` of ComfyUI's comfy/weight_adapter/base.py). The quotient of the two goes into the scale.
    """
    change = whole_change(layer)
    weight = whole_weight(layer.get_base_layer(), change.device)
    shape = (-1, *[1] * (weight.dim() - 1))
    norms = [torch.linalg.vector_norm(rows.flatten(1), dim=1).view(shape) for rows in (weight, weight + change)]
    return norms[0], norms[1]


def split_key(key: str) -> tuple[str, str]:
    """Module path and ending of a PEFT key such as ``down_blocks.0.attn1.to_q.lora_A.weight``."""
    for marker in (".lora_", ".hada_", ".lokr_"):
        path, found, rest = key.partition(marker)
        if found:
            return path, marker[1:] + rest
    raise AssertionError(f"unexpected adapter key {key}")


def _narrowed(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor in ``dtype``; in float32 where that would take a part of what was learnt away.

    Half precision has no numbers for the first small steps of a LoRA, and no fine ones: DoRA's scales and an rsLoRA's
    alpha differ from those of an untrained layer by less than its steps.
    """
    tensor = tensor.detach().float()
    narrow = tensor.to(dtype)
    matrix = tensor.dim() > 1 and min(tensor.shape[:2]) > 1
    return narrow if matrix and bool((narrow.float() - tensor).norm() <= HALVED * tensor.norm()) else tensor


def _write(path: Path, form: Any, tensors: dict[str, Tensor], metadata: dict[str, str]) -> ArtifactFile:
    data = safetensors_bytes(tensors, metadata)
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)
    return ArtifactFile(form, path, hashlib.sha256(data).hexdigest(), len(data))
