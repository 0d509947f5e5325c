"""Blocks that come to the device for their turn compute what resident ones do, and few of them are there at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import BaseModelFiles, EpochResult, Hooks, Notice, TrainJobSpec
from services.trainer.engine.lora import add_adapters, trained_weights
from services.trainer.engine.quantization import quantized_layers
from services.trainer.engine.streaming import blocks_of
from services.trainer.engine.train_loop import train
from services.trainer.engine.warm import Warm
from services.trainer.recipe.families import families
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.streaming import WINDOW
from tests.fixtures.miniatures import MINIATURES

CPU = torch.device("cpu")
STREAMABLE = [name for name, facts in families().items() if facts.denoiser.blocks]


def gradients(family: Family, chosen: TrainingParameters) -> tuple[Tensor, ...]:
    """An answer, and what it asks of each trained weight, with every block computed twice."""
    weights = list(trained_weights(add_adapters(family, chosen)).values())
    torch.manual_seed(1)
    for weight in weights:
        torch.nn.init.normal_(weight, std=0.1)
    family.enable_gradient_checkpointing()
    answer = family.predict(
        torch.randn(2, family.latent_channels, 8, 8),
        torch.tensor([0.4, 0.6]),
        family.encode_text(["a red ball", "a dog"]),
    )
    return (answer.detach(), *torch.autograd.grad(answer.square().mean(), weights))


def kinds_of_job() -> list[Any]:
    """Every family with a plain LoRA, and one of them with whatever else a job may be."""
    adapters = [("flux", {"adapter": name}, "none") for name in ("rslora", "dora", "loha", "lokr")]
    quantized = [("flux", {"base_quantization": kind}, kind) for kind in ("nf4", "int8")]
    rows = [*((name, {}, "none") for name in STREAMABLE), *adapters, *quantized]
    return [pytest.param(*row, id="-".join((row[0], *row[1].values()))) for row in rows]


@pytest.mark.parametrize(("name", "changes", "quantization"), kinds_of_job())
def test_streamed_blocks_compute_bitwise_the_same_and_few_are_there_at_once(
    tmp_path: Path, parameters: Callable[..., TrainingParameters], name: str, changes: dict[str, Any], quantization: str
) -> None:
    if quantization != "none":
        pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install 'fiveshot[quantized]'")
    files = MINIATURES[name](tmp_path)
    chosen = parameters(target_modules="attention", **changes)
    whole = load_family(files, CPU, torch.float32, quantization)
    streamed = load_family(files, CPU, torch.float32, quantization, streamed=100)
    assert quantized_layers(streamed.denoiser).keys() == quantized_layers(whole.denoiser).keys()
    assert bool(quantized_layers(streamed.denoiser)) is (quantization != "none")
    assert whole.stream is None
    assert streamed.stream is not None
    blocks = blocks_of(streamed.denoiser, streamed.facts.denoiser.blocks)
    assert streamed.stream.streamed == streamed.stream.total == len(blocks)
    away = {weight.data_ptr() for block in blocks for weight in block.parameters()}
    there = []

    def look(block: Any, *_: object) -> None:
        frozen = [weight for weight in block.parameters() if not weight.requires_grad]
        there.append(not away & {weight.data_ptr() for weight in frozen})

    for block in blocks:
        block.register_forward_pre_hook(look)
    expected, found = gradients(whole, chosen), gradients(streamed, chosen)
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    # Each block computed from weights that were brought, in both directions.
    assert there == [True] * 2 * len(blocks)
    assert streamed.stream.most_here == WINDOW
    # Of the way back, those that were still there are not brought again.
    assert streamed.stream.arrivals == 2 * len(blocks) - WINDOW


def test_a_block_that_is_not_at_its_turn_lies_in_host_memory_and_no_move_of_the_model_changes_that(
    tmp_path: Path,
) -> None:
    family = load_family(MINIATURES["sd3"](tmp_path), CPU, torch.bfloat16, streamed=2)
    assert family.stream is not None
    first, second, third = blocks_of(family.denoiser, ("transformer_blocks",))
    before = next(second.parameters()).data_ptr()
    family.denoiser.to(torch.float64)
    assert next(second.parameters()).data_ptr() == before
    # They are spread: the first stays.
    assert [next(block.parameters()).dtype for block in (first, second, third)] == [
        torch.float64, torch.bfloat16, torch.bfloat16,
    ]  # fmt: skip


@pytest.mark.parametrize(("adapter", "quantization"), [("lora", "none"), ("dora", "none"), ("rslora", "nf4")])
def test_a_job_gives_the_same_files_with_streamed_blocks_and_says_so(
    make_spec: Callable[..., TrainJobSpec], tmp_path: Path, adapter: str, quantization: str
) -> None:
    """Its epoch's check of the files included, which for DoRA reads the frozen weights outside of their turn."""
    if quantization != "none":
        pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: pip install 'fiveshot[quantized]'")
    files: BaseModelFiles = MINIATURES["chroma"](tmp_path / "model")
    changes: dict[str, Any] = {"num_epochs": 1, "num_repeats": 2, "preview_steps": 1, "gradient_checkpointing": True}
    changes |= {"adapter": adapter, "base_quantization": quantization}
    epochs: list[EpochResult] = []
    notices: list[Notice] = []
    warm = Warm()
    for folder, streamed in (("whole", 0), ("streamed", 2)):
        spec = make_spec(folder, job={"base_model": files, "streamed_blocks": streamed}, **changes)
        train(spec, Hooks(on_epoch=epochs.append, on_notice=notices.append), warm)
    whole, streamed_epoch = epochs
    assert [file.sha256 for file in whole.artifacts] == [file.sha256 for file in streamed_epoch.artifacts]
    assert whole.evaluation == streamed_epoch.evaluation
    assert [notice.text.partition(",")[0] for notice in notices] == [
        "1 of the base model's 3 blocks stay on the device"
    ]
    held = warm.take(files, CPU, torch.float32, quantization, as_held=True)
    assert held.stream is not None, "pictures are drawn with the model as the job left it"
    assert 0 < held.stream.most_here <= WINDOW
    warm.close()
