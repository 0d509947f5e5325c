"""The counted costs that ship are those of the code and configurations that ship."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from tools.model_costs import counting
from tools.model_costs.blueprints import blueprint_of_folder, build
from tools.model_costs.counting import Shape


@pytest.mark.parametrize("checkpointing", [False, True])
def test_counting_the_small_base_again_gives_the_numbers_that_are_written_down(checkpointing: bool) -> None:
    model = load_catalogue()["fiveshot-tiny"]
    assert model.costs is not None
    make = partial(build, blueprint_of_folder(Path(model.source), model.family, model.resolution))
    chosen = replace(
        resolve(DEFAULT_SPECS, {"train_text_encoder": False, "gradient_checkpointing": checkpointing}), rank=24
    )
    # A rank, a size and a batch that were not counted: the polynomial has to give them.
    counted = counting.count_train(make, chosen, Shape(96, 3, 24))
    written = model.costs.train(chosen, (96 / 64) ** 2, 3)
    assert written.flops == pytest.approx(counted.flops, rel=0.02)
    assert written.moved == pytest.approx(counted.moved, rel=0.03)
    assert written.kernels == pytest.approx(counted.kernels, rel=0.05)
    assert written.peak == pytest.approx(counted.peak, rel=0.05)
    assert counting.weight_counts(make) == model.costs.weights
