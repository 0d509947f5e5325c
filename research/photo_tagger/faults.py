"""How many faults an audit finds in photographs that were given them, and how many where none are: docs/audit.md."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from research.photo_tagger.crops import as_jpeg, photographs
from services.dataset.use_cases.likeness import perceptual_hash
from services.dataset.use_cases.picture_facts import picture_facts
from services.trainer.models.base import TrainingImage
from services.trainer.recipe.plan import PictureSize
from services.trainer.use_cases.near_duplicates import ALIKE, bits_each_way


def report(subjects: Path, packages: Path) -> str:
    """The tables, as text."""
    photos = [*photographs(subjects), *photographs(packages)]
    return "\n".join([*_likeness(photos), *_facts(photos)])


def _likeness(photos: list[Image.Image]) -> Iterator[str]:
    yield "| copy | found |"
    yield "| --- | --- |"
    hashes = [perceptual_hash(each) for each in photos]
    copies: dict[str, Callable[[Image.Image], Image.Image]] = {
        "at half the size": _halved,
        "JPEG of quality 30": lambda image: as_jpeg(image, 30),
        "a fifth lighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
        "in grey": lambda image: ImageOps.grayscale(image).convert("RGB"),
        "3% cut off all around": lambda image: ImageOps.crop(image, round(0.03 * min(image.size))),
        "10% cut off all around": lambda image: ImageOps.crop(image, round(0.1 * min(image.size))),
        "mirrored": ImageOps.mirror,
        "turned by a quarter": lambda image: image.transpose(Image.Transpose.ROTATE_90),
        "upside down": lambda image: image.transpose(Image.Transpose.ROTATE_180),
        "mirrored, at half the size, JPEG of quality 30": lambda image: as_jpeg(ImageOps.mirror(_halved(image)), 30),
    }
    for name, change in copies.items():
        changed = [perceptual_hash(change(each)) for each in photos]
        found = sum(_alike(one, other) for one, other in zip(hashes, changed, strict=True))
        yield f"| {name} | {found} of {len(photos)} |"
    pairs = list(itertools.combinations(hashes, 2))
    yield f"{sum(_alike(*pair) for pair in pairs)} of {len(pairs)} pairs of other photographs look alike"


def _facts(photos: list[Image.Image]) -> Iterator[str]:
    yield "| photographs | blurry | underexposed | overexposed |"
    yield "| --- | --- | --- | --- |"
    changes: dict[str, Callable[[Image.Image], Image.Image]] = {
        "as they are": lambda image: image,
        "blurred by 2 pixels": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
        "blurred by 4 pixels": lambda image: image.filter(ImageFilter.GaussianBlur(4)),
        "an eighth of the light": lambda image: _lit(image, 0.12),
        "2.5 times the light": lambda image: _lit(image, 2.5),
    }
    for name, change in changes.items():
        facts = [picture_facts(as_jpeg(change(each), 92)) for each in photos]
        counts = [sum(fact in each for each in facts) for fact in ("blurry", "underexposed", "overexposed")]
        yield f"| {name} ({len(photos)}) | {' | '.join(map(str, counts))} |"


def _lit(image: Image.Image, share: float) -> Image.Image:
    return Image.fromarray(np.clip(np.asarray(image, np.float32) * share, 0, 255).astype(np.uint8))


def _halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2))


def _alike(one: str, other: str) -> bool:
    """Whether an audit takes one for a copy of the other, by their hashes alone."""
    images = [TrainingImage(PictureSize(1, 1), "", perceptual_hash=each) for each in (one, other)]
    return bool(bits_each_way(images)[:, 0, 1].min() <= ALIKE)
