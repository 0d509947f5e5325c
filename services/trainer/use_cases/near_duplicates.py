"""Which pictures look the same: copies by their hashes, photos of one burst by what a network saw in them. Pure.

A hash of the whole picture survives another size, format or light; a crop or a turn of a few degrees changes most of
its bits. What a network saw at 5 × 5 places survives these too, and differs between two photos of one subject
(docs/audit.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from services.trainer.models.audit import DeleteImages, Finding, Severity
from services.trainer.models.base import TrainingImage
from services.trainer.use_cases.previewing import SeenPicture

ALIKE, COPY = 6, 2
"""Bits of 64 in which the hashes of near duplicates, and of copies, may differ."""
SAME_BURST = 0.82
"""The likeness of features from which two photos are of one burst. Set on the development set (docs/audit.md)."""
_NAMED = 3
_FAULTS = frozenset({"blurry", "underexposed", "overexposed"})
_PLACES, _NUMBERS = 5, 32
_STEPS = tuple((down, across) for down in (-1, 0, 1) for across in (-1, 0, 1))
"""Of places, by which one of two photos may be moved."""

Floats = npt.NDArray[np.float32]


def near_duplicates(pictures: Sequence[SeenPicture], least: int) -> list[Finding]:
    """The finding of that name, or nothing. least: pictures of a job."""
    images = [each.image for each in pictures]
    apart, likeness = bits(images), likenesses(images)
    order = sorted(range(len(pictures)), key=lambda one: _worse(pictures[one]))
    kept: list[int] = []
    alike: dict[int, int] = {}
    copies = 0
    for each in order:
        by_hash = min(kept, key=lambda other: int(apart[each, other]), default=each)
        by_features = max(kept, key=lambda other: float(likeness[each, other]), default=each)
        if by_hash != each and apart[each, by_hash] <= ALIKE:
            alike[each] = by_hash
            copies += int(apart[each, by_hash]) <= COPY
        elif by_features != each and likeness[each, by_features] >= SAME_BURST:
            alike[each] = by_features
        else:
            kept.append(each)
    if not alike:
        return []
    blocking = len(pictures) - copies < least
    names = tuple(pictures[number].image.name for number in sorted(alike))
    count = "1 picture looks" if len(alike) == 1 else f"{len(alike)} pictures look"
    return [
        Finding(
            "near-duplicates", Severity.BLOCKING if blocking else Severity.ATTENTION,
            f"{count} the same as another: {_pairs(images, alike)}",
            "Take the copies out: each would be learnt twice. To give a picture weight, raise its repeats.",
            names, DeleteImages(names),
        )
    ]  # fmt: skip


def likenesses(images: Sequence[TrainingImage]) -> Floats:
    """How alike the features of every two images are, (images, images), -1 to 1; 0 where the models differ or one has
    none."""
    found = np.zeros((len(images), len(images)), np.float32)
    models: defaultdict[str, list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        if image.features is not None and len(image.features.places) == _PLACES * _PLACES * _NUMBERS:
            models[image.features.model_sha256].append(number)
    for members in models.values():
        places = np.stack([_places(images[number]) for number in members])
        found[np.ix_(members, members)] = _over_steps(places)
    return found


def bits(images: Sequence[TrainingImage]) -> npt.NDArray[np.uint8]:
    """In how many bits the hashes of every two images differ, (images, images); 64 where one has none."""
    known = np.array([bool(image.perceptual_hash) for image in images], bool)
    hashes = np.array([int(image.perceptual_hash or "0", 16) for image in images], np.uint64)
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None, :])
    return np.where(known[:, None] & known[None, :], bits, 64).astype(np.uint8)


def _over_steps(places: Floats) -> Floats:
    """The cosine of every two pictures where they overlap, at the step where it is largest. places: (n, 5, 5, 32)."""
    best = np.full((len(places), len(places)), -1, np.float32)
    for down, across in _STEPS:
        ours, theirs = (_part(places, sign * down, sign * across) for sign in (1, -1))
        best = np.maximum(best, ours @ theirs.T)
    return best


def _part(places: Floats, down: int, across: int) -> Floats:
    """What is left of each picture without the rows and columns that a step leaves behind, as vectors of length 1."""
    rows, columns = (slice(max(0, step), _PLACES + min(0, step)) for step in (down, across))
    part = places[:, rows, columns].reshape(len(places), -1)
    return np.asarray(part / np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-6), np.float32)


def _places(image: TrainingImage) -> Floats:
    assert image.features is not None
    stored = np.frombuffer(image.features.places, np.int8)
    return stored.reshape(_PLACES, _PLACES, _NUMBERS).astype(np.float32)


def _pairs(images: Sequence[TrainingImage], alike: Mapping[int, int]) -> str:
    """Which picture is like which, by the names of their files; no more than fit into a line."""
    said = [f"{images[one].file_name} as {images[other].file_name}" for one, other in sorted(alike.items())]
    more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return f"{', '.join(said[:_NAMED])}{more}"


def _worse(picture: SeenPicture) -> tuple[int, float]:
    """Of equal pictures a sharp and well lit one stays, then the one that shows most: a bar is no picture."""
    area = picture.image.content_area or (0.0, 0.0, 1.0, 1.0)
    size = picture.image.size
    pixels = (area[2] - area[0]) * size.width * (area[3] - area[1]) * size.height
    return len(_FAULTS.intersection(picture.image.facts)), -pixels
