"""SD 1.5, SDXL and FLUX.1 at their real sizes with random weights: a step, previews, files that load, memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from services.trainer.engine.checkpoints import TrainingState
from services.trainer.engine.conditioning import TextConditioner
from services.trainer.engine.export import write_artifacts
from services.trainer.engine.families.base import Family
from services.trainer.engine.graph_step import CudaGraphs, RecordedStep
from services.trainer.engine.lora import RunningAverage, add_adapters, trained_weights
from services.trainer.engine.optimizers import build_optimizer, build_schedule
from services.trainer.engine.passes import PassInputs
from services.trainer.engine.precision import autocast, gradient_scaler
from services.trainer.engine.previews import preview_request, sampled_pictures, write_previews
from services.trainer.engine.verification import Probe, verify_artifacts
from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, load_catalogue
from services.trainer.recipe.parameters import TrainingParameters
from tests.fixtures.real_sizes import real_size

Make = Callable[..., TrainingParameters]
SIDES = {"sd-1.5": 512, "sdxl": 1024, "flux-dev": 1024}
CAPTIONS = ("a photo of a ball", "")


def inputs_for(family: Family, conditioner: TextConditioner, side: int, batch: int, seed: int) -> PassInputs:
    """Random latents of pictures of ``side`` pixels."""
    torch.manual_seed(seed)
    channels = family.facts.autoencoder.channels
    shape = (batch, channels, side // family.latent_factor, side // family.latent_factor)
    with torch.no_grad(), autocast(family.device, "bf16"):
        text = conditioner.inputs([CAPTIONS[0]] * batch)
    latents, noise = (torch.randn(shape, device=family.device) for _ in range(2))
    level, ones = (torch.rand(batch, device=family.device), torch.ones(batch, device=family.device))
    return PassInputs(latents, noise, level, ones, torch.tensor(float(batch), device=family.device), text, None)


@pytest.mark.parametrize("name", SIDES)
def test_a_real_size_trains_samples_and_exports(
    parameters: Make, cuda: torch.device, tmp_path: Path, name: str
) -> None:
    chosen = parameters(
        mixed_precision="bf16", target_modules="attention", rank=16, alpha=8.0, resolution=SIDES[name],
        batch_size=1, gradient_checkpointing=name == "flux-dev", preview_steps=2, learning_rate=1e-3,
    )  # fmt: skip
    family, _ = real_size(name, cuda, torch.bfloat16)
    if chosen.gradient_checkpointing:
        family.enable_gradient_checkpointing()
    carriers = add_adapters(family, chosen)
    weights = trained_weights(carriers)
    optimizer = build_optimizer(weights, family.facts.denoiser.component, chosen)
    schedule = build_schedule(optimizer, chosen, 10)
    average = RunningAverage(weights, 0.0)
    state = TrainingState(weights, average.averages, optimizer, schedule, gradient_scaler(cuda, "bf16"))
    conditioner = TextConditioner(family, trained=False)
    step = RecordedStep(family, conditioner, chosen, state, CudaGraphs(cuda))
    losses = []
    for number in range(4):
        losses.append(step.accumulate(inputs_for(family, conditioner, SIDES[name], 1, seed=number % 2)).clone())
        step.update()
        schedule.step()
    values = [float(loss) for loss in losses]
    assert all(numpy.isfinite(values))
    # The same two passes again, after two updates.
    assert values[2:] != values[:2]
    peak_mib = torch.cuda.max_memory_allocated() / 2**20
    offered = DEFAULT_CATALOGUE.with_name("base_models.example.toml").read_text().replace("enabled = false", "")
    catalogue = tmp_path / "all.toml"
    catalogue.write_text(offered)
    assert peak_mib < load_catalogue(catalogue)[name].memory_mib

    with autocast(cuda, "bf16"):
        request = preview_request(family, chosen, ["a ball"] * 3)
        previews = write_previews(sampled_pictures(family, request, lambda _: None), request, tmp_path)
    for preview in previews:
        with Image.open(preview.path) as opened:
            assert opened.size == (SIDES[name], SIDES[name])
            assert numpy.asarray(opened).std() > 1.0

    artifacts = write_artifacts(tmp_path, "real", family, carriers, chosen, {})
    noisy = torch.randn(1, family.facts.autoencoder.channels, 32, 32, device=cuda)
    timesteps = torch.tensor([0.5] if name == "flux-dev" else [500], device=cuda)
    with autocast(cuda, "bf16"):
        difference = verify_artifacts(artifacts, family, carriers, "bf16", Probe(noisy, timesteps, CAPTIONS[:1]))
    assert difference < 0.05
