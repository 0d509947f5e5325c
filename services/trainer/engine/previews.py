"""The pictures of an epoch: the same prompts and seeds at every epoch, all in one batch, with a fast solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from services.trainer.engine.families.base import Family, SamplingRequest
from services.trainer.engine.job import BaseModelFiles, PreviewImage
from services.trainer.engine.noise import derive_seed
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.workload import PREVIEW_COUNT

_STOPS = frozenset(
    ["a", "an", "the", "in", "on", "at", "with", "and", "of", "is", "are", "by", "near", "from", "to", "under", "over"]
)
_LONGEST_NOUN = 3


def choose_prompts(base_model: BaseModelFiles, parameters: TrainingParameters, captions: Sequence[str]) -> list[str]:
    """Exactly three prompts: the user's, then the base model's templates, then captions of the dataset."""
    prompts = list(parameters.preview_prompts)
    caption = captions[0]
    # A template needs something to call the subject; without a trigger word its own caption says it best.
    subject = subject_phrase(parameters.trigger_word, captions) or caption
    prompts += [
        template.format(caption=caption, trigger_word=subject)
        for template in base_model.preview_templates
        if template.format(caption=caption, trigger_word=subject) not in prompts
    ]
    prompts += [text for text in dict.fromkeys(captions) if text not in prompts]
    while len(prompts) < PREVIEW_COUNT:
        prompts.append(prompts[-1])
    return prompts[:PREVIEW_COUNT]


def subject_phrase(trigger_word: str, captions: Sequence[str]) -> str:
    """The trigger word with the words that follow it in every caption: ``sks`` becomes ``sks dog``.

    A model that was taught "sks dog" draws poorly for "sks" alone.
    """
    if not trigger_word:
        return ""
    followers = []
    for caption in captions:
        words, phrase = caption.split(), trigger_word.split()
        lowered = [word.lower() for word in words]
        starts = [n for n in range(len(words)) if lowered[n : n + len(phrase)] == [word.lower() for word in phrase]]
        followers.append(words[starts[0] + len(phrase) :] if starts else [])
    shared = []
    for position in zip(*followers, strict=False):
        if len(set(position)) > 1 or len(captions) == 1 or position[0].lower() in _STOPS:
            break
        shared.append(position[0].rstrip(","))
        if position[0].endswith(","):
            break
    return " ".join([trigger_word, *shared[:_LONGEST_NOUN]])


def preview_request(
    family: Family, parameters: TrainingParameters, prompts: Sequence[str], seeds: Sequence[int] | None = None
) -> SamplingRequest:
    """A batch of square pictures at the training resolution; seeds default to ones derived from the job's seed."""
    side = max(parameters.resolution // family.pixel_multiple, 1) * family.pixel_multiple
    drawn = [derive_seed(parameters.seed, "preview", number) % 2**31 for number in range(len(prompts))]
    return SamplingRequest(
        tuple(prompts),
        tuple(drawn if seeds is None else seeds),
        parameters.preview_negative_prompt,
        side,
        side,
        parameters.preview_steps,
        parameters.preview_guidance,
    )


def sample_previews(
    family: Family, request: SamplingRequest, folder: Path, on_step: Callable[[int], None]
) -> tuple[tuple[PreviewImage, ...], torch.Tensor]:
    """Sample, decode and write ``preview-1.png`` and so on.

    Returns:
        The files, and the scaled latents [B, C, h, w] for the evaluation.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        latents = family.sample(family.pipeline(), request, on_step)
        pictures = family.decode_latents(latents)
    previews = []
    for number, (picture, prompt, seed) in enumerate(zip(pictures, request.prompts, request.seeds, strict=True), 1):
        path = folder / f"preview-{number}.png"
        picture.save(path)
        previews.append(PreviewImage(path, prompt, seed))
    return tuple(previews), latents.float()
