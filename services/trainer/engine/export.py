"""The LoRA files of an epoch. Our own writer: diffusers' converter loses alpha and DoRA (see the tests' round trips).

- kohya form: ``lora_unet_<module>.lora_down.weight`` and so on, what A1111 and ComfyUI read; for LoHa and LoKr the
  names of LyCORIS; ``ss_*`` and ``modelspec.*`` metadata.
- diffusers form: PEFT keys below the component's name, with the adapter's configuration in the metadata, so that
  ``load_lora_weights`` scales it right.
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
from services.trainer.engine.lora import adapter_state
from services.trainer.engine.metadata import model_hashes
from services.trainer.engine.safetensors_bytes import safetensors_bytes
from services.trainer.recipe.families.parts import CLIP_LAYERS
from services.trainer.recipe.parameters import TrainingParameters

LORA_ENDINGS = {
    "lora_A.weight": "lora_down.weight",
    "lora_B.weight": "lora_up.weight",
    "lora_magnitude_vector.weight": "dora_scale",
    "lora_magnitude_vector": "dora_scale",
}


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
        metadata: of the first file.

    Returns:
        The family's forms whose readers apply the adapter, in the order of its facts.
    """
    dtype = torch.float32 if parameters.mixed_precision == "no" else torch.float16
    folder.mkdir(parents=True, exist_ok=True)
    layouts = {"kohya": kohya_form, "diffusers": diffusers_form}
    files: list[ArtifactFile] = []
    for form in family.facts.forms:
        if parameters.adapter in form.adapters:
            contents = layouts[form.form](family, carriers, parameters, dtype, {} if files else metadata)
            files.append(_write(folder / f"{name}{form.ending}.safetensors", form.form, *contents))
    return tuple(files)


def kohya_form(
    family: Family,
    carriers: Mapping[str, nn.Module],
    parameters: TrainingParameters,
    dtype: torch.dtype,
    metadata: dict[str, str],
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata under kohya's names."""
    tensors: dict[str, Tensor] = {}
    for component, module in carriers.items():
        for name, tensor in adapter_state(module).items():
            path, ending = split_key(name)
            key = family.kohya_name(component, path)
            tensors[f"{key}.{LORA_ENDINGS.get(ending, ending)}"] = _as_kohya(ending, tensor, parameters).to(dtype)
            tensors[f"{key}.alpha"] = torch.tensor(kohya_alpha(parameters), dtype=dtype)
    tensors = {key: _plain(tensor) for key, tensor in tensors.items()}
    only_ss = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    return tensors, {**metadata, **model_hashes(safetensors_bytes(tensors, only_ss))}


def diffusers_form(
    family: Family,
    carriers: Mapping[str, nn.Module],
    parameters: TrainingParameters,
    dtype: torch.dtype,
    metadata: dict[str, str],
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata as ``StableDiffusionPipeline.save_lora_weights`` lays them out, for old and new readers.

    CLIP's layers lie below ``text_model`` in tensors, which newer readers take away and older ones need, and not so in
    ``target_modules``, which all compare with the end of a name.
    """
    tensors: dict[str, Tensor] = {}
    configurations: dict[str, Any] = {}
    for component, module in carriers.items():
        state = adapter_state(module)
        for key, value in state.items():
            # transformers' loader knows DoRA's scale by this longer name only; diffusers' own loader takes either.
            lengthened = isinstance(module, PreTrainedModel) and key.endswith("lora_magnitude_vector")
            name = family.facts.diffusers_key(component, key)
            tensors[f"{name}{'.weight' if lengthened else ''}"] = _plain(value.to(dtype))
        # Older readers refuse a setting that they do not know, and want the two patterns even when they are empty.
        settings = {
            "r": parameters.rank,
            "lora_alpha": parameters.alpha,
            "rank_pattern": {},
            "alpha_pattern": {},
            "target_modules": sorted({split_key(key)[0].removeprefix(CLIP_LAYERS) for key in state}),
            "use_rslora": parameters.adapter == "rslora",
            "use_dora": parameters.adapter == "dora",
        }
        configurations |= {f"{component}.{key}": value for key, value in settings.items()}
    return tensors, {**metadata, "format": "pt", LORA_ADAPTER_METADATA_KEY: to_json(configurations)}


def kohya_alpha(parameters: TrainingParameters) -> float:
    """The alpha that makes a reader, which scales by alpha / rank, scale as the trained adapter does.

    rsLoRA scales by alpha / sqrt(rank). LoKr's scale is inside its first matrix, because readers ignore alpha where
    both matrices are whole; an alpha equal to the rank then changes nothing.
    """
    if parameters.adapter == "rslora":
        return parameters.alpha * math.sqrt(parameters.rank)
    return float(parameters.rank) if parameters.adapter == "lokr" else parameters.alpha


def split_key(key: str) -> tuple[str, str]:
    """Module path and ending of a PEFT key such as ``down_blocks.0.attn1.to_q.lora_A.weight``."""
    for marker in (".lora_", ".hada_", ".lokr_"):
        path, found, rest = key.partition(marker)
        if found:
            return path, marker[1:] + rest
    raise AssertionError(f"unexpected adapter key {key}")


def _as_kohya(ending: str, tensor: Tensor, parameters: TrainingParameters) -> Tensor:
    if ending.startswith("lora_magnitude_vector"):
        # Readers take a scale whose first side is the output's as one number for each output.
        return tensor.unsqueeze(1) if tensor.dim() == 1 else tensor.transpose(0, 1)
    if ending in ("lokr_w1", "lokr_w1_a"):
        return tensor * (parameters.alpha / parameters.rank)
    return tensor


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _write(path: Path, form: Any, tensors: dict[str, Tensor], metadata: dict[str, str]) -> ArtifactFile:
    data = safetensors_bytes(tensors, metadata)
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    partial.replace(path)
    return ArtifactFile(form, path, hashlib.sha256(data).hexdigest(), len(data))
