"""The pictures of an epoch: the same prompts and seeds at every epoch, all in one batch, with a fast solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy
import torch
from numpy.typing import NDArray
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


def largest_change(base: Sequence[Image.Image], pictures: Sequence[Image.Image]) -> float | None:
    """Mean difference of a channel, 0 to 1, of the preview that differs most from the base model's of the same seed.

    None where the base model's were not drawn, or are of another size.
    """
    pairs = [(one, other) for one, other in zip(base, pictures, strict=False) if one.size == other.size]
    return max(
        (float(numpy.abs(_channels(one) - _channels(other)).mean()) for one, other in pairs),
        default=None,
    )


def _channels(picture: Image.Image) -> NDArray[numpy.float32]:
    return numpy.asarray(picture.convert("RGB"), numpy.float32) / 255.0
