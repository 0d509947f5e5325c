"""Pictures with the statistics of photographs, for the autoencoder: it must also carry a user's real photos.

Two well-known properties of natural images are drawn: amplitude spectra that fall with about the inverse of the
spatial frequency (Field 1987), and occlusion by opaque things of all sizes, the dead-leaves model (Lee, Mumford &
Huang 2001).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Field = npt.NDArray[np.float64]


def draw_texture(rng: np.random.Generator, size: int) -> npt.NDArray[np.uint8]:
    """One uint8 picture (size, size, 3): a noise ground, often leaves over it, often fine noise over all."""
    ground = rng.uniform(40, 215, 3) + correlated_noise(rng, size, rng.uniform(0.8, 1.8)) * rng.uniform(8, 55)
    image = Image.fromarray(_to_bytes(ground))
    _drop_leaves(rng, image, int(rng.choice([0, 0, 8, 25, 60])))
    picture = np.asarray(image)
    if rng.random() < 0.6:
        picture = _to_bytes(picture + correlated_noise(rng, size, rng.uniform(0.3, 1.4)) * rng.uniform(3, 22))
    return picture


def correlated_noise(rng: np.random.Generator, size: int, exponent: float) -> Field:
    """Noise (size, size, 3) of unit variance whose amplitude falls with frequency ** -exponent.

    The three channels share most of their variation, as those of photographs do.
    """
    frequencies = np.fft.fftfreq(size)
    radius = np.hypot(frequencies[:, None], frequencies[None])
    radius[0, 0] = 1 / size
    spectrum = np.fft.fft2(rng.standard_normal((3, size, size))) / radius**exponent
    channels = np.fft.ifft2(spectrum).real
    channels -= channels.mean((1, 2), keepdims=True)
    channels /= channels.std((1, 2), keepdims=True) + 1e-6
    mixing = np.eye(3) * rng.uniform(0.1, 0.6) + rng.uniform(0.4, 1)
    mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)
    mixed: Field = np.einsum("ij,jhw->hwi", mixing, channels)
    return mixed


def _drop_leaves(rng: np.random.Generator, image: Image.Image, count: int) -> None:
    size = image.width
    draw = ImageDraw.Draw(image)
    for _ in range(count):
        radius = min(size * 0.05 * rng.random() ** -0.7, size * 0.6)
        x, y = rng.uniform(0, size, 2)
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            flat = rng.uniform(0.4, 1)
            draw.ellipse([x - radius, y - radius * flat, x + radius, y + radius * flat], fill=colour)
        else:
            angles = sorted(rng.uniform(0, 2 * math.pi, 4))
            draw.polygon([(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles], fill=colour)


def _to_bytes(values: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    clipped: npt.NDArray[np.uint8] = np.clip(values, 0, 255).astype(np.uint8)
    return clipped


def draw_textures(count: int, *, seed: int, size: int) -> npt.NDArray[np.uint8]:
    """`count` textures (count, size, size, 3); the same for equal arguments."""
    return np.stack([draw_texture(np.random.default_rng([seed, i]), size) for i in range(count)])
