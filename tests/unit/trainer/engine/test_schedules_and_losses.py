"""Noise levels against diffusers' own schedulers, loss weights, masks, and draws that depend on nothing before them."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from diffusers import DDPMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.training_utils import compute_snr

from services.trainer.engine.losses import batch_loss, per_sample_loss, region_mask
from services.trainer.engine.noise import derive_seed, python_random, seeded_globally, torch_generator
from services.trainer.engine.schedules import DiffusionSchedule, FlowSchedule, draw_positions
from services.trainer.recipe.parameters import TrainingParameters

CPU = torch.device("cpu")
Make = Callable[..., TrainingParameters]


def ddpm(prediction_type: str = "epsilon") -> DDPMScheduler:
    return DDPMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, prediction_type=prediction_type
    )


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
def test_ddpm_levels_are_those_of_diffusers(prediction_type: str) -> None:
    scheduler = ddpm(prediction_type)
    ours = DiffusionSchedule(scheduler.alphas_cumprod, prediction_type)
    latents, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    position = torch.tensor([0.0, 0.5005, 0.9999])
    timesteps = torch.tensor([0, 500, 999])
    assert ours.timesteps(position).tolist() == timesteps.tolist()
    torch.testing.assert_close(ours.noisy(latents, noise, position), scheduler.add_noise(latents, noise, timesteps))
    expected = {
        "epsilon": noise,
        "sample": latents,
        "v_prediction": scheduler.get_velocity(latents, noise, timesteps),
    }[prediction_type]
    torch.testing.assert_close(ours.target(latents, noise, position), expected)


def test_min_snr_weights_follow_the_paper() -> None:
    scheduler, position = ddpm(), torch.tensor([0.01, 0.3, 0.9])
    ratio = compute_snr(scheduler, (position * 1000).long())
    clipped = ratio.clamp(max=5.0)
    epsilon = DiffusionSchedule(scheduler.alphas_cumprod, "epsilon")
    torch.testing.assert_close(epsilon.weight(position, 5.0), clipped / ratio, rtol=1e-4, atol=1e-6)
    velocity = DiffusionSchedule(scheduler.alphas_cumprod, "v_prediction")
    torch.testing.assert_close(velocity.weight(position, 5.0), clipped / (ratio + 1), rtol=1e-4, atol=1e-6)
    assert epsilon.weight(position, 0.0).tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match="unknown prediction type"):
        DiffusionSchedule(scheduler.alphas_cumprod, "score")


def test_flow_levels_are_those_of_diffusers() -> None:
    scheduler = FlowMatchEulerDiscreteScheduler()
    latents, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    timesteps = scheduler.timesteps[[100, 700]]
    position = timesteps / 1000
    ours = FlowSchedule(scheduler.config)
    torch.testing.assert_close(ours.noisy(latents, noise, position), scheduler.scale_noise(latents, timesteps, noise))
    torch.testing.assert_close(ours.target(latents, noise, position), noise - latents)


def test_stratified_levels_visit_every_slice_and_shift_moves_them_to_noise(parameters: Make) -> None:
    stratified = draw_positions(8, parameters(), torch_generator(CPU, 1, "x"))
    assert sorted((stratified * 8).long().tolist()) == list(range(8))
    plain = draw_positions(4000, parameters(timestep_sampling="uniform"), torch_generator(CPU, 1, "x"))
    moved = draw_positions(
        4000, parameters(timestep_sampling="uniform", timestep_shift=3.0), torch_generator(CPU, 1, "x")
    )
    assert plain.mean().item() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(moved, 3 * plain / (1 + 2 * plain))
    normal = draw_positions(4000, parameters(timestep_sampling="logit_normal"), torch_generator(CPU, 1, "x"))
    assert normal.std().item() < plain.std().item()
    assert float(torch.cat([plain, moved, normal]).max()) < 1.0


def test_a_shift_below_one_draws_less_high_noise(parameters: Make) -> None:
    """Of evenly drawn levels u, those above t come from u > t / (s + (1 - s) t): a thirteenth above 0.75 for 0.25."""
    spread = draw_positions(4160, parameters(timestep_shift=0.25), torch_generator(CPU, 1, "x"))
    assert float((spread > 0.75).float().mean()) == pytest.approx(1 / 13, abs=0.001)
    assert float((spread < 0.25).float().mean()) == pytest.approx(4 / 7, abs=0.001)


@pytest.mark.parametrize(("tokens", "mu"), [(256, 0.5), (4096, 1.15), (1024, 0.63)])
def test_larger_pictures_are_drawn_with_more_noise_as_the_model_samples_them(
    parameters: Make, tokens: int, mu: float
) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    shift = FlowSchedule(scheduler.config).shift(tokens)
    assert shift == pytest.approx(math.exp(mu))
    plain = draw_positions(64, parameters(timestep_sampling="logit_normal"), torch_generator(CPU, 1, "x"))
    shifted = draw_positions(64, parameters(timestep_sampling="by_resolution"), torch_generator(CPU, 1, "x"), shift)
    torch.testing.assert_close(shifted, scheduler.time_shift(mu, 1.0, plain))


def test_draws_depend_on_seed_and_purpose_only() -> None:
    assert derive_seed(1, "noise", 2) == derive_seed(1, "noise", 2)
    different = {
        derive_seed(1, "noise", 2),
        derive_seed(2, "noise", 2),
        derive_seed(1, "noise", "2"),
        derive_seed(1, 2),
    }
    assert len(different) == 4
    assert python_random(3, "a").random() == python_random(3, "a").random()
    first = torch.randn(3, generator=torch_generator(CPU, 3, "a"))
    torch.manual_seed(0)
    before = torch.rand(1)
    torch.manual_seed(0)
    with seeded_globally(9, "weights"):
        torch.rand(10)
    assert torch.equal(torch.rand(1), before)
    assert torch.equal(first, torch.randn(3, generator=torch_generator(CPU, 3, "a")))


def test_losses_of_unequal_batches_add_up_to_the_mean_of_all_samples() -> None:
    answer, target = torch.randn(5, 4, 2, 2), torch.randn(5, 4, 2, 2)
    losses, weights = per_sample_loss(answer, target, None), torch.tensor([1.0, 1.0, 1.0, 0.5, 2.0])
    five = torch.tensor(5.0)
    parts = batch_loss(losses[:4], weights[:4], five) + batch_loss(losses[4:], weights[4:], five)
    torch.testing.assert_close(parts, (losses * weights).mean())
    torch.testing.assert_close(losses, ((answer - target) ** 2).mean((1, 2, 3)))


def test_a_mask_weighs_the_region_and_keeps_the_mean() -> None:
    mask = region_mask(8, 8, (0.25, 0.5, 0.75, 1.0), 0.1)
    assert mask.mean().item() == pytest.approx(1.0)
    assert mask[0, 6, 3] / mask[0, 0, 0] == pytest.approx(10.0)
    error = torch.zeros(1, 4, 8, 8)
    error[..., 6, 3] = 1.0
    outside = torch.zeros(1, 4, 8, 8)
    outside[..., 0, 0] = 1.0
    zero = torch.zeros_like(error)
    inside_loss = per_sample_loss(error, zero, mask[None])
    assert inside_loss > 5 * per_sample_loss(outside, zero, mask[None])
    assert region_mask(4, 4, (0.5, 0.5, 0.51, 0.51), 0.1).max() > 1.0
