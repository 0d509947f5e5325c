"""Fused LoRA layers answer and learn as PEFT's own do."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from services.trainer.engine.families import load_family
from services.trainer.engine.families.base import Family
from services.trainer.engine.fused_lora import FusedConv2d, FusedLinear, fuse_lora
from services.trainer.engine.job import BaseModelFiles
from services.trainer.engine.lora import adapter_state, add_adapters, trained_weights
from services.trainer.recipe.parameters import TrainingParameters

Make = Callable[..., TrainingParameters]


@pytest.fixture(scope="module")
def loaded(base_model: BaseModelFiles) -> Family:
    return load_family(base_model, torch.device("cpu"), torch.float32)


def answer_and_gradients(family: Family) -> tuple[Tensor, list[Tensor]]:
    torch.manual_seed(6)
    noisy = torch.randn(2, 4, 8, 16)
    answer = family.predict(noisy, torch.tensor([200, 700]), family.encode_text(["zwx", "a dog"]))
    answer.square().mean().backward()  # type: ignore[no-untyped-call]
    weights = trained_weights(family.components).values()
    return answer.detach(), [weight.grad for weight in weights if weight.grad is not None]


@pytest.mark.parametrize(("adapter", "targets"), [("lora", "all"), ("rslora", "attention")])
def test_a_fused_model_answers_and_learns_alike(loaded: Family, parameters: Make, adapter: str, targets: str) -> None:
    family = copy.deepcopy(loaded)
    carriers = add_adapters(family, parameters(adapter=adapter, target_modules=targets, train_text_encoder=True))
    for weight in trained_weights(carriers).values():
        weight.data += 0.1 * torch.randn_like(weight)
    fused = copy.deepcopy(family)
    count = sum(fuse_lora(component) for component in fused.components.values())
    assert count == len(trained_weights(carriers)) // 2
    kinds = {type(module) for module in fused.components["unet"].modules()}
    assert FusedLinear in kinds
    assert (FusedConv2d in kinds) == (targets == "all")
    (expected, gradients), (found, others) = answer_and_gradients(family), answer_and_gradients(fused)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert len(gradients) == len(others) == 2 * count
    for one, other in zip(gradients, others, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-6)
    assert adapter_state(fused.components["unet"]).keys() == adapter_state(family.components["unet"]).keys()


def test_other_adapters_stay_as_they_are(loaded: Family, parameters: Make) -> None:
    for adapter in ("dora", "loha", "lokr"):
        family = copy.deepcopy(loaded)
        add_adapters(family, parameters(adapter=adapter))
        assert fuse_lora(family.components["unet"]) == 0
