"""A base model's folder in diffusers layout: what is told from its configurations and headers before it is loaded."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.loaders.single_file_utils import SingleFileComponentError
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from services.trainer.engine.families.refusals import corrupt, incomplete, lacking, missing, unsafe, unsupported
from services.trainer.engine.families.weight_files import PICKLES, check_shards, check_weights
from services.trainer.engine.job import BaseModelFiles
from services.trainer.recipe.families import families
from services.trainer.recipe.families.facts import Config, FamilyFacts
from services.trainer.recipe.families.fitting import LIBRARIES, component_words, misfit, misfit_of_index

VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")
"""Of tokenizers: the library's own form, CLIP's and T5's."""
LIBRARY_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    RuntimeError,
    TypeError,
    IndexError,
    AttributeError,
    SafetensorError,
    SingleFileComponentError,
    StrictDataclassError,
)
"""What libraries raise over files that are not as they should be."""
_NO_NOISE = "its scheduler's configuration holds a value that none can have"
_SHIFTS = ("shift", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len")
_READ = re.compile(r"(diffusion_pytorch_model|model)(\.\w+)?\.safetensors")
"""A component's weights in one file, by the only names that the libraries look for."""
_VARIANT = re.compile(r"\.([A-Za-z0-9_]+?)(?:-\d{5}-of-\d{5})?$")


def check_folder(facts: FamilyFacts, files: BaseModelFiles, folder: Path) -> dict[str, list[str]]:
    """The names of the tensors of each component; those of variants count as one."""
    path = folder / "model_index.json"
    if not path.is_file():
        raise missing(files)
    index = _read_json(path, files)
    found = misfit_of_index(facts, index, families().values())
    if found:
        raise unsupported(facts, files, found)
    check_fit(facts, files, configs_in(folder, files))
    names = {component: _check_component(facts, files, index, folder, component) for component in facts.required}
    variants = _variants(facts, folder)
    if len(set(variants.values())) > 1:
        each = ", ".join(f"its {component_words(component)} as {name}" for component, name in variants.items())
        raise corrupt(files, f"its components come in different variants only: {each}")
    return names


def _check_component(
    facts: FamilyFacts, files: BaseModelFiles, index: Config, folder: Path, component: str
) -> list[str]:
    place = folder / component
    if component not in index or index[component] == [None, None] or not place.is_dir():
        raise incomplete(files, component)
    entry = index[component]
    if not (isinstance(entry, list) and len(entry) == 2 and entry[0] in LIBRARIES):
        raise corrupt(files, f"model_index.json names no {component_words(component)} of a known library")
    safe = sorted(place.glob("*.safetensors"))
    names = [name for each in safe for name in check_weights(each, files, f"{component}/{each.name}")]
    check_shards(place, files)
    tokenizers = [encoder.tokenizer for encoder in facts.text_encoders]
    if component in tokenizers and not any((place / name).is_file() for name in VOCABULARIES):
        # The library would make one that knows no word.
        raise incomplete(files, component)
    for text in ("tokenizer.json", "vocab.json", "tokenizer_config.json"):
        if (place / text).is_file():
            _read_json(place / text, files)
    pickled = [file.name for file in place.iterdir() if file.suffix.lower() in PICKLES]
    if pickled and not safe:
        raise unsafe(files, f"{component}/{pickled[0]}")
    if component in facts.classes and not safe:
        raise lacking(files, component, "its weights")
    if component in facts.classes and not any(map(_READ.fullmatch, (each.name for each in safe))):
        _check_listed(files, place)
    configuration = {**dict.fromkeys(facts.classes, "config.json"), "scheduler": "scheduler_config.json"}
    if component in configuration and not (place / configuration[component]).is_file():
        raise lacking(files, component, "its configuration")
    if component == "scheduler":
        check_noise(facts, files, _read_json(place / configuration[component], files))
    return names


def _check_listed(files: BaseModelFiles, place: Path) -> None:
    """Weights in several files need the list that says which lies where."""
    if not any(place.glob("*.safetensors.index*.json")):
        first = min(path.name for path in place.glob("*.safetensors"))
        what = "the list of its files (.safetensors.index.json)" if "-of-" in first else "weights under a known name"
        raise lacking(files, place.name, f"{what}; {first} alone is not read")


def check_noise(facts: FamilyFacts, files: BaseModelFiles, config: Config) -> None:
    """Whether noise levels can be made of a scheduler's configuration."""
    try:
        sound = _has_levels(config) if facts.prediction_types else _has_shift(config)
    except LIBRARY_ERRORS as error:
        raise corrupt(files, _NO_NOISE) from error
    if not sound:
        raise corrupt(files, _NO_NOISE)


def _has_levels(config: Config) -> bool:
    """Each level keeps a share of the picture, and none more than the one before it."""
    scheduler = DDPMScheduler.from_config(dict(config))
    kept = scheduler.alphas_cumprod
    falling = bool((kept.diff() <= 0).all()) and bool(kept.min() >= 0) and bool(kept.max() <= 1)
    whole = len(kept) == scheduler.config.num_train_timesteps
    return falling and whole


def _has_shift(config: Config) -> bool:
    """Numbers by which a flow's sampling moves with the size of pictures."""
    FlowMatchEulerDiscreteScheduler.from_config(dict(config))
    numbers = {name: config[name] for name in _SHIFTS if name in config}
    plain = all(isinstance(each, (int, float)) and math.isfinite(each) for each in numbers.values())
    least, most = numbers.get("base_image_seq_len", 256), numbers.get("max_image_seq_len", 4096)
    return plain and least < most and numbers.get("shift", 1.0) > 0


def configs_in(folder: Path, files: BaseModelFiles) -> dict[str, Config]:
    """The configurations of a folder in diffusers layout, by component."""
    paths = (*sorted(folder.glob("*/config.json")), *sorted(folder.glob("*/scheduler_config.json")))
    return {path.parent.name: _read_json(path, files) for path in paths}


def _read_json(path: Path, files: BaseModelFiles) -> dict[str, Any]:
    name = path.name if path.name == "model_index.json" else f"{path.parent.name}/{path.name}"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise corrupt(files, f"{name} is no JSON") from error
    if not isinstance(document, dict):
        raise corrupt(files, f"{name} is no configuration")
    return document


def check_fit(facts: FamilyFacts, files: BaseModelFiles, configs: Mapping[str, Config]) -> None:
    found = misfit(facts, configs)
    if found:
        raise unsupported(facts, files, found)


def variant_of(facts: FamilyFacts, folder: Path) -> str | None:
    """The variant to read, such as ``fp16``, where a component's weights come in no other form.

    Its name stands before ``.safetensors``, or before the numbers of a weight in several files. Components that have
    no such file are read as usual.
    """
    return next(iter(_variants(facts, folder).values()), None)


def _variants(facts: FamilyFacts, folder: Path) -> dict[str, str]:
    """The first variant of each component whose weights come in no other form."""
    found: dict[str, str] = {}
    for component in facts.classes:
        names = [path.name.removesuffix(".safetensors") for path in sorted((folder / component).glob("*.safetensors"))]
        variants = [match[1] if (match := _VARIANT.search(name)) else None for name in names]
        if variants and None not in variants:
            found[component] = str(variants[0])
    return found
