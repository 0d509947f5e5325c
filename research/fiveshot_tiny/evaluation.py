"""How good a base is: its loss on scenes it never saw, and a grid of pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image

from research.fiveshot_tiny.config import SCHEDULER
from research.fiveshot_tiny.latents import LatentSet
from research.fiveshot_tiny.models import Denoiser, tokenize

GRID_PROMPTS: tuple[str, ...] = (
    "a photo of a dog on a red background",
    "a cat in a meadow",
    "a panda on a blue background",
    "a photo of a fox in the snow",
    "a frog on a white background",
    "a pig on a green background",
    "a photo of a penguin on a pink background",
    "an owl at night",
    "a ladybug on a yellow background",
    "an apple on a teal background",
    "a strawberry on a white and blue striped background",
    "a photo of a pizza on a purple background",
    "a cake on a blue and pink gradient background",
    "a mushroom in a meadow",
    "a red van on the beach",
    "a car on a gray background",
    "a rocket at night",
    "a house in the snow",
    "a photo of a tree on the beach",
    "a sunflower on an orange background",
    "a pumpkin on a black background",
    "a snowman on a green background with white dots",
    "a blue robot on a yellow background",
    "a purple monster in a meadow",
)
READING_PROMPTS: tuple[str, ...] = (
    "a photo of a green monster on a red background",
    "a photo of a purple van in a meadow",
    "a photo of a red robot on a blue background",
    "a photo of a sunflower in the snow",
    "a photo of a frog at night",
    "a photo of a mushroom on the beach",
    "a photo of a cake on a white background",
    "a photo of a pig on a green background",
    "a photo of a snowman on a purple background",
    "a photo of an apple on a white and red striped background",
    "a photo of a balloon on a yellow and orange gradient background",
    "a photo of a pumpkin on a gray background",
    "a photo of a house on a pink background with white dots",
    "a photo of an owl on a red background",
    "a photo of a tree in a meadow",
    "a photo of a car on a blue background",
    "a photo of a cat in the snow",
    "a photo of a pink heart at night",
    "a photo of a dog on the beach",
    "a photo of a strawberry on a white background",
    "a photo of an orange ring on a green background",
    "a photo of a crown on a purple background",
    "a photo of a blue star on a white and red striped background",
    "a photo of a yellow van on a yellow and orange gradient background",
)
"""Drawn at random from the trained concepts, for a reader who sees the pictures without them."""

READING_SEED = 5000
SAMPLING_STEPS = 20
GUIDANCE = 3.0


@torch.no_grad()
def validation_loss(denoiser: Denoiser, scenes: LatentSet, *, seed: int = 1, batch_size: int = 64) -> float:
    """Mean squared velocity error over all scenes, with fixed noise and evenly spread timesteps."""
    generator = torch.Generator().manual_seed(seed)
    device = denoiser.unet.device
    scheduler = DDPMScheduler(**training_schedule())
    count = len(scenes)
    latents = scenes.latents.float()
    timesteps = ((torch.arange(count) + 0.5) / count * 1000).long()[torch.randperm(count, generator=generator)]
    noise = torch.randn(latents.shape, generator=generator)
    ids = tokenize(denoiser.tokenizer, scenes.captions)
    total = 0.0
    for start in range(0, count, batch_size):
        z, t, e, tokens = (x[start : start + batch_size].to(device) for x in (latents, timesteps, noise, ids))
        predicted = denoiser.predict(scheduler.add_noise(z, e, t), t, tokens)
        total += float((predicted - scheduler.get_velocity(z, e, t)).square().mean((1, 2, 3)).sum())
    return total / count


def sample_pictures(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    steps: int = SAMPLING_STEPS,
    guidance: float = GUIDANCE,
) -> list[Image.Image]:
    """One picture per prompt, each from its own seed (`seed` + its index), by DPM-Solver++ (Lu et al. 2022)."""
    sampler = DPMSolverMultistepScheduler.from_config(
        pipeline.scheduler.config, algorithm_type="dpmsolver++", timestep_spacing="trailing"
    )
    sampling = StableDiffusionPipeline(**{**pipeline.components, "scheduler": sampler}, requires_safety_checker=False)
    sampling.set_progress_bar_config(disable=True)
    generators = [torch.Generator().manual_seed(seed + i) for i in range(len(prompts))]
    output = sampling(list(prompts), num_inference_steps=steps, guidance_scale=guidance, generator=generators)
    images: list[Image.Image] = output.images
    return images


def contact_sheet(images: Sequence[Image.Image], columns: int, *, scale: int = 1, gap: int = 2) -> Image.Image:
    """The pictures in rows of `columns` on white, each enlarged `scale` times; all must be of one size."""
    width, height = images[0].width * scale, images[0].height * scale
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, rows * (height + gap) + gap), "white")
    for i, image in enumerate(images):
        enlarged = image.resize((width, height), Image.Resampling.BICUBIC)
        sheet.paste(enlarged, (gap + i % columns * (width + gap), gap + i // columns * (height + gap)))
    return sheet


def training_schedule() -> dict[str, object]:
    """Arguments of the DDPMScheduler that adds the noise in training and validation."""
    return {k: v for k, v in SCHEDULER.items() if k not in ("set_alpha_to_one", "steps_offset")}
