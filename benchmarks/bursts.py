"""How many photos of one burst an audit finds to be near duplicates, and how many others: docs/audit.md.

A burst is made of each photograph: another crop of it, turned, shifted, under other light, with noise, as a JPEG.
SUBJECTS holds a folder of photographs for each subject, whose photographs are no duplicates of each other; PACKAGES is
laid out as research/photo_tagger/README.md says.

    python -m benchmarks.bursts SUBJECTS PACKAGES
"""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image, ImageOps

from services.dataset.use_cases.likeness import perceptual_hash
from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.models.pictures import Picture
from services.trainer.models.base import PictureFeatures, TrainingImage
from services.trainer.recipe.plan import PictureSize
from services.trainer.use_cases.near_duplicates import (
    ALIKE,
    AS_IT_IS,
    MIRRORED,
    SAME_BURST,
    bits,
    bits_each_way,
    likenesses_each_way,
)

SIDE = 800
VARIANTS = 2
_SAMPLES = "ocv/usr/share/doc/opencv-doc/examples/data"
REAL = (
    ("ski/motorcycle_left.png", "ski/motorcycle_right.png"),
    (f"{_SAMPLES}/aloeL.jpg", f"{_SAMPLES}/aloeR.jpg"),
    (f"{_SAMPLES}/leuvenA.jpg", f"{_SAMPLES}/leuvenB.jpg"),
    (f"{_SAMPLES}/rubberwhale1.png", f"{_SAMPLES}/rubberwhale2.png"),
    (f"{_SAMPLES}/basketball1.png", f"{_SAMPLES}/basketball2.png"),
)
"""Two photographs of one scene each: from beside, in other light, or a moment later."""
_WALLPAPERS = "wall/usr/share/backgrounds"
# A wallpaper comes in several sizes; of each the first counts.
_SAME_WALLPAPER = 12


def burst(photo: Image.Image, draw: random.Random) -> Image.Image:
    """What a burst would hold beside the photo."""
    width, height = photo.size
    turned = photo.rotate(draw.uniform(-4, 4), Image.Resampling.BICUBIC)
    share = draw.uniform(0.82, 0.95) * 0.92
    left, top = (side * (1 - share) / 2 + draw.uniform(-1, 1) * side * (0.94 - share) / 2 for side in (width, height))
    part = turned.crop((round(left), round(top), round(left + share * width), round(top + share * height)))
    light = np.asarray(part, np.float32) / 255
    light = light ** draw.uniform(0.8, 1.25) * draw.uniform(0.75, 1.3)
    light *= np.array([draw.uniform(0.94, 1.06) for _ in range(3)], np.float32)
    noise = np.random.default_rng(draw.randrange(1 << 30)).normal(0, draw.uniform(0, 0.03), light.shape)
    buffer = io.BytesIO()
    pixels = (np.clip(light + noise, 0, 1) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=draw.randrange(60, 95))
    return Image.open(buffer).convert("RGB")


def photograph(path: Path) -> Image.Image:
    """Upright, at most 800 pixels a side."""
    with Image.open(path) as opened:
        photo = ImageOps.exif_transpose(opened).convert("RGB")
    photo.thumbnail((SIDE, SIDE))
    return photo


def seen(tagger: PhotoOnnxTagger, photo: Image.Image) -> TrainingImage:
    """What an audit knows of it."""
    picture = Picture(np.asarray(photo, np.uint8), None, *photo.size)
    found = tagger.find_features(picture, (0.0, 0.0, 1.0, 1.0))
    features = PictureFeatures(found.model_sha256, found.places) if found else None
    return TrainingImage(PictureSize(*photo.size), "", perceptual_hash=perceptual_hash(photo), features=features)


def wallpapers(tagger: PhotoOnnxTagger, folder: Path) -> Iterator[tuple[Image.Image, TrainingImage]]:
    """Photographs of which no two look alike by their hashes, and that the tagger takes for photographs."""
    kept: list[TrainingImage] = []
    for path in sorted((folder / _WALLPAPERS).rglob("*.jpg")):
        photo = photograph(path)
        image = seen(tagger, photo)
        if image.features and int(bits([image, *kept])[0, 1:].min(initial=64)) > _SAME_WALLPAPER:
            kept.append(image)
            yield photo, image


def row(name: str, pairs: Sequence[tuple[TrainingImage, TrainingImage]], way: int = AS_IT_IS) -> str:
    """How many pairs each of the two finds to be alike as they are, or mirrored."""
    hashes = [int(bits_each_way(pair)[way, 0, 1]) <= ALIKE for pair in pairs]
    likeness = [float(likenesses_each_way(pair)[way, 0, 1]) for pair in pairs]
    features = [value >= SAME_BURST for value in likeness]
    both = sum(one or other for one, other in zip(hashes, features, strict=True))
    quantiles = " to ".join(f"{value:.2f}" for value in np.quantile(likeness, [0, 0.5, 1]))
    return f"| {name} ({len(pairs)}) | {sum(hashes)} | {sum(features)} | {both} | {quantiles} |"


def main(
    subjects: Annotated[Path, typer.Argument(help="Folder with a folder of photos for each subject.")],
    packages: Annotated[Path, typer.Argument(help="Folder with the packages' pictures.")],
) -> None:
    """Print a table of pairs."""
    tagger = PhotoOnnxTagger(threads=1)
    groups = [
        [(photo, seen(tagger, photo)) for photo in map(photograph, sorted(each.glob("*.jp*g")))]
        for each in sorted(subjects.iterdir())
        if each.is_dir()
    ]
    others = list(wallpapers(tagger, packages))
    groups += [[each] for each in others]
    made, mirrored = [], []
    for number, (photo, image) in enumerate(itertools.chain(*groups)):
        draw = random.Random(number)
        mirrored.append((image, seen(tagger, ImageOps.mirror(photo))))
        made += list(itertools.combinations([image, *(seen(tagger, burst(photo, draw)) for _ in range(VARIANTS))], 2))
    real = [tuple(seen(tagger, photograph(packages / path)) for path in pair) for pair in REAL]
    same = [pair for group in groups for pair in itertools.combinations([image for _, image in group], 2)]
    apart = [
        (one, other)
        for first, second in itertools.combinations(groups, 2)
        for (_, one), (_, other) in itertools.product(first, second)
    ]
    print("| pairs | by hash | by features | by either | likeness: least, half, most |")
    print("| --- | --- | --- | --- | --- |")
    print(row("of one burst, made", made))
    print(row("of one scene, real", [(pair[0], pair[1]) for pair in real]))
    print(row("two photographs of one subject", same))
    print(row("photographs of other things", apart))
    print(row("a photograph and itself, mirrored", mirrored, MIRRORED))
    print(row("two photographs of one subject, one mirrored", same, MIRRORED))
    print(row("photographs of other things, one mirrored", apart, MIRRORED))


if __name__ == "__main__":
    typer.run(main)
