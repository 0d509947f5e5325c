"""Loads exported files back through diffusers' public loader and compares the noise prediction with the live model.

The twin modules share the frozen base weights with the live ones, so this needs no second copy of the model: they are
built without memory on the ``meta`` device and given the live tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import set_peft_model_state_dict
from safetensors.torch import load_file
from torch import Tensor, nn

from services.trainer.engine.errors import EngineError
from services.trainer.engine.export import LORA_ENDINGS, row_norms, split_key
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import ArtifactFile
from services.trainer.engine.lora import adapter_config, adapter_state
from services.trainer.engine.quantization import quantized_layers
from services.trainer.recipe.parameters import TrainingParameters

TOLERANCE = {"no": 1e-3, "bf16": 5e-2, "fp16": 2e-2}
"""Largest relative difference by number format; half-precision files round the adapter itself."""


class Probe:
    """Fixed noisy latents, timesteps and captions on which two models are compared."""

    def __init__(self, noisy: Tensor, timesteps: Tensor, captions: tuple[str, ...]) -> None:
        self._noisy = noisy
        self._timesteps = timesteps
        self._captions = captions

    def answer(self, family: Family) -> Tensor:
        """The family's prediction in float32."""
        with torch.no_grad():
            conditioning = family.encode_text(self._captions)
            prediction = family.predict(self._noisy, self._timesteps, conditioning)
        return prediction.float()


def verify_artifacts(
    artifacts: tuple[ArtifactFile, ...],
    family: Family,
    carriers: Mapping[str, nn.Module],
    parameters: TrainingParameters,
    probe: Probe,
) -> float:
    """Largest difference over all files, relative to the largest prediction.

    Raises:
        EngineError: EXPORT_MISMATCH when a file does not reproduce the live model.
    """
    live = probe.answer(family)
    scale = live.abs().max().clamp(min=1e-6)
    worst = 0.0
    for artifact in artifacts:
        twins = {name: twin_of(module) for name, module in carriers.items()}
        form = next(form for form in family.facts.forms if form.form == artifact.form)
        if parameters.adapter not in form.readers.get("diffusers", ()):
            _load_with_peft(artifact.path, family, carriers, twins, parameters)
        else:
            _load_with_diffusers(artifact.path, family, twins)
        reloaded = probe.answer(family.with_components(twins))
        difference = float((reloaded - live).abs().max() / scale)
        if not difference <= TOLERANCE[parameters.mixed_precision]:
            raise EngineError(
                "EXPORT_MISMATCH",
                f"The {artifact.form} file of this epoch does not give the trained model's answer back "
                f"(difference {difference:.2g}).",
                "This is a fault of Fiveshot; report it with the job's parameters.",
                user_error=False,
            )
        worst = max(worst, difference)
    return worst


def twin_of(module: nn.Module) -> nn.Module:
    """A module of the same class without an adapter, sharing the frozen weights."""
    live: Any = module
    build: Any = type(module)
    with torch.device("meta"):
        twin: nn.Module = build.from_config(live.config) if hasattr(build, "from_config") else build(live.config)
    state = base_state(module)
    shared = quantized_layers(module)
    for name, layer in shared.items():
        # Its weight is packed and says nothing without its layer, which the twin therefore shares as a whole.
        twin.set_submodule(name, layer)
        state = {key: tensor for key, tensor in state.items() if not key.startswith(f"{name}.")}
    loaded = twin.load_state_dict(state, assign=True, strict=False)
    lacking = [key for key in loaded.missing_keys if key.rpartition(".")[0] not in shared]
    assert not lacking, f"no twin of {build.__name__}: {lacking}"
    assert not loaded.unexpected_keys, f"no twin of {build.__name__}: {loaded.unexpected_keys}"
    for flag in ("is_loaded_in_4bit", "is_loaded_in_8bit"):
        setattr(twin, flag, getattr(module, flag, False))
    # Tables that are computed and not saved (positions, frequencies) are not in the state; take the live ones.
    buffers = dict(module.named_buffers())
    for name, buffer in list(twin.named_buffers()):
        if buffer.is_meta:
            owner, _, attribute = name.rpartition(".")
            twin.get_submodule(owner).register_buffer(attribute, buffers[name], persistent=False)
    return twin.requires_grad_(False).eval()


def base_state(module: nn.Module) -> dict[str, Tensor]:
    """The frozen weights under the names that they had before PEFT wrapped them."""
    markers = (".lora_", ".hada_", ".lokr_")
    return {
        name.replace(".base_layer.", "."): tensor
        for name, tensor in module.state_dict().items()
        if not any(marker in name for marker in markers)
    }


def _load_with_diffusers(path: Path, family: Family, twins: Mapping[str, nn.Module]) -> None:
    pipeline = family.pipeline(**twins)
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name, local_files_only=True)


def _load_with_peft(
    path: Path,
    family: Family,
    carriers: Mapping[str, nn.Module],
    twins: Mapping[str, nn.Module],
    parameters: TrainingParameters,
) -> None:
    """Files that diffusers' loader does not know or not wholly: PEFT itself takes their matrices."""
    tensors = load_file(path)
    alpha = next(tensor.item() for key, tensor in tensors.items() if key.endswith(".alpha"))
    for name, twin in twins.items():
        adapted = sorted({split_key(key)[0] for key in adapter_state(carriers[name])})
        component: Any = twin
        component.add_adapter(adapter_config(replace(parameters, alpha=alpha), adapted))
        state = adapter_state(twin)
        for key, place in state.items():
            module, ending = split_key(key)
            tensor = tensors[f"{family.kohya_name(name, module)}.{LORA_ENDINGS.get(ending, ending)}"]
            # Only DoRA's scales are laid out in another way, with as many numbers.
            state[key] = tensor.reshape(place.shape)
        set_peft_model_state_dict(twin, state)
        if parameters.adapter == "dora":
            for key in [key for key in state if "lora_magnitude_vector" in key]:
                base, changed = row_norms(twin.get_submodule(split_key(key)[0]))
                state[key] = state[key] * (changed / base).reshape(state[key].shape)
            set_peft_model_state_dict(twin, state)
