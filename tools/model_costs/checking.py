"""Whether what was counted of thin models holds for the whole: one count of it at a size, batch and rank of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from services.trainer.recipe.costs import read_costs
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from tools.model_costs import counting
from tools.model_costs.blueprints import BLUEPRINTS, build
from tools.model_costs.counting import Shape

BATCH, RANK = 2, 32
SHARE = 0.75
"""Of the model's own side."""


def ratios(name: str) -> Iterator[tuple[str, float]]:
    """Operations, bytes moved, kernels and peak of a training pass as written down, by what they are of the whole."""
    blueprint = BLUEPRINTS[name]
    chosen = replace(
        resolve(
            DEFAULT_SPECS,
            {
                "train_text_encoder": False,
                "gradient_checkpointing": True,
                "mixed_precision": "bf16",
                "target_modules": "attention_ff",
            },
        ),
        rank=RANK,
    )
    make = partial(build, blueprint.short_of_text())
    counted = counting.count_train(make, chosen, Shape(int(blueprint.side * SHARE), BATCH, RANK))
    written = read_costs()[name].train(chosen, SHARE**2, BATCH)
    for what in ("flops", "moved", "kernels", "peak"):
        yield what, getattr(written, what) / getattr(counted, what)
