"""diffusers itself, of any version: `load_lora_weights` of a pipeline, then what PEFT would merge into each weight.

Also a script for an environment of its own, so it imports nothing of the project:

    python tests/readers/diffusers_files.py MODEL_FOLDER CHANGES.safetensors FILE...

writes the changes of every file, by ``file name|component.module``, and how many keys were left over.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_LEVEL = "text_model."


def applied(pipeline: Any, path: Path) -> tuple[dict[str, Tensor], int]:
    """The change of each weight, and how many of the file's tensors no layer took. The pipeline is left as it was."""
    expected = sum(not key.endswith(".alpha") for key in load_file(path))
    pipeline.load_lora_weights(str(path.parent), weight_name=path.name, local_files_only=True)
    changes: dict[str, Tensor] = {}
    taken = 0
    for component, module in pipeline.components.items():
        if isinstance(module, nn.Module):
            found = merged_changes(module)
            changes |= {f"{component}.{name}": change for name, (change, _) in found.items()}
            taken += sum(count for _, count in found.values())
    pipeline.unload_lora_weights()
    return changes, expected - taken


def merged_changes(module: nn.Module) -> dict[str, tuple[Tensor, int]]:
    """By the name of each adapted layer: what merging adds to its weight, and how many tensors its adapter has."""
    found: dict[str, tuple[Tensor, int]] = {}
    for name, layer in module.named_modules():
        if not isinstance(layer, BaseTunerLayer):
            continue
        weight = layer.get_base_layer().weight
        before = weight.detach().clone()
        layer.merge()
        change = weight.detach() - before
        weight.data.copy_(before)
        layer.merged_adapters.clear()
        found[name.removeprefix(_LEVEL)] = (change, sum("base_layer" not in key for key, _ in layer.named_parameters()))
    return found


def load_pipeline(folder: Path) -> Any:
    """A pipeline of a model folder without what older libraries may not read and no file changes: tokenizers, and text
    encoders that see pictures too."""
    index = json.loads((folder / "model_index.json").read_text())
    parts: dict[str, Any] = {}
    for name, entry in index.items():
        if not isinstance(entry, list):
            continue
        library, class_name = entry
        if library not in ("diffusers", "transformers") or "okenizer" in class_name or "_VL" in class_name:
            parts[name] = None
        elif name == "scheduler":
            parts[name] = getattr(importlib.import_module(library), class_name).from_pretrained(folder / name)
        else:
            parts[name] = _module(getattr(importlib.import_module(library), class_name), folder / name)
    pipeline_class = getattr(importlib.import_module("diffusers"), index["_class_name"])
    options = {"requires_safety_checker": False} if "safety_checker" in index else {}
    return pipeline_class(**parts, **options)


def _module(model_class: Any, folder: Path) -> nn.Module:
    """The weights under the names of the library that is installed: transformers 5 has a level less in CLIP."""
    config = json.loads((folder / "config.json").read_text())
    if hasattr(model_class, "config_class"):
        module = model_class(model_class.config_class.from_dict(config))
    else:
        module = model_class.from_config(config)
    (path,) = folder.glob("*.safetensors")
    weights = load_file(path)
    known = module.state_dict().keys()
    named: Mapping[str, Tensor] = {_known(name, known): weight for name, weight in weights.items()}
    lacking = module.load_state_dict(named, strict=False).missing_keys
    lacking = [name for name in lacking if not name.endswith(("position_ids", "embed_tokens.weight"))]
    if lacking:
        raise SystemExit(f"{folder} has no {lacking[:3]}")
    loaded: nn.Module = module.eval().requires_grad_(False)
    return loaded


def _known(name: str, known: Any) -> str:
    return next((one for one in (name, _LEVEL + name, name.removeprefix(_LEVEL)) if one in known), name)


def main() -> None:
    """See above."""
    pipeline = load_pipeline(Path(sys.argv[1]))
    answer: dict[str, Tensor] = {}
    for name in sys.argv[3:]:
        changes, left_over = applied(pipeline, Path(name))
        answer[f"{Path(name).name}|left over"] = torch.tensor(left_over)
        answer |= {f"{Path(name).name}|{key}": change.contiguous() for key, change in changes.items()}
    save_file(answer, sys.argv[2])


if __name__ == "__main__":
    main()
