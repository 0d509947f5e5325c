"""The order of an epoch: forward passes of one bucket each, grouped into optimizer steps.

Everything is derived from (seed, epoch) or (seed, step), so any step can be prepared without the ones before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from services.trainer.engine.latents import BucketLatents
from services.trainer.engine.noise import python_random
from services.trainer.recipe.buckets import Bucket
from services.trainer.recipe.captions import sample_caption
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import regularization_pictures


@dataclass(frozen=True, slots=True)
class ForwardPass:
    """Samples (numbers of dataset items, an item may repeat) of one bucket that go through the model together.

    before: samples of the job's passes that come before this one.
    """

    bucket: int
    items: tuple[int, ...]
    before: int = 0


@dataclass(frozen=True, slots=True)
class DrawnPass:
    """A forward pass with every choice made, one entry a sample: latent rows, captions and loss weights.

    pictures: numbers of the dataset items, -1 for a regularisation picture. preserved: captions on which the base model
    is preserved; empty where it is not.
    """

    bucket: int
    rows: tuple[int, ...]
    pictures: tuple[int, ...]
    captions: tuple[str, ...]
    weights: tuple[float, ...]
    preserved: tuple[str, ...] = ()


def epoch_steps(buckets: Sequence[Bucket], parameters: TrainingParameters, epoch: int) -> list[tuple[ForwardPass, ...]]:
    """The optimizer steps of an epoch; small last batches are kept. Agrees with ``count_steps``."""
    draw = python_random(parameters.seed, "order", epoch)
    passes: list[ForwardPass] = []
    for number, bucket in enumerate(buckets):
        samples = [item for item, repeats in zip(bucket.items, bucket.repeats, strict=True) for _ in range(repeats)]
        draw.shuffle(samples)
        for start in range(0, len(samples), parameters.batch_size):
            passes.append(ForwardPass(number, tuple(samples[start : start + parameters.batch_size])))
    draw.shuffle(passes)
    sizes = [len(one.items) for one in passes]
    before = accumulate(sizes, initial=epoch * sum(sizes))
    passes = [replace(one, before=count) for one, count in zip(passes, before, strict=False)]
    group = parameters.gradient_accumulation_steps
    return [tuple(passes[start : start + group]) for start in range(0, len(passes), group)]


def draw_pass(
    forward: ForwardPass,
    latents: BucketLatents,
    captions: Sequence[str],
    regularization_captions: Sequence[str],
    parameters: TrainingParameters,
    step: int,
    position: int,
    preserved: Sequence[str] = (),
) -> DrawnPass:
    """Choose views, captions and regularisation pictures of a forward pass.

    Args:
        captions: caption of each dataset item, trigger word included.
        step: optimizer step of the job, from 0.
        position: place of the pass within its step.
        preserved: of each dataset item, the caption on which the base model is preserved; none where it is not.
    """
    draw = python_random(parameters.seed, "samples", step, position)
    rows = [draw.choice(latents.rows[item]) for item in forward.items]
    texts = [sample_caption(captions[item], parameters, draw) for item in forward.items]
    weights = [1.0] * len(rows)
    if latents.regularization_rows:
        fraction = parameters.regularization_fraction
        for _ in range(regularization_pictures(fraction, forward.before, len(forward.items))):
            number = draw.randrange(len(latents.regularization_rows))
            rows.append(latents.regularization_rows[number])
            # Dropped captions keep the model's unconditional prediction, on which guidance rests, in place too.
            dropped = draw.random() < parameters.caption_dropout
            texts.append("" if dropped else regularization_captions[number])
            weights.append(parameters.prior_weight)
    pictures = (*forward.items, *[-1] * (len(rows) - len(forward.items)))
    kept = tuple(preserved[item] if item >= 0 else "" for item in pictures) if preserved else ()
    return DrawnPass(forward.bucket, tuple(rows), pictures, tuple(texts), tuple(weights), kept)
