"""Muon for the matrices of the networks and AdamW for the rest, with Muon's work divided among the processes.

Muon (Jordan et al. 2024) replaces a matrix's momentum by its nearest orthogonal matrix, so that every direction
learns at the same speed. The scale 0.2 * sqrt(longer side) gives its updates the size of AdamW's (Liu et al. 2025),
so one learning rate serves both.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from research.fiveshot_tiny.distributed import Group

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5


def orthogonalize(matrix: torch.Tensor) -> torch.Tensor:
    """About the nearest matrix with orthonormal rows (or columns, the shorter side) to `matrix` (m, n), m, n >= 1.

    All but the last product are done on the small Gram matrix, which is cheaper for the long matrices of
    convolutions than iterating on the matrix itself, and equal up to rounding.
    """
    transposed = matrix.shape[0] > matrix.shape[1]
    x: torch.Tensor = matrix.T if transposed else matrix
    x = x / (x.norm() + 1e-7)
    a, b, c = NEWTON_SCHULZ
    identity = torch.eye(x.shape[0], dtype=x.dtype, device=x.device)
    gram = x @ x.T
    total = identity
    for _ in range(NEWTON_SCHULZ_STEPS):
        factor = a * identity + b * gram + c * (gram @ gram)
        total = factor @ total
        gram = factor @ gram @ factor
    x = total @ x
    return x.T if transposed else x


def is_matrix(name: str, parameter: torch.Tensor) -> bool:
    """Whether Muon trains it: weights with two or more axes, but no embeddings and neither end of the UNet."""
    ends = ("embedding", "conv_in", "conv_out")
    return parameter.ndim >= 2 and min(parameter.shape[:2]) > 1 and not any(end in name for end in ends)


class MuonWithAdamW:
    """Steps all parameters at one learning rate. Gradients must already be equal in all processes of `group`."""

    def __init__(
        self,
        parameters: Mapping[str, torch.nn.Parameter],
        *,
        weight_decay: float,
        group: Group,
        momentum: float = 0.95,
    ) -> None:
        self._group = group
        self._momentum = momentum
        self._weight_decay = weight_decay
        self._matrices = {n: p for n, p in parameters.items() if is_matrix(n, p)}
        self._buffers = {n: torch.zeros_like(p) for n, p in self._matrices.items()}
        self._rest = {n: p for n, p in parameters.items() if n not in self._matrices}
        self._adamw = torch.optim.AdamW(
            list(self._rest.values()), 1e-3, betas=(0.9, 0.99), weight_decay=weight_decay, fused=True
        )

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One step from the gradients in place; they stay for the caller to clear."""
        for settings in self._adamw.param_groups:
            settings["lr"] = learning_rate
        self._adamw.step()
        updates = []
        for i, (name, parameter) in enumerate(self._matrices.items()):
            if parameter.grad is None:
                raise RuntimeError(f"{name} has no gradient")
            buffer = self._buffers[name].lerp_(parameter.grad, 1 - self._momentum)
            if i % self._group.processes != self._group.rank:
                updates.append(torch.zeros_like(parameter))
                continue
            direction = parameter.grad.lerp(buffer, self._momentum).flatten(1)
            scale = 0.2 * max(direction.shape) ** 0.5
            updates.append((orthogonalize(direction) * scale).view_as(parameter))
        self._group.sum_(updates)
        for parameter, update in zip(self._matrices.values(), updates, strict=True):
            parameter.mul_(1 - learning_rate * self._weight_decay).add_(update, alpha=-learning_rate)

    def state(self) -> dict[str, torch.Tensor]:
        """Everything that a resumed run needs, as flat tensors."""
        tensors = {f"muon.{name}": buffer for name, buffer in self._buffers.items()}
        for name, parameter in self._rest.items():
            tensors |= {f"adamw.{key}.{name}": value for key, value in self._adamw.state.get(parameter, {}).items()}
        return tensors

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Takes over what `state` returned. Raises KeyError when a matrix is missing from it."""
        for name, buffer in self._buffers.items():
            buffer.copy_(tensors[f"muon.{name}"])
        for name, parameter in self._rest.items():
            keys = [k for k in ("step", "exp_avg", "exp_avg_sq") if f"adamw.{k}.{name}" in tensors]
            if keys:
                self._adamw.state[parameter] = {
                    k: tensors[f"adamw.{k}.{name}"].to(parameter.device, copy=True) for k in keys
                }
