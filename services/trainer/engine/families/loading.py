"""Reading base models from disk or a hub with diffusers, and turning every way this fails into a clear reason.

Only safetensors are read: a pickle can run code. Nothing of a model repository is executed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from diffusers.loaders.single_file_utils import SingleFileComponentError
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoTokenizer

from services.trainer.engine.errors import EngineError
from services.trainer.engine.families.folders import (
    LIBRARY_ERRORS,
    check_fit,
    check_folder,
    check_noise,
    configs_in,
    variant_of,
)
from services.trainer.engine.families.refusals import (
    alone,
    corrupt,
    incomplete,
    lacking,
    missing,
    quantised,
    unsafe,
    unsupported,
)
from services.trainer.engine.families.soundness import check_sound
from services.trainer.engine.families.weight_files import GGUF, PICKLES, check_weights
from services.trainer.engine.job import BaseModelFiles
from services.trainer.recipe.families.facts import Config, FamilyFacts
from services.trainer.recipe.families.fitting import misfit_of_checkpoint

_AUTOENCODERS = ("vae.", "first_stage_model.")
_TEXT_ENCODERS = ("text_encoders.", "cond_stage_model.", "conditioner.")
_PREFIX = "model.diffusion_model."
_NOT_IN_THE_FOLDER = "-"
_PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "v_prediction": "v_prediction"}
"""What the metadata of single checkpoints call a prediction type, in the words of schedulers."""
_OTHER_SHAPE = re.compile(r"expected shape|size mismatch|mismatched_sizes|size of tensor")


def load_pipeline(
    pipeline_class: type[DiffusionPipeline],
    facts: FamilyFacts,
    files: BaseModelFiles,
    dtype: torch.dtype,
    **arguments: Any,
) -> Any:
    """The base model's pipeline on the CPU, its autoencoder in float32.

    Args:
        facts: of the family that the model has to be of.
        dtype: of everything but the autoencoder.
        arguments: passed to diffusers, e.g. ``safety_checker=None``.

    Raises:
        EngineError: BASE_MODEL_MISSING, BASE_MODEL_UNSAFE, BASE_MODEL_UNSUPPORTED, BASE_MODEL_INCOMPLETE or
            BASE_MODEL_CORRUPT.
    """
    options = {"dtype": {"vae": torch.float32, "default": dtype}, "use_safetensors": True, **arguments}
    if files.source.startswith("hub:"):
        return _loaded(_reader(pipeline_class, facts), facts, files, files.source.removeprefix("hub:"), options)
    path = Path(files.source)
    if path.suffix.lower() in PICKLES:
        raise unsafe(files, path.name)
    if path.suffix == ".safetensors":
        return _from_single_file(pipeline_class, facts, files, path, options)
    if path.suffix.lower() == GGUF:
        raise quantised(files, f"a GGUF file ({path.name}), made for drawing alone")
    if path.is_file():
        # The libraries go by the name's end, in small letters, and would read another file as a pickle.
        raise unsupported(
            facts, files, "is neither a folder in diffusers layout nor a file whose name ends in .safetensors"
        )
    names = check_folder(facts, files, path)
    options = {**options, "variant": variant_of(facts, path), "local_files_only": True}
    return _loaded(_reader(pipeline_class, facts), facts, files, str(path), options, names)


def _reader(pipeline_class: Any, facts: FamilyFacts) -> Callable[..., Any]:
    """How a folder or a model of a hub is read, tokenizers alone where a processor is published around them."""
    alone = [encoder.tokenizer for encoder in facts.text_encoders if encoder.in_processor]

    def read(source: str, **options: Any) -> Any:
        local = bool(options.get("local_files_only"))
        tokenizers = {
            name: AutoTokenizer.from_pretrained(source, subfolder=name, local_files_only=local) for name in alone
        }
        pipeline = pipeline_class.from_pretrained(source, **options, **dict.fromkeys(alone))
        pipeline.register_modules(**tokenizers)
        return pipeline

    return read


def _loaded(
    load: Any,
    facts: FamilyFacts,
    files: BaseModelFiles,
    source: str,
    options: dict[str, Any],
    names: Mapping[str, list[str]] | None = None,
) -> Any:
    try:
        pipeline = load(source, **options)
    except LIBRARY_ERRORS as error:
        raise _named(facts, files, error) from error
    check_noise(facts, files, pipeline.scheduler.config)
    # Also of a model from the hub, whose configurations are known only now.
    check_fit(facts, files, _configs_of(pipeline, facts))
    for component in facts.required:
        if getattr(pipeline, component, None) is None:
            raise incomplete(files, component)
    check_sound(pipeline, facts, files, names)
    return pipeline


def _from_single_file(
    pipeline_class: Any, facts: FamilyFacts, files: BaseModelFiles, path: Path, options: dict[str, Any]
) -> Any:
    if not path.is_file():
        raise missing(files)
    names = check_weights(path, files, path.name)
    found = misfit_of_checkpoint(names)
    if found:
        raise unsupported(facts, files, found)
    configs = configs_in(Path(files.config_source), files) if files.config_source else {}
    denoiser = {**configs.get(facts.denoiser.component, {}), **_checkpoint_sizes(facts, files, path)}
    noise = _noise_of(facts, files, path)
    scheduler = {**configs.get("scheduler", {}), **noise}
    check_fit(facts, files, {**configs, facts.denoiser.component: denoiser, "scheduler": scheduler})
    if _holds_denoiser_alone(facts, names):
        return _beside_its_folder(pipeline_class, facts, files, path, options)
    if files.config_source:
        if not (Path(files.config_source) / "model_index.json").is_file():
            raise lacking(files, facts.denoiser.component, "the configuration that its catalogue entry names")
        options = {**options, "config": files.config_source, "local_files_only": True}
    options = {**options, "dtype": torch.float32}
    options.pop("use_safetensors")
    pipeline = _loaded(pipeline_class.from_single_file, facts, files, str(path), options)
    configured = {"prediction_type": "epsilon", "rescale_betas_zero_snr": False, **pipeline.scheduler.config}
    if any(configured[name] != value for name, value in noise.items()):
        # Other schedulers, such as PNDM, know no zero terminal SNR and would drop it.
        pipeline.scheduler = DDPMScheduler.from_config(pipeline.scheduler.config, **noise)
    return pipeline


def _holds_denoiser_alone(facts: FamilyFacts, names: list[str]) -> bool:
    """Transformers are shared without the text encoders or autoencoder beside them, UNets with these."""
    others = (_AUTOENCODERS, _TEXT_ENCODERS)
    whole = all(any(name.startswith(prefixes) for name in names) for prefixes in others)
    return facts.denoiser.component != "unet" and not whole


def _beside_its_folder(
    pipeline_class: Any, facts: FamilyFacts, files: BaseModelFiles, path: Path, options: dict[str, Any]
) -> Any:
    """A denoiser's file with all other components from ``config_source``."""
    folder = Path(files.config_source) if files.config_source else None
    for component in facts.required:
        if component != facts.denoiser.component and (folder is None or not (folder / component).is_dir()):
            raise alone(files, component)
    assert folder is not None

    def load(_: str, **given: Any) -> Any:
        denoiser = getattr(diffusers, facts.denoiser.class_name).from_single_file(
            _denoiser_in(path),
            config=str(folder),
            subfolder=facts.denoiser.component,
            torch_dtype=given["dtype"]["default"],
            local_files_only=True,
        )
        return _reader(pipeline_class, facts)(str(folder), **given, **{facts.denoiser.component: denoiser})

    others = replace(facts, denoiser=replace(facts.denoiser, component=_NOT_IN_THE_FOLDER))
    beside = {**options, "variant": variant_of(others, folder), "local_files_only": True}
    return _loaded(load, facts, files, str(path), beside)


def _denoiser_in(path: Path) -> str | dict[str, torch.Tensor]:
    """What the library reads a denoiser from: the file, or its tensors under the names that the file prefixes.

    ComfyUI saves every model below one name, which the library knows of most families only.
    """
    with safe_open(path, framework="pt") as opened:
        if not any(name.startswith(_PREFIX) for name in opened.keys()):  # noqa: SIM118
            return str(path)
    tensors = load_file(path)
    return {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items() if name.startswith(_PREFIX)}


def _noise_of(facts: FamilyFacts, files: BaseModelFiles, path: Path) -> dict[str, object]:
    """What a single checkpoint says of its noise, in the words of a scheduler's configuration.

    Mere names of keys are those by which ComfyUI's comfy/supported_models.py chooses how to sample. Metadata says it as
    the SAI model spec 1.0.1 has it, or as ComfyUI's comfy_extras/nodes_model_merging.py.
    """
    with safe_open(path, framework="pt") as opened:
        names, said = set(opened.keys()), opened.metadata() or {}
    if names & {"edm_mean", "edm_std", "edm_vpred.sigma_max"}:
        raise unsupported(facts, files, "was trained on other noise levels (EDM)")
    noise: dict[str, object] = {}
    told = said.get("modelspec.prediction_type") or said.get("modelspec.predict_key")
    if facts.prediction_types and told in _PREDICTIONS:
        noise["prediction_type"] = _PREDICTIONS[told]
    if "v_pred" in names:
        noise["prediction_type"] = "v_prediction"
    if "ztsnr" in names:
        noise["rescale_betas_zero_snr"] = True
    return noise


def _checkpoint_sizes(facts: FamilyFacts, files: BaseModelFiles, path: Path) -> dict[str, int]:
    """What the shapes of a single checkpoint's weights say of its denoiser, in the words of a configuration."""
    sizes: dict[str, int] = {}
    with safe_open(path, framework="pt") as opened:
        names = list(opened.keys())
        for key, ending in facts.denoiser.checkpoint_sizes.items():
            name = next((name for name in names if name.endswith(ending)), None)
            shape = opened.get_slice(name).get_shape() if name else []
            if len(shape) > 1:
                sizes[key] = shape[1]
    if facts.denoiser.checkpoint_sizes and not sizes:
        raise incomplete(files, facts.denoiser.component)
    return sizes


def _configs_of(pipeline: Any, facts: FamilyFacts) -> dict[str, Config]:
    """The configurations of a loaded pipeline, by component."""
    parts = {name: getattr(pipeline, name, None) for name in (*facts.classes, "scheduler")}
    configs = {name: part.config for name, part in parts.items() if part is not None}
    return {name: config if isinstance(config, Mapping) else config.to_dict() for name, config in configs.items()}


def _named(facts: FamilyFacts, files: BaseModelFiles, error: Exception) -> EngineError:
    """A library's error in our own words; its words, which name classes and folders, stay in the worker's log."""
    text = str(error)
    if isinstance(error, SingleFileComponentError):
        component = next((name for name, kind in facts.classes.items() if kind in text), facts.denoiser.component)
        return incomplete(files, component)
    if _OTHER_SHAPE.search(text):
        return corrupt(files, "its weights have other sizes than its configuration says")
    if isinstance(error, (KeyError, IndexError)) and files.source.endswith(".safetensors"):
        # The names of a single checkpoint are rewritten one by one, and one is not there.
        such = f", such as {error.args[0][:80]}" if isinstance(error, KeyError) else ""
        return lacking(files, facts.denoiser.component, f"weights{such}")
    return corrupt(files, "its configuration, tokenizer or weights are damaged or do not belong together")
