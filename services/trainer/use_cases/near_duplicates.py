"""Which pictures look the same: copies by their hashes, photos of one burst by what a network saw in them. Pure.

A hash of the whole picture survives another size, format or light; a crop or a turn of a few degrees changes most of
its bits. What a network saw at 5 × 5 places survives these too, and differs between two photos of one subject
(docs/audit.md). A mirror and quarter turns only swap and turn over the waves of the cosine transform, so the hash of a
copy that was mirrored or turned is known from that of the picture.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.trainer.models.audit import DeleteImages, Finding, Severity
from services.trainer.models.base import TrainingImage
from services.trainer.use_cases.previewing import SeenPicture

ALIKE, COPY = 6, 2
"""Bits of 64 in which the hashes of near duplicates, and of copies, may differ."""

AS_IT_IS, TURNED, MIRRORED = range(3)
"""How a copy may stand to its picture; a mirrored one may be turned as well."""
_WORDS = ("", " (turned)", " (mirrored)")
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
    apart, likeness = bits_each_way(images), likenesses_each_way(images)
    order = sorted(range(len(pictures)), key=lambda one: _worse(pictures[one]))
    kept: list[int] = []
    alike: dict[int, _Like] = {}
    copies = 0
    for each in order:
        like = _like(each, kept, apart, likeness)
        if like is None:
            kept.append(each)
            continue
        alike[each] = like
        copies += int(apart[AS_IT_IS, each, like.other]) <= COPY
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


@dataclass(frozen=True)
class _Like:
    """other: the picture that another is like. way: one of _WORDS."""

    other: int
    way: int


def _like(each: int, kept: Sequence[int], apart: npt.NDArray[np.uint8], likeness: Floats) -> _Like | None:
    """Which of the kept pictures this one is like: as it is, before turned and mirrored; by hash before by features."""
    if not kept:
        return None
    for way in (AS_IT_IS, TURNED, MIRRORED):
        other = min(kept, key=lambda one: int(apart[way, each, one]))
        if apart[way, each, other] <= ALIKE:
            return _Like(other, way)
        other = max(kept, key=lambda one: float(likeness[way, each, one]))
        if likeness[way, each, other] >= SAME_BURST:
            return _Like(other, way)
    return None


def likenesses(images: Sequence[TrainingImage]) -> Floats:
    """How alike the features of every two images are, (images, images), -1 to 1; 0 where the models differ or one has
    none."""
    return np.asarray(likenesses_each_way(images)[AS_IT_IS], np.float32)


def likenesses_each_way(images: Sequence[TrainingImage]) -> Floats:
    """The same as they are, turned and mirrored, (3, images, images). What a network sees does not turn with a picture,
    so that of turned ones nothing is known: 0."""
    found = np.zeros((3, len(images), len(images)), np.float32)
    models: defaultdict[str, list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        if image.features is not None and len(image.features.places) == _PLACES * _PLACES * _NUMBERS:
            models[image.features.model_sha256].append(number)
    for members in models.values():
        places = np.stack([_places(images[number]) for number in members])
        rows, columns = np.ix_(members, members)
        found[AS_IT_IS, rows, columns] = _over_steps(places, places)
        found[MIRRORED, rows, columns] = _over_steps(places, places[:, :, ::-1])
    return found


def bits(images: Sequence[TrainingImage]) -> npt.NDArray[np.uint8]:
    """In how many bits the hashes of every two images differ, (images, images); 64 where one has none."""
    return np.asarray(bits_each_way(images)[AS_IT_IS], np.uint8)


def bits_each_way(images: Sequence[TrainingImage]) -> npt.NDArray[np.uint8]:
    """The same as they are, turned by quarters and mirrored, whichever turn is nearest, (3, images, images)."""
    known = np.array([bool(image.perceptual_hash) for image in images], bool)
    hashes = np.array([int(image.perceptual_hash or "0", 16) for image in images], ">u8")
    least = np.full((3, len(images), len(images)), 64, np.uint8)
    for way, turned in _each_way(hashes):
        least[way] = np.minimum(least[way], np.bitwise_count(hashes[:, None] ^ turned[None, :]))
    return np.where(known[:, None] & known[None, :], least, 64).astype(np.uint8)


def _each_way(hashes: npt.NDArray[np.uint64]) -> Iterator[tuple[int, npt.NDArray[np.uint64]]]:
    """The hashes of the pictures as they are, turned and mirrored, eight forms in all.

    A bit says whether a wave, so many down by so many across, is higher than the middle one, which is about 0. A mirror
    turns the odd waves over, a swap of the axes swaps the waves.
    """
    waves = np.unpackbits(hashes.view(np.uint8)).reshape(-1, 8, 8)
    odd = np.arange(8, dtype=np.uint8) % 2
    for swapped, across, down in itertools.product((False, True), repeat=3):
        form = (waves.swapaxes(1, 2) if swapped else waves) ^ (odd * across) ^ (odd * down)[:, None]
        changes = swapped + across + down
        way = AS_IT_IS if changes == 0 else (TURNED, MIRRORED)[changes % 2]
        yield way, np.packbits(form).view(">u8")


def _over_steps(ours: Floats, theirs: Floats) -> Floats:
    """The cosine of every two pictures where they overlap, at the step where it is largest. Both: (n, 5, 5, 32)."""
    best = np.full((len(ours), len(theirs)), -1, np.float32)
    for down, across in _STEPS:
        best = np.maximum(best, _part(ours, down, across) @ _part(theirs, -down, -across).T)
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


def _pairs(images: Sequence[TrainingImage], alike: Mapping[int, _Like]) -> str:
    """Which picture is like which, by the names of their files; no more than fit into a line."""
    said = [
        f"{images[one].file_name} as {images[alike[one].other].file_name}{_WORDS[alike[one].way]}"
        for one in sorted(alike)
    ]
    more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
    return f"{', '.join(said[:_NAMED])}{more}"


def _worse(picture: SeenPicture) -> tuple[int, float]:
    """Of equal pictures a sharp and well lit one stays, then the one that shows most: a bar is no picture."""
    area = picture.image.content_area or (0.0, 0.0, 1.0, 1.0)
    size = picture.image.size
    pixels = (area[2] - area[0]) * size.width * (area[3] - area[1]) * size.height
    return len(_FAULTS.intersection(picture.image.facts)), -pixels
