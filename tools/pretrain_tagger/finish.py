"""What happens to a drawn picture before it is looked at: light, blur, reduction, grain, compression."""

from __future__ import annotations

import random
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

from tools.pretrain_tagger.facts import SIDE


def finished(picture: Image.Image, rng: random.Random) -> Image.Image:
    """The picture at its final size, SIDE x SIDE."""
    if rng.random() < 0.4:
        picture = ImageEnhance.Brightness(picture).enhance(rng.uniform(0.85, 1.1))
    if rng.random() < 0.2:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    picture = picture.resize((SIDE, SIDE), rng.choice([Image.Resampling.BOX, Image.Resampling.LANCZOS]))
    if rng.random() < 0.3:
        picture = _grain(picture, rng)
    if rng.random() < 0.3:
        buffer = BytesIO()
        picture.save(buffer, "JPEG", quality=rng.randint(60, 95))
        picture = Image.open(buffer).convert("RGB")
    return picture


def _grain(picture: Image.Image, rng: random.Random) -> Image.Image:
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(1, 5), (SIDE, SIDE, 1))
    values: npt.NDArray[np.float64] = np.asarray(picture, np.float64) + noise
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))
