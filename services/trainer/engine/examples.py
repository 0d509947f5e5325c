"""What an epoch is measured on: pictures that are trained, the same seen otherwise, those held out, and copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy
from PIL import Image
from torch import Tensor

from services.trainer.engine.copies import CopyDetector
from services.trainer.engine.evaluation import Example
from services.trainer.engine.families.base import Family
from services.trainer.engine.job import TrainJobSpec
from services.trainer.engine.latents import BucketLatents, LatentEncoder
from services.trainer.engine.masks import loss_weights
from services.trainer.engine.pictures import Picture, moved, moved_masks, render, views_of
from services.trainer.recipe.buckets import bucket_shapes, nearest_shape
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import JobPlan
from services.trainer.recipe.sharing import in_turns
from services.trainer.recipe.workload import MOVED_PICTURES


def held_out_example(family: Family, encoder: LatentEncoder, kept: Picture, parameters: TrainingParameters) -> Example:
    """A picture that is not trained, as it would be, weighed by its mask where it has one."""
    shapes = bucket_shapes(parameters.resolution, family.pixel_multiple)
    shapes = shapes if parameters.aspect_buckets else shapes[:1]
    shape = nearest_shape(*kept.trained_size, shapes)
    plain = replace(parameters, crop_variants=1, flip=False)
    posterior, (mask,), _ = encoder.encode_pictures({0: kept}, shape, plain)
    weights = mask.unsqueeze(0).to(family.device) if mask is not None and kept.mask is not None else None
    return Example(posterior.mean, kept.item.caption, weights, kept.item.dataset)


def training_example(bucket: BucketLatents, number: int, picture: Picture) -> Example:
    """A training picture to measure on, weighed by its mask where it has one."""
    latent, weights = bucket.plain(number)
    return Example(latent, picture.item.caption, weights if picture.mask is not None else None, picture.item.dataset)


def moved_examples(
    family: Family,
    fingerprint: str,
    pictures: Sequence[Picture],
    plan: JobPlan,
    spec: TrainJobSpec,
) -> list[Example]:
    """The first pictures of each dataset, seen otherwise than they are trained, in the shapes of their buckets."""
    encoder = LatentEncoder(family, fingerprint, spec.cache_dir, lambda: None)
    every = [(number, bucket) for bucket in plan.buckets for number in bucket.items]
    chosen = in_turns(every, lambda each: pictures[each[0]].item.dataset)[:MOVED_PICTURES]
    examples = []
    for number, bucket in chosen:
        picture, shape = pictures[number], (bucket.width, bucket.height)
        posterior = encoder.encode_pixels(moved(picture, shape), f"moved|{picture.digest}|{shape}")
        shares = moved_masks(picture, shape, family.latent_factor)
        weights = [None] * 2 if shares is None else [_weights(each, spec, family) for each in shares]
        examples += [
            Example(mean.unsqueeze(0), picture.item.caption, mask, picture.item.dataset)
            for mean, mask in zip(posterior.mean, weights, strict=True)
        ]
    return examples


def _weights(shares: numpy.ndarray, spec: TrainJobSpec, family: Family) -> Tensor:
    return loss_weights(shares, spec.parameters.unmasked_weight).unsqueeze(0).to(family.device)


def copies_of(pictures: Sequence[Picture], plan: JobPlan, parameters: TrainingParameters) -> CopyDetector:
    """Of the pictures that are trained, as they are trained."""
    plain = replace(parameters, crop_variants=1, flip=False)
    shapes = [((bucket.width, bucket.height), item) for bucket in plan.buckets for item in bucket.items]
    views = [(pictures[item].image, views_of(pictures[item], shape, plain)[0], shape) for shape, item in shapes]
    return CopyDetector([Image.fromarray(render(*view)) for view in views])
