"""Pictures for tests of what is measured: drawn here, so that the right answer is known."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from services.tagger.models.pictures import Picture

Colour = tuple[int, int, int]


def drawing(ground: Colour, subject: Colour, *, width: int = 640, height: int = 640) -> Picture:
    """A disc of one colour before a plain ground."""
    image = Image.new("RGB", (width, height), ground)
    middle, radius = (width // 2, height // 2), min(width, height) // 3
    ImageDraw.Draw(image).ellipse(
        [middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius], fill=subject
    )
    return picture(image)


@functools.cache
def photograph(
    seed: int = 0, *, brightness: float = 1.0, contrast: float = 1.0, blur: float = 0.0, side: int = 640
) -> Picture:
    """Noise with the spectrum of photographs (1/f) in warm colours, with fine structure everywhere."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    frequency[0, 0] = 1.0
    base = _noise(rng, frequency)
    layers = [0.8 * base + 0.2 * _noise(rng, frequency) for _ in range(3)]
    value = 120 + 45 * contrast * np.stack(layers, axis=2) + np.array([20, 0, -20]) * contrast
    image = Image.fromarray(np.clip(value * brightness, 0, 255).astype(np.uint8))
    return picture(image.filter(ImageFilter.GaussianBlur(blur)) if blur else image)


def picture(image: Image.Image) -> Picture:
    """An RGB or RGBA image as the decoder gives it."""
    alpha = None
    if image.mode == "RGBA":
        alpha = np.asarray(image.getchannel("A"), np.uint8)
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return Picture(np.asarray(image.convert("RGB"), np.uint8), alpha, *image.size)


def _noise(rng: np.random.Generator, frequency: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    phases = np.exp(2j * np.pi * rng.random(frequency.shape))
    field = np.real(np.fft.ifft2(phases / frequency))
    return np.asarray((field - field.mean()) / field.std())
