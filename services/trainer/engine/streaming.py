"""A base model that is larger than its device: some blocks of the denoiser stay in host memory until their turn.

A block's weights come to the device when it is about to compute, and those of the next one meanwhile, on a stream of
their own from pinned memory. In a backward pass with gradient checkpointing each block is computed again, so the same
call brings its weights back, last block first. What is computed is bitwise what a resident model computes; adapters
inside the blocks are never moved, nor are the scales of quantised layers, which are small.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from services.trainer.engine.quantization import is_int8
from services.trainer.recipe.streaming import WINDOW, is_streamed


@dataclass(frozen=True, slots=True)
class _Slot:
    """A frozen weight of a layer. Looked up each time: libraries put another object in its place."""

    layer: nn.Module
    name: str

    def get(self) -> Tensor:
        """What is there now."""
        return getattr(self.layer, self.name).data  # type: ignore[no-any-return]

    def put(self, data: Tensor) -> None:
        """Let the layer compute with other memory of the same values."""
        getattr(self.layer, self.name).data = data
        if self.name == "weight" and is_int8(self.layer):
            state: Any = self.layer.state
            state.CB = data


@dataclass(frozen=True, slots=True)
class _Arrival:
    """Copies of a block's weights on the device, and what tells that they are there; None where nothing is awaited."""

    copies: tuple[Tensor, ...]
    ready: Any


class BlockStream:
    """Some blocks of a denoiser that are moved to its device for as long as they compute.

    Made before the denoiser is moved, and stays for as long as that lives. Not safe for threads at once.

    Attributes:
        total, streamed: blocks of the denoiser, and those of them that are streamed.
        most_here: the largest number of streamed blocks that were on the device at one time.
        arrivals: how often a block's weights were brought.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        streamed: int,
        device: torch.device,
        dtype: torch.dtype,
        quantize: Callable[[nn.Module], None] = lambda block: None,
    ) -> None:
        """Take blocks over.

        Args:
            blocks: of the denoiser, on the host, in the order in which they compute.
            dtype: of their weights.
            quantize: replaces the layers of a block by quantised ones on the device, from where they are fetched.
        """
        self.total, self.streamed = len(blocks), min(streamed, len(blocks))
        self.most_here = self.arrivals = 0
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._here: OrderedDict[int, _Arrival] = OrderedDict()
        self._last = -1
        self._slots: list[list[_Slot]] = []
        self._hosts: list[list[Tensor]] = []
        chosen = [block for place, block in enumerate(blocks) if is_streamed(place, self.streamed, self.total)]
        for number, block in enumerate(chosen):
            block.to(dtype)
            quantize(block)
            slots = [
                _Slot(layer, name)
                for layer in block.modules()
                for name, _ in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
            ]
            for slot in slots:
                host = slot.get().cpu()
                slot.put(host.pin_memory() if self._stream else host)
            self._slots.append(slots)
            self._hosts.append([slot.get() for slot in slots])
            # Whoever moves the denoiser leaves these where they are.
            block._apply = partial(_unmoved, block)  # type: ignore[method-assign]
            block.register_forward_pre_hook(partial(self._enter, number))

    def _enter(self, number: int, _block: nn.Module, _arguments: Any) -> None:
        arrival = self._bring(number, beside=number)
        if arrival.ready is not None:
            torch.cuda.current_stream(self._device).wait_event(arrival.ready)
        for slot, copy in zip(self._slots[number], arrival.copies, strict=True):
            if self._stream is not None:
                copy.record_stream(torch.cuda.current_stream(self._device))
            slot.put(copy)
        # A pass counts up, a backward pass down from where the last one ended.
        ahead = number + 1 if number > self._last or number == 0 else number - 1
        self._last = number
        if 0 <= ahead < len(self._slots):
            self._bring(ahead, beside=number)

    def _bring(self, number: int, *, beside: int) -> _Arrival:
        """Start to copy a block's weights unless they are here. beside: the block that computes and has to stay."""
        if number in self._here:
            self._here.move_to_end(number)
            return self._here[number]
        while len(self._here) >= WINDOW:
            self._leave(next(each for each in self._here if each != beside))
        if self._stream is None:
            arrival = _Arrival(tuple(host.clone() for host in self._hosts[number]), None)
        else:
            with torch.cuda.stream(self._stream):
                copies = tuple(host.to(self._device, non_blocking=True) for host in self._hosts[number])
                arrival = _Arrival(copies, self._stream.record_event())
        self._here[number] = arrival
        self.arrivals += 1
        self.most_here = max(self.most_here, len(self._here))
        return arrival

    def _leave(self, number: int) -> None:
        """A backward pass that still needs the copies holds them itself."""
        for slot, host in zip(self._slots[number], self._hosts[number], strict=True):
            slot.put(host)
        del self._here[number]


def blocks_of(denoiser: nn.Module, lists: Sequence[str]) -> list[nn.Module]:
    """The members of the named lists of modules, in their order."""
    return [block for name in lists for block in denoiser.get_submodule(name).children()]


def _unmoved(block: nn.Module, _change: Any, recurse: bool = True) -> nn.Module:
    return block
