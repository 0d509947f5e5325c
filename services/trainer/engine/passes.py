"""What one forward pass computes on: every draw made, every tensor on the device.

Drawing is apart from computing so that a step can be recorded once and replayed on other draws (see ``graph_step``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from services.trainer.engine.batches import DrawnPass
from services.trainer.engine.conditioning import TextConditioner
from services.trainer.engine.latents import BucketLatents
from services.trainer.engine.noise import torch_generator
from services.trainer.engine.precision import on_device
from services.trainer.engine.processes import Processes
from services.trainer.engine.schedules import NoiseSchedule, draw_positions
from services.trainer.recipe.parameters import TrainingParameters

Key = tuple[tuple[str, torch.Size], ...]


@dataclass(frozen=True, slots=True)
class PassInputs:
    """This process's share of a forward pass.

    Attributes:
        latents, noise: float32 [B, C, h, w].
        level: noise levels in [0, 1), float32 [B].
        weights: of each sample's loss, float32 [B].
        samples: samples of the whole optimizer step over all processes, float32 scalar; the loss is divided by it.
        text: what ``TextConditioner.encode`` takes.
        mask: weights of the loss [B, 1, h, w], or None.
        kept_text: captions on which the base model is preserved, as ``text``; empty where it is not.
        kept_weights: of each sample's preservation loss, float32 [B], or None.
    """

    latents: Tensor
    noise: Tensor
    level: Tensor
    weights: Tensor
    samples: Tensor
    text: dict[str, Tensor]
    mask: Tensor | None
    kept_text: dict[str, Tensor] = field(default_factory=dict)
    kept_weights: Tensor | None = None

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name."""
        named = {
            "latents": self.latents,
            "noise": self.noise,
            "level": self.level,
            "weights": self.weights,
            "samples": self.samples,
            **{f"text.{name}": tensor for name, tensor in self.text.items()},
            **{f"kept_text.{name}": tensor for name, tensor in self.kept_text.items()},
        }
        others = {"mask": self.mask, "kept_weights": self.kept_weights}
        return {**named, **{name: tensor for name, tensor in others.items() if tensor is not None}}

    def key(self) -> Key:
        """Equal for passes that do the same operations on tensors of the same shapes."""
        return tuple((name, tensor.shape) for name, tensor in self.tensors().items())

    def copy(self) -> PassInputs:
        """The same values in memory of their own."""
        return replace(
            self,
            latents=self.latents.clone(),
            noise=self.noise.clone(),
            level=self.level.clone(),
            weights=self.weights.clone(),
            samples=self.samples.clone(),
            text={name: tensor.clone() for name, tensor in self.text.items()},
            mask=None if self.mask is None else self.mask.clone(),
            kept_text={name: tensor.clone() for name, tensor in self.kept_text.items()},
            kept_weights=None if self.kept_weights is None else self.kept_weights.clone(),
        )

    def overwrite(self, other: PassInputs) -> None:
        """Take the values of a pass with the same key."""
        mine, theirs = self.tensors(), other.tensors()
        assert mine.keys() == theirs.keys(), "inputs of another kind of pass"
        torch._foreach_copy_(list(mine.values()), list(theirs.values()))


def draw_inputs(
    drawn: DrawnPass,
    latents: BucketLatents,
    conditioner: TextConditioner,
    schedule: NoiseSchedule,
    parameters: TrainingParameters,
    processes: Processes,
    step: int,
    position: int,
    samples_in_step: int,
) -> PassInputs | None:
    """Draw latents, noise and noise levels, the whole batch in every process, and keep this process's share.

    Returns:
        None when the batch is too small to give this process a sample.
    """
    device = latents.mean.device
    # A patch is two by two latents in every model whose sampling shifts.
    tokens = latents.mean.shape[-2] * latents.mean.shape[-1] // 4
    generator = torch_generator(device, parameters.seed, "noise", step, position)
    clean, mask = latents.draw(drawn.rows, generator)
    noise = torch.randn(clean.shape, generator=generator, device=device)
    if parameters.noise_offset > 0.0:
        channels = (*clean.shape[:2], *[1] * (clean.dim() - 2))
        noise += parameters.noise_offset * torch.randn(channels, generator=generator, device=device)
    level = draw_positions(len(drawn.rows), parameters, generator, schedule.shift(tokens))
    share = processes.share(len(drawn.rows))
    captions = drawn.captions[share]
    if not captions:
        return None
    kept = drawn.preserved[share]
    # Regularisation pictures have a loss of their own for the same end.
    of_subject = [float(picture >= 0) for picture in drawn.pictures[share]]
    return PassInputs(
        latents=clean[share],
        noise=noise[share],
        level=level[share],
        weights=_numbers(drawn.weights[share], device),
        samples=_numbers([samples_in_step], device)[0],
        text=conditioner.inputs(captions),
        mask=None if mask is None else mask[share],
        kept_text=conditioner.inputs(kept) if kept else {},
        kept_weights=_numbers(of_subject, device) if kept else None,
    )


def _numbers(values: Sequence[float], device: torch.device) -> Tensor:
    return on_device(torch.tensor(values, dtype=torch.float32), device)
