"""Reading base models from disk or a hub with diffusers, and turning every way this fails into a clear reason.

Only safetensors are read: a pickle can run code. Nothing of a model repository is executed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDPMScheduler, DiffusionPipeline
from safetensors import SafetensorError, safe_open

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import BaseModelFiles
from services.trainer.recipe.families import families
from services.trainer.recipe.families.facts import Config, FamilyFacts
from services.trainer.recipe.families.fitting import misfit, misfit_of_index

PICKLES = frozenset([".bin", ".ckpt", ".pt", ".pth", ".pkl"])
VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")
"""Of tokenizers: the library's own form, CLIP's and T5's."""
_AUTOENCODERS = ("vae.", "first_stage_model.")
_NOT_IN_THE_FOLDER = "-"
_VARIANT = re.compile(r"\.([A-Za-z0-9_]+?)(?:-\d{5}-of-\d{5})?$")
_PATH = re.compile(r"(?:[A-Za-z]:)?(?:[\\/][^\\/\s'\"`,;:()\[\]]+){2,}[\\/]?|file://\S+")
_REINSTALL = "Install the base model again or choose another one."


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
        return _loaded(pipeline_class.from_pretrained, facts, files, files.source.removeprefix("hub:"), options)
    path = Path(files.source)
    if path.suffix in PICKLES:
        raise _unsafe(files, path.name)
    if path.suffix == ".safetensors":
        return _from_single_file(pipeline_class, facts, files, path, options)
    _check_folder(facts, files, path)
    options = {**options, "variant": _variant(facts, path), "local_files_only": True}
    return _loaded(pipeline_class.from_pretrained, facts, files, str(path), options)


def _loaded(load: Any, facts: FamilyFacts, files: BaseModelFiles, source: str, options: dict[str, Any]) -> Any:
    try:
        pipeline = load(source, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _corrupt(files, error) from error
    # Also of a model from the hub, whose configurations are known only now.
    _check_fit(facts, files, _configs_of(pipeline, facts))
    for component in facts.required:
        if getattr(pipeline, component, None) is None:
            raise _incomplete(files, component)
    return pipeline


def _from_single_file(
    pipeline_class: Any, facts: FamilyFacts, files: BaseModelFiles, path: Path, options: dict[str, Any]
) -> Any:
    if not path.is_file():
        raise _missing(files)
    configs = _configs_in(Path(files.config_source), files) if files.config_source else {}
    check_safetensors(path, files)
    denoiser = {**configs.get(facts.denoiser.component, {}), **_checkpoint_sizes(facts, path)}
    noise = _noise_of(facts, files, path)
    scheduler = {**configs.get("scheduler", {}), **noise}
    _check_fit(facts, files, {**configs, facts.denoiser.component: denoiser, "scheduler": scheduler})
    if _holds_denoiser_alone(facts, path):
        return _beside_its_folder(pipeline_class, facts, files, path, options)
    if files.config_source:
        options = {**options, "config": files.config_source, "local_files_only": True}
    options = {**options, "dtype": torch.float32}
    options.pop("use_safetensors")
    pipeline = _loaded(pipeline_class.from_single_file, facts, files, str(path), options)
    if noise:
        # Other schedulers, such as PNDM, know no zero terminal SNR and would drop it.
        pipeline.scheduler = DDPMScheduler.from_config(pipeline.scheduler.config, **noise)
    return pipeline


def _holds_denoiser_alone(facts: FamilyFacts, path: Path) -> bool:
    """Transformers are shared without the text encoders and autoencoder beside them, UNets with these."""
    if facts.denoiser.component == "unet":
        return False
    with safe_open(path, framework="pt") as opened:
        return not any(name.startswith(_AUTOENCODERS) for name in opened.keys())  # noqa: SIM118


def _beside_its_folder(
    pipeline_class: Any, facts: FamilyFacts, files: BaseModelFiles, path: Path, options: dict[str, Any]
) -> Any:
    """A denoiser's file with all other components from ``config_source``."""
    folder = Path(files.config_source) if files.config_source else None
    for component in facts.required:
        if component != facts.denoiser.component and (folder is None or not (folder / component).is_dir()):
            raise EngineError(
                "BASE_MODEL_INCOMPLETE",
                f"The base model {files.id} is a single file that has no {component.replace('_', ' ')}.",
                "Name the folder of the whole model as config_source in the catalogue.",
            )
    assert folder is not None

    def load(_: str, **given: Any) -> Any:
        denoiser = getattr(diffusers, facts.denoiser.class_name).from_single_file(
            str(path),
            config=str(folder),
            subfolder=facts.denoiser.component,
            torch_dtype=given["dtype"]["default"],
            local_files_only=True,
        )
        return pipeline_class.from_pretrained(str(folder), **given, **{facts.denoiser.component: denoiser})

    others = replace(facts, denoiser=replace(facts.denoiser, component=_NOT_IN_THE_FOLDER))
    beside = {**options, "variant": _variant(others, folder), "local_files_only": True}
    return _loaded(load, facts, files, str(path), beside)


def _noise_of(facts: FamilyFacts, files: BaseModelFiles, path: Path) -> dict[str, object]:
    """What a single checkpoint says of its noise by mere names of keys, in the words of a scheduler's configuration.

    They are those by which ComfyUI's comfy/supported_models.py chooses how to sample.
    """
    with safe_open(path, framework="pt") as opened:
        names = set(opened.keys())
    if names & {"edm_mean", "edm_std", "edm_vpred.sigma_max"}:
        raise _unsupported(facts, files, "was trained on other noise levels (EDM)")
    noise: dict[str, object] = {}
    if "v_pred" in names:
        noise["prediction_type"] = "v_prediction"
    if "ztsnr" in names:
        noise["rescale_betas_zero_snr"] = True
    return noise


def _checkpoint_sizes(facts: FamilyFacts, path: Path) -> dict[str, int]:
    """What the shapes of a single checkpoint's weights say of its denoiser, in the words of a configuration."""
    sizes: dict[str, int] = {}
    with safe_open(path, framework="pt") as opened:
        names = list(opened.keys())
        for key, ending in facts.denoiser.checkpoint_sizes.items():
            name = next((name for name in names if name.endswith(ending)), None)
            shape = opened.get_slice(name).get_shape() if name else []
            if len(shape) > 1:
                sizes[key] = shape[1]
    return sizes


def _check_folder(facts: FamilyFacts, files: BaseModelFiles, folder: Path) -> None:
    path = folder / "model_index.json"
    if not path.is_file():
        raise _missing(files)
    index = _read_json(path, files)
    found = misfit_of_index(facts, index, families().values())
    if found:
        raise _unsupported(facts, files, found)
    _check_fit(facts, files, _configs_in(folder, files))
    tokenizers = [encoder.tokenizer for encoder in facts.text_encoders]
    for component in facts.required:
        if component not in index or not (folder / component).is_dir():
            raise _incomplete(files, component)
        safe = list((folder / component).glob("*.safetensors"))
        for weights in safe:
            check_safetensors(weights, files)
        if component in tokenizers and not any((folder / component / name).is_file() for name in VOCABULARIES):
            # The library would make one that knows no word.
            raise _incomplete(files, component)
        pickled = [file.name for file in (folder / component).iterdir() if file.suffix in PICKLES]
        if pickled and not safe:
            raise _unsafe(files, f"{component}/{pickled[0]}")


def _variant(facts: FamilyFacts, folder: Path) -> str | None:
    """The variant to read, such as ``fp16``, where a component's weights come in no other form.

    Its name stands before ``.safetensors``, or before the numbers of a weight in several files. Components that have
    no such file are read as usual.
    """
    for component in facts.classes:
        names = [path.name.removesuffix(".safetensors") for path in sorted((folder / component).glob("*.safetensors"))]
        variants = [found[1] if (found := _VARIANT.search(name)) else None for name in names]
        if variants and None not in variants:
            return variants[0]
    return None


def _configs_in(folder: Path, files: BaseModelFiles) -> dict[str, Config]:
    """The configurations of a folder in diffusers layout, by component."""
    paths = (*sorted(folder.glob("*/config.json")), *sorted(folder.glob("*/scheduler_config.json")))
    return {path.parent.name: _read_json(path, files) for path in paths}


def _configs_of(pipeline: Any, facts: FamilyFacts) -> dict[str, Config]:
    """The configurations of a loaded pipeline, by component."""
    parts = {name: getattr(pipeline, name, None) for name in (*facts.classes, "scheduler")}
    configs = {name: part.config for name, part in parts.items() if part is not None}
    return {name: config if isinstance(config, Mapping) else config.to_dict() for name, config in configs.items()}


def _read_json(path: Path, files: BaseModelFiles) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _corrupt(files, error) from error
    if not isinstance(document, dict):
        raise _corrupt(files, ValueError(f"{path.parent.name}/{path.name} is no configuration"))
    return document


def _check_fit(facts: FamilyFacts, files: BaseModelFiles, configs: Mapping[str, Config]) -> None:
    found = misfit(facts, configs)
    if found:
        raise _unsupported(facts, files, found)


def check_safetensors(path: Path, files: BaseModelFiles) -> None:
    """Open a file's header, which also compares the promised with the actual length."""
    try:
        with safe_open(path, framework="pt") as opened:
            opened.keys()
    except (SafetensorError, OSError) as error:
        raise _corrupt(files, error) from error


def _missing(files: BaseModelFiles) -> EngineError:
    return EngineError(
        "BASE_MODEL_MISSING", f"The weights of the base model {files.id} are not on this worker.", _REINSTALL
    )


def _unsafe(files: BaseModelFiles, name: str) -> EngineError:
    return EngineError(
        "BASE_MODEL_UNSAFE",
        f"The base model {files.id} holds its weights as a pickle ({name}), which can run code when it is read.",
        "Convert it to .safetensors, or choose another base model.",
    )


def _incomplete(files: BaseModelFiles, component: str) -> EngineError:
    name = component.replace("_", " ")
    return EngineError("BASE_MODEL_INCOMPLETE", f"The base model {files.id} has no {name}.", _REINSTALL)


def _unsupported(facts: FamilyFacts, files: BaseModelFiles, what: str) -> EngineError:
    return EngineError(
        "BASE_MODEL_UNSUPPORTED",
        f"The base model {files.id} cannot be trained: it {what}.",
        f"Choose a text-to-image model of the family {facts.title}.",
    )


def _corrupt(files: BaseModelFiles, error: Exception) -> EngineError:
    message = f"The files of the base model {files.id} cannot be read{_cause(error, files)}."
    return EngineError("BASE_MODEL_CORRUPT", message, _REINSTALL)


def _cause(error: Exception, files: BaseModelFiles) -> str:
    """The first line of a library's own words, in brackets, without where on this worker the files lie."""
    lines = str(error).strip().splitlines()
    if not lines:
        return ""
    text = lines[0]
    for place in filter(None, (files.config_source, files.source.removeprefix("hub:"))):
        # With the name of the file behind it, which may help.
        text = text.replace(f"{place}{os.sep}", "").replace(place, "its folder")
    return f" ({_PATH.sub('…', text)[:200]})"
