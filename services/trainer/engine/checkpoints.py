"""Resumable state: trained weights, running average, optimizer, schedule, step and the place in the epoch.

A checkpoint is a folder: ``weights.safetensors``, ``average.safetensors``, ``optimizer.safetensors`` and
``state.json``. It is written beside its place and moved there whole, so a folder that exists is complete. Random state
is absent because nothing random depends on the past (see ``noise``).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from services.trainer.engine.errors import EngineError
from services.trainer.engine.picture_losses import Counts

FORMAT = 1
_EARLIER_NAMES = {"holdout_loss": "held_out_loss", "base_holdout_loss": "base_held_out_loss"}
"""Of an evaluation's fields in checkpoints that earlier workers wrote."""


@dataclass(slots=True)
class Place:
    """Where a run is. Lists have one entry an optimizer step or a finished epoch.

    Attributes:
        fingerprint: names base model, dataset and parameters; a checkpoint of another job is refused.
        step: optimizer steps done.
        epoch: finished epochs; ``step_in_epoch`` steps of the next one are done too.
        losses: loss of each step so far.
        evaluations: evaluation of each finished epoch, as a dict of its fields.
        picture_losses: of each finished epoch, and of the steps of the next one, see ``picture_losses``.
        rate_factor: what the learning rate was multiplied by after a loss that was not a number.
        micro_batch: samples at most that are computed at once, 0 for whole passes.
    """

    fingerprint: str
    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    losses: list[float] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    picture_losses: list[Counts] = field(default_factory=list)
    rate_factor: float = 1.0
    micro_batch: int = 0


@dataclass(frozen=True, slots=True)
class TrainingState:
    """The live objects whose state a checkpoint holds. ``averages`` is empty without a running average."""

    weights: Mapping[str, nn.Parameter]
    averages: Mapping[str, Tensor]
    optimizer: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler


def save_checkpoint(folder: Path, place: Place, state: TrainingState) -> None:
    """Write a checkpoint atomically, replacing one of the same name."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    save_file({name: _plain(weight) for name, weight in state.weights.items()}, partial / "weights.safetensors")
    if state.averages:
        save_file({name: _plain(value) for name, value in state.averages.items()}, partial / "average.safetensors")
    tensors, optimizer = _split(state.optimizer.state_dict())
    save_file(tensors, partial / "optimizer.safetensors")
    document = {
        "format": FORMAT,
        "progress": _progress(place),
        "optimizer": optimizer,
        "schedule": _numbers({key: value for key, value in state.schedule.state_dict().items() if key != "lr_lambdas"}),
        "scaler": state.scaler.state_dict(),
    }
    with (partial / "state.json").open("w", encoding="utf-8") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    if folder.exists():
        shutil.rmtree(folder)
    partial.replace(folder)


def load_checkpoint(folder: Path, fingerprint: str, state: TrainingState) -> Place:
    """Put a checkpoint's state into the live objects and return where the run was.

    Raises:
        EngineError: CHECKPOINT_CORRUPT when it cannot be read, CHECKPOINT_FOREIGN when it belongs to another job.
    """
    try:
        document = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        place = Place(**document["progress"])
        weights = load_file(folder / "weights.safetensors")
        averages = load_file(folder / "average.safetensors") if state.averages else {}
        tensors = load_file(folder / "optimizer.safetensors")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        remedy = "Start the job again from its beginning."
        raise EngineError("CHECKPOINT_CORRUPT", "The checkpoint to resume from cannot be read.", remedy) from error
    if place.fingerprint != fingerprint or weights.keys() != state.weights.keys():
        remedy = "Resume with the same base model, dataset version and parameters, or start a new job."
        raise EngineError("CHECKPOINT_FOREIGN", "The checkpoint to resume from belongs to another job.", remedy)
    place.evaluations = [
        {_EARLIER_NAMES.get(name, name): value for name, value in one.items()} for one in place.evaluations
    ]
    with torch.no_grad():
        for name, weight in state.weights.items():
            weight.copy_(weights[name])
        for name, average in state.averages.items():
            average.copy_(averages[name])
    state.optimizer.load_state_dict(_joined(tensors, document["optimizer"]))
    state.schedule.load_state_dict({**state.schedule.state_dict(), **document["schedule"]})
    state.scaler.load_state_dict(document["scaler"])
    return place


def _progress(place: Place) -> dict[str, Any]:
    """What workers of before these fields can read as well, unless there is something to say."""
    values = asdict(place)
    unset = {"rate_factor": 1.0, "micro_batch": 0}
    return {name: value for name, value in values.items() if name not in unset or value != unset[name]}


def _numbers(schedule: dict[str, Any]) -> dict[str, Any]:
    return {**schedule, "_last_lr": [float(rate) for rate in schedule["_last_lr"]]}


def _plain(tensor: Tensor) -> Tensor:
    # A copy: Prodigy keeps one tensor in all its groups, and safetensors refuses two names for the same memory.
    return tensor.detach().cpu().clone(memory_format=torch.contiguous_format)


def _split(state: dict[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors for safetensors and the rest for JSON; floats survive JSON exactly."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for key, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"{index}.{key}"] = _plain(value)
            elif isinstance(value, dict):
                # 8-bit optimizers keep their quantised moments one level deeper.
                tensors |= {f"{index}.{key}.{inner}": _plain(tensor) for inner, tensor in value.items()}
            else:
                scalars.setdefault(str(index), {})[key] = value
    groups = []
    for number, group in enumerate(state["param_groups"]):
        plain = {}
        for key, value in group.items():
            if key == "lr":
                # A tensor where the step is recorded (see graph_step), and the same number.
                plain[key] = float(value)
            elif isinstance(value, Tensor):
                tensors[f"group.{number}.{key}"] = _plain(value)
            else:
                plain[key] = value
        groups.append(plain)
    return tensors, {"state": scalars, "param_groups": groups}


def _joined(tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in document["state"].items()}
    groups = [dict(group) for group in document["param_groups"]]
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        if first == "group":
            number, _, key = rest.partition(".")
            groups[int(number)][key] = tensor
        else:
            key, _, inner = rest.partition(".")
            values = state.setdefault(int(first), {})
            if inner:
                values.setdefault(key, {})[inner] = tensor
            else:
                values[key] = tensor
    # JSON has no tuples, and optimizers compare and unpack betas as one.
    for group in groups:
        if isinstance(group.get("betas"), list):
            group["betas"] = tuple(group["betas"])
    return {"state": state, "param_groups": groups}
