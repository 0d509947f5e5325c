"""What a stopped run leaves behind: weights, their average, optimizer state and counters, without pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from research.fiveshot_tiny.models import Denoiser
from research.fiveshot_tiny.optimizer import MuonWithAdamW


@dataclass
class Progress:
    """How far pretraining has come over all runs."""

    steps: int = 0
    samples: int = 0
    seconds: float = 0.0
    validation_loss: float = float("nan")


class Average:
    """An exponential moving average of parameters, which gives better pictures than the last step's weights."""

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self._parameters = dict(parameters)
        self._decay = decay
        self._values = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Moves the average towards the parameters; early steps move it faster, so that it forgets the start."""
        decay = min(self._decay, (step + 1) / (step + 10))
        torch._foreach_lerp_(list(self._values.values()), list(self._parameters.values()), 1 - decay)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchanges parameters and average; call it again to go back."""
        for name, parameter in self._parameters.items():
            kept = parameter.detach().clone()
            parameter.copy_(self._values[name])
            self._values[name].copy_(kept)

    def state(self) -> dict[str, torch.Tensor]:
        """The average, by parameter name."""
        return self._values

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes over what `state` returned."""
        for name, value in self._values.items():
            value.copy_(tensors[name])


def save_state(
    folder: Path, denoiser: Denoiser, average: Average, optimizer: MuonWithAdamW, progress: Progress
) -> None:
    """Writes the state so that a crash at any moment leaves the previous one or this one, never a mixture."""
    tensors = {f"weight.{n}": p.detach() for n, p in denoiser.named_parameters().items()}
    tensors |= {f"average.{n}": v for n, v in average.state().items()}
    tensors |= {f"optimizer.{n}": v for n, v in optimizer.state().items()}
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / "state.unfinished"
    save_file(
        {name: value.contiguous().cpu() for name, value in tensors.items()},
        unfinished,
        metadata={"progress": json.dumps(asdict(progress))},
    )
    os.replace(unfinished, folder / "state.safetensors")


@torch.no_grad()
def load_state(folder: Path, denoiser: Denoiser, average: Average, optimizer: MuonWithAdamW) -> Progress | None:
    """Takes over what `save_state` wrote and returns its progress; None, and nothing changed, where there is none."""
    path = folder / "state.safetensors"
    if not path.is_file():
        return None
    progress = read_progress(path)
    tensors = load_file(path)
    for name, parameter in denoiser.named_parameters().items():
        parameter.copy_(tensors[f"weight.{name}"])
    average.load_state({n.removeprefix("average."): v for n, v in tensors.items() if n.startswith("average.")})
    optimizer.load_state({n.removeprefix("optimizer."): v for n, v in tensors.items() if n.startswith("optimizer.")})
    return progress


def read_progress(path: Path) -> Progress:
    """The progress that is written in a state file's header; the tensors are not read."""
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return Progress(**json.loads(header["__metadata__"]["progress"]))
