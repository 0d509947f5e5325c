"""How long it takes to rewrite a LoRA of Stable Diffusion XL's size from one form into another.

python -m benchmarks.model_forms [--rank 64]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import numpy
import typer

from services.registry.models.names import DIFFUSERS, KOHYA
from services.registry.use_cases.forms import reading, tensors, writing
from services.registry.use_cases.forms.adapter_config import AdapterConfig
from services.registry.use_cases.forms.tensors import Tensor

# The large transformers of the UNet: block, attentions, transformer blocks of each, width.
PLACES = (("down_blocks.1", 2, 2, 640), ("down_blocks.2", 2, 10, 1280), ("mid_block", 1, 10, 1280),
          ("up_blocks.0", 3, 10, 1280), ("up_blocks.1", 3, 2, 640))  # fmt: skip
CONTEXT = 2048


def adapted() -> Iterator[tuple[str, int, int]]:
    """Name, inputs and outputs of each layer that gets an adapter."""
    for block, attentions, depth, width in PLACES:
        for attention in range(attentions):
            for number in range(depth):
                start = f"{block}.attentions.{attention}.transformer_blocks.{number}"
                for side in ("attn1", "attn2"):
                    for part in ("to_q", "to_k", "to_v", "to_out.0"):
                        inputs = CONTEXT if side == "attn2" and part in ("to_k", "to_v") else width
                        yield f"{start}.{side}.{part}", inputs, width
                yield f"{start}.ff.net.0.proj", width, 8 * width
                yield f"{start}.ff.net.2", 4 * width, width


def kohya_file(rank: int) -> dict[str, Tensor]:
    """A file of random matrices in half precision, whose alpha is a third of its rank."""
    draw = numpy.random.default_rng(0)
    made: dict[str, Tensor] = {}

    def matrix(*shape: int) -> Tensor:
        data = draw.standard_normal(shape, numpy.float32).astype("<f2").tobytes()
        return Tensor("F16", shape, lambda: data)

    for name, inputs, outputs in adapted():
        key = f"lora_unet_{name}".replace(".", "_")
        made[f"{key}.lora_down.weight"] = matrix(rank, inputs)
        made[f"{key}.lora_up.weight"] = matrix(outputs, rank)
        made[f"{key}.alpha"] = tensors.number(rank / 3)
    return made


def main(rank: Annotated[int, typer.Option(min=1, help="Rank of every layer.")] = 64) -> None:
    """Prints a line for each direction."""
    with tempfile.TemporaryDirectory() as place:
        kohya, diffusers = Path(place) / "kohya", Path(place) / "diffusers"
        with kohya.open("wb") as file:
            tensors.write(file, kohya_file(rank), {})
        print(f"{kohya.stat().st_size / 1e6:.0f} MB, rank {rank}")
        _measured("kohya to diffusers", lambda: _rewrite(kohya, KOHYA, DIFFUSERS, diffusers))
        _measured("diffusers to kohya", lambda: _rewrite(diffusers, DIFFUSERS, KOHYA, Path(place) / "back"))


def _rewrite(source: Path, form: str, to: str, target: Path) -> None:
    with source.open("rb") as stored, target.open("wb") as made:
        found, metadata = tensors.opened(stored)
        layers = reading.read(form, found, metadata, AdapterConfig())
        file = writing.rewritten(layers, to, metadata, {})
        tensors.write(made, file.tensors, file.metadata)


def _measured(what: str, run: Callable[[], None]) -> None:
    wall, processor = time.perf_counter(), time.process_time()
    run()
    print(f"{what}: {time.perf_counter() - wall:.2f} s, {time.process_time() - processor:.2f} CPU s")


if __name__ == "__main__":
    typer.run(main)
