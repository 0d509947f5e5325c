"""Counts what a base model's work costs: FLOPs, bytes, kernels and peak memory, without weights and without computing.

The modules are built from their real configurations as fake tensors, which have shapes but no storage, and one real
forward and backward pass of the engine's own family and adapters goes through them while every operation is counted.
So the numbers come from the architecture itself, and a command gives them again (``python -m tools.model_costs``).
A CPU stands in for an accelerator: operations are the same but for half precision, see ``_accelerator_norms``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from services.trainer.engine.families.base import Conditioning, Family
from services.trainer.engine.lora import add_adapters, trained_weights
from services.trainer.engine.losses import per_sample_loss
from services.trainer.engine.precision import autocast
from services.trainer.engine.streaming import blocks_of
from services.trainer.recipe.costs import Counted
from services.trainer.recipe.parameters import TrainingParameters
from tools.model_costs.blueprints import Built, modules_stay

Build = Callable[[torch.dtype], Built]
CPU = torch.device("cpu")

_FREE = (torch.ops.aten._unsafe_view.default, torch.ops.aten.empty_like.default)
"""Operations that launch nothing, beside views."""


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))  # type: ignore[no-untyped-call]


def _attention_backward_flops(gradient: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    shapes = (gradient.shape, query.shape, key.shape, value.shape)
    return int(sdpa_backward_flop_count(*shapes))  # type: ignore[no-untyped-call]


_FLOPS = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward_flops,
}
"""Formulas of torch, which knows the attention of accelerators only."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What one count is made for. ``side``: pixels of a square picture."""

    side: int
    batch: int
    rank: int = 1


def count_train(build: Build, parameters: TrainingParameters, shape: Shape) -> Counted:
    """One forward and backward pass of the denoiser with adapters, its text conditioning given."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        built = build(_dtype(parameters.mixed_precision))
        family = built.family
        if parameters.gradient_checkpointing:
            family.enable_gradient_checkpointing()
        _adapt(family, replace(parameters, rank=shape.rank, train_text_encoder=False))
        conditioning, noisy = _inputs(built, parameters, shape)
        timesteps = torch.zeros(shape.batch, device=CPU)

        def step() -> None:
            # Gradient checkpointing computes norms again in the backward pass.
            with _accelerator_norms(parameters.mixed_precision):
                with autocast(CPU, parameters.mixed_precision):
                    answer = family.predict(noisy, timesteps, conditioning)
                loss = per_sample_loss(answer, torch.zeros_like(noisy), None).mean()
                loss.backward()  # type: ignore[no-untyped-call]

        return _counted(step)


def count_text_train(build: Build, parameters: TrainingParameters, shape: Shape) -> Counted:
    """Forward and backward of the text encoders with adapters; ``peak`` is what stays alive for the backward pass."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        built = build(_dtype(parameters.mixed_precision))
        family = built.family
        _adapt(family, replace(parameters, rank=shape.rank, train_text_encoder=True))
        with _Counter() as counter:
            with _precision(parameters.mixed_precision):
                encoded = family.encode_text(["x"] * shape.batch)
            held = counter.alive
            total = sum((tensor.float().sum() for tensor in encoded.values() if tensor.requires_grad), torch.zeros(()))
            total.backward()  # type: ignore[no-untyped-call]
        return Counted(counter.flops, counter.moved, counter.kernels, held)


def count_predict(build: Build, parameters: TrainingParameters, shape: Shape, *, adapted: bool = False) -> Counted:
    """One prediction of the denoiser, bare or with its adapter, as sampling and evaluation make it."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        built = build(_dtype(parameters.mixed_precision))
        family = built.family
        if adapted:
            _adapt(family, replace(parameters, rank=shape.rank, train_text_encoder=False))
        conditioning, noisy = _inputs(built, parameters, shape)
        timesteps = torch.zeros(shape.batch, device=CPU)

        def step() -> None:
            with _precision(parameters.mixed_precision):
                family.predict(noisy, timesteps, conditioning)

        return _counted(step)


def count_encode(build: Build, shape: Shape) -> Counted:
    """The autoencoder's posterior of pictures; always in float32."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        family = build(torch.float32).family
        pixels = torch.zeros(shape.batch, 3, shape.side, shape.side, device=CPU)
        return _counted(lambda: family.encode_pixels(pixels))


def count_decode(build: Build, shape: Shape) -> Counted:
    """Pictures of latents, without the conversion to PNG."""
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        built = build(torch.float32)
        latents = _latents(built, shape)
        return _counted(lambda: built.family.decode_pixels(latents))


def adapter_size(build: Build, parameters: TrainingParameters) -> dict[str, int]:
    """Trained weights by component."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        carriers = _adapt(build(torch.float32).family, replace(parameters, train_text_encoder=True))
        return {
            name: sum(weight.numel() for weight in trained_weights({name: module}).values())
            for name, module in carriers.items()
        }


def weight_counts(build: Build) -> dict[str, int]:
    """Frozen weights of the denoiser, of its linear layers and its blocks, of the text encoders and the autoencoder.

    Also how many of those blocks there are.
    """
    with FakeTensorMode(allow_non_fake_inputs=True):
        built = build(torch.float32)
        denoiser = built.family.denoiser
        blocks = blocks_of(denoiser, built.family.facts.denoiser.blocks)
        return {
            "blocks": len(blocks),
            "denoiser": _weights(denoiser),
            "denoiser_blocks": sum(_weights(block) for block in blocks),
            "denoiser_linear": sum(_weights(layer) for layer in denoiser.modules() if isinstance(layer, nn.Linear)),
            "text": sum(_weights(encoder) for encoder in built.text_encoders),
            "autoencoder": _weights(built.autoencoder),
        }


def _adapt(family: Family, parameters: TrainingParameters) -> dict[str, nn.Module]:
    with modules_stay():
        carriers = add_adapters(family, parameters)
    # Some forms roll dice for their dropout while they train, also when it is 0, and fake numbers decide nothing.
    return {name: module.eval() for name, module in carriers.items()}


def _weights(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Kernels, the bytes that they read and write, and the bytes alive of all storages made since the start."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = self.kernels = self.moved = self.alive = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        result = func(*args, **named)
        if func.is_view or func.namespace == "prim" or func in _FREE:
            return result
        inputs = [leaf for leaf in (*tree_leaves(args), *tree_leaves(named)) if isinstance(leaf, Tensor)]
        outputs = [result] if isinstance(result, Tensor) else [x for x in tree_leaves(result) if isinstance(x, Tensor)]
        self.kernels += 1
        self.moved += sum(_size(tensor) for tensor in (*inputs, *outputs))
        formula = _FLOPS.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **named, out_val=result)
        before = {id(tensor.untyped_storage()) for tensor in inputs}
        for tensor in outputs:
            self._follow(tensor, before)
        return result

    def _follow(self, tensor: Tensor, before: set[int]) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in before or key in self._known:
            return
        size = storage.nbytes()
        self._known.add(key)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.alive -= size


def _counted(work: Callable[[], object]) -> Counted:
    with _Counter() as counter:
        work()
    return Counted(counter.flops, counter.moved, counter.kernels, counter.peak)


def _size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _inputs(built: Built, parameters: TrainingParameters, shape: Shape) -> tuple[Conditioning, Tensor]:
    with torch.no_grad(), _precision(parameters.mixed_precision):
        encoded = built.family.encode_text(["x"] * shape.batch)
    return {name: tensor.detach() for name, tensor in encoded.items()}, _latents(built, shape)


def _latents(built: Built, shape: Shape) -> Tensor:
    side = shape.side // built.family.latent_factor
    return torch.zeros(shape.batch, built.family.latent_channels, side, side, device=CPU)


def _dtype(mixed_precision: str) -> torch.dtype:
    return torch.float32 if mixed_precision == "no" else torch.bfloat16


@contextmanager
def _precision(mixed_precision: str) -> Iterator[None]:
    with autocast(CPU, mixed_precision), _accelerator_norms(mixed_precision):
        yield


@contextmanager
def _accelerator_norms(mixed_precision: str) -> Iterator[None]:
    """Autocast of an accelerator computes norms in float32 and keeps such inputs for the backward pass; a CPU's not."""
    if mixed_precision == "no":
        yield
        return
    group, layer = functional.group_norm, functional.layer_norm
    functional.group_norm = lambda x, *rest, **more: group(x.float(), *_floats(rest), **_named(more))
    functional.layer_norm = lambda x, *rest, **more: layer(x.float(), *_floats(rest), **_named(more))
    try:
        yield
    finally:
        functional.group_norm, functional.layer_norm = group, layer


def _floats(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.float() if isinstance(value, Tensor) else value for value in values)


def _named(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.float() if isinstance(value, Tensor) else value for name, value in values.items()}
