"""The pictures of an epoch: the same prompts and seeds at every epoch, all in one batch, with a fast solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image

from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.job import PreviewImage
from services.trainer.engine.noise import derive_seed
from services.trainer.recipe.parameters import TrainingParameters


def preview_request(
    family: Family, parameters: TrainingParameters, prompts: Sequence[str], seeds: Sequence[int] | None = None
) -> SamplingRequest:
    """A batch of square pictures at the training resolution.

    ``seeds`` default to the user's own, those that are missing to ones derived from the job's seed.
    """
    side = max(parameters.resolution // family.pixel_multiple, 1) * family.pixel_multiple
    own = parameters.preview_seeds[: len(prompts)]
    derived = [derive_seed(parameters.seed, "preview", number) % 2**31 for number in range(len(own), len(prompts))]
    return SamplingRequest(
        tuple(prompts),
        tuple((*own, *derived) if seeds is None else seeds),
        parameters.preview_negative_prompt,
        side,
        side,
        parameters.preview_steps,
        parameters.preview_guidance,
    )


def sampled_pictures(family: Family, request: SamplingRequest, on_step: Callable[[int], None]) -> list[Image.Image]:
    """One RGB picture for each prompt."""
    with torch.no_grad():
        return family.decode_latents(family.sample(family.pipeline(), request, on_step))


def write_previews(pictures: Sequence[Image.Image], request: SamplingRequest, folder: Path) -> tuple[PreviewImage, ...]:
    """Write ``preview-1.png`` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    previews = []
    for number, (picture, prompt, seed) in enumerate(zip(pictures, request.prompts, request.seeds, strict=True), 1):
        path = folder / f"preview-{number}.png"
        picture.save(path)
        previews.append(PreviewImage(path, prompt, seed))
    return tuple(previews)
