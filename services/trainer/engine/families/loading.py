"""Reading base models from disk or a hub with diffusers, and turning every way this fails into a clear reason.

Only safetensors are read: a pickle can run code. Nothing of a model repository is executed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from safetensors import SafetensorError, safe_open

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import BaseModelFiles

PICKLES = frozenset([".bin", ".ckpt", ".pt", ".pth", ".pkl"])
_MIB = 1 << 20
_REINSTALL = "Install the base model again or choose another one."


def load_pipeline(
    pipeline_class: type[DiffusionPipeline],
    files: BaseModelFiles,
    required: tuple[str, ...],
    dtype: torch.dtype,
    **arguments: Any,
) -> Any:
    """The base model's pipeline on the CPU, its autoencoder in float32.

    Args:
        required: components without which training makes no sense, e.g. ``text_encoder``.
        dtype: of everything but the autoencoder.
        arguments: passed to diffusers, e.g. ``safety_checker=None``.

    Raises:
        EngineError: BASE_MODEL_MISSING, BASE_MODEL_UNSAFE, BASE_MODEL_INCOMPLETE or BASE_MODEL_CORRUPT.
    """
    options = {"dtype": {"vae": torch.float32, "default": dtype}, "use_safetensors": True, **arguments}
    if files.source.startswith("hub:"):
        return _checked(pipeline_class, files, required, files.source.removeprefix("hub:"), options)
    path = Path(files.source)
    if path.suffix in PICKLES:
        raise _unsafe(files, path.name)
    if path.suffix == ".safetensors":
        return _from_single_file(pipeline_class, files, required, path, options)
    _check_folder(files, path, required)
    return _checked(pipeline_class, files, required, str(path), {**options, "local_files_only": True})


def _checked(
    pipeline_class: type[DiffusionPipeline],
    files: BaseModelFiles,
    required: tuple[str, ...],
    source: str,
    options: dict[str, Any],
) -> Any:
    try:
        pipeline = pipeline_class.from_pretrained(source, **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _corrupt(files, error) from error
    return _with_all(pipeline, files, required)


def _from_single_file(
    pipeline_class: Any, files: BaseModelFiles, required: tuple[str, ...], path: Path, options: dict[str, Any]
) -> Any:
    if not path.is_file():
        raise _missing(files)
    check_safetensors(path, files)
    if files.config_source:
        options = {**options, "config": files.config_source, "local_files_only": True}
    options = {**options, "dtype": torch.float32}
    options.pop("use_safetensors")
    try:
        pipeline = pipeline_class.from_single_file(str(path), **options)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _corrupt(files, error) from error
    return _with_all(pipeline, files, required)


def _with_all(pipeline: Any, files: BaseModelFiles, required: tuple[str, ...]) -> Any:
    for component in required:
        if getattr(pipeline, component, None) is None:
            raise _incomplete(files, component)
    return pipeline


def _check_folder(files: BaseModelFiles, folder: Path, required: tuple[str, ...]) -> None:
    index = folder / "model_index.json"
    if not index.is_file():
        raise _missing(files)
    try:
        listed = json.loads(index.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise _corrupt(files, error) from error
    for component in required:
        if component not in listed or not (folder / component).is_dir():
            raise _incomplete(files, component)
        safe = list((folder / component).glob("*.safetensors"))
        for weights in safe:
            check_safetensors(weights, files)
        pickled = [file.name for file in (folder / component).iterdir() if file.suffix in PICKLES]
        if pickled and not safe:
            raise _unsafe(files, f"{component}/{pickled[0]}")


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


def _corrupt(files: BaseModelFiles, error: Exception) -> EngineError:
    cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    message = f"The files of the base model {files.id} cannot be read ({cause[:200]})."
    return EngineError("BASE_MODEL_CORRUPT", message, _REINSTALL)


def model_fingerprint(files: BaseModelFiles) -> str:
    """A sha256 that changes when the weights do.

    A single checkpoint is hashed whole, which is the hash that other tools show for it. Of a folder, each file's name,
    size, header and end are hashed: reading 24 GB to name a cache entry would take longer than many a training.
    """
    if files.source.startswith("hub:"):
        return hashlib.sha256(files.source.encode()).hexdigest()
    path = Path(files.source)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    digest = hashlib.sha256()
    for weights in sorted(path.glob("*/*.safetensors")):
        size = weights.stat().st_size
        digest.update(f"{weights.relative_to(path)}|{size}|".encode())
        with weights.open("rb") as file:
            digest.update(file.read(_MIB))
            file.seek(max(0, size - _MIB))
            digest.update(file.read(_MIB))
    return digest.hexdigest()
