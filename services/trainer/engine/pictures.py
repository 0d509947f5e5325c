"""From an uploaded file to the pixels of its bucket: decode, crop, slightly different variants, mirror, resize."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy
from PIL import Image

from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import Decode, TrainItem
from services.trainer.engine.masks import covered, open_mask
from services.trainer.engine.noise import python_random
from services.trainer.recipe.buckets import Box, cropped_size, fitted
from services.trainer.recipe.parameters import TrainingParameters

MOVED_SCALE = 0.8
"""Size of a picture shown from farther away, and the share of it that is shown from nearer."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An upright RGB picture, its content digest, and the part of it that is trained.

    size: of the original, width and height in pixels; ``image`` may be smaller. mask: grey, over the whole picture and
    of any size; None where the loss is not masked or the item has none. mask_digest: of its file.
    """

    image: Image.Image
    size: tuple[int, int]
    digest: str
    item: TrainItem
    use_crop: bool
    mask: Image.Image | None = None
    mask_digest: str = ""

    @property
    def trained_size(self) -> tuple[float, float]:
        """Width and height of the part that is trained, in pixels of the original."""
        return cropped_size(*self.size, self.item.crop if self.use_crop else None)


@dataclass(frozen=True, slots=True)
class View:
    """One way to show a picture: a box that is resized to the bucket, and whether it is mirrored."""

    box: Box
    mirrored: bool


def open_picture(item: TrainItem, parameters: TrainingParameters, decode: Decode) -> Picture:
    """Read and decode an original.

    Raises:
        EngineError: PHOTO_MISSING when the file vanished, and what ``decode`` and ``open_mask`` raise.
    """
    name = item.name or item.image_path.name
    try:
        data = item.image_path.read_bytes()
    except OSError as error:
        remedy = "Retry the job; if it happens again, freeze a new dataset version without this picture."
        raise EngineError("PHOTO_MISSING", f"The training picture {name} is gone.", remedy) from error
    # Four times the resolution is kept so that the crop of a quarter of the picture is not enlarged.
    image, size = decode(data, parameters.resolution * 4, name)
    digest = hashlib.sha256(data).hexdigest()
    masked = open_mask(item, parameters.resolution, decode) if parameters.masked_loss else None
    if masked is None:
        return Picture(image, size, digest, item, use_crop=not parameters.masked_loss)
    mask, mask_digest = masked
    return Picture(image, size, digest, item, use_crop=True, mask=mask, mask_digest=mask_digest)


def views_of(picture: Picture, shape: tuple[int, int], parameters: TrainingParameters) -> list[View]:
    """Every view of a picture in its bucket. The first is the plain one; the others depend on seed and content only."""
    plain = fitted(_trained_box(picture), shape)
    boxes = [plain]
    for variant in range(1, parameters.crop_variants):
        draw = python_random(parameters.seed, "crop", picture.digest, variant)
        kept = 1.0 - draw.uniform(0.0, parameters.crop_jitter)
        boxes.append(_shrunk(plain, kept, draw.random(), draw.random()))
    sides = (False, True) if parameters.flip else (False,)
    return [View(box, mirrored) for box in boxes for mirrored in sides]


def render(image: Image.Image, view: View, shape: tuple[int, int]) -> numpy.ndarray:
    """Pixels uint8 [height, width, 3] of a view, resampled once (Lanczos)."""
    pixels = image.resize(shape, Image.Resampling.LANCZOS, box=view.box)
    if view.mirrored:
        pixels = pixels.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return numpy.asarray(pixels)


def moved(picture: Picture, shape: tuple[int, int]) -> numpy.ndarray:
    """Pixels uint8 [2, height, width, 3]: mirrored and nearer, mirrored and farther, each off its place.

    What was learnt of the subject holds there as well; what was learnt by heart of the picture does not. The border of
    the farther one repeats its edge. Depends on the content only.
    """
    nearer, farther, small, margins = _moved(picture, shape)
    pixels = render(picture.image, farther, small)
    return numpy.stack([render(picture.image, nearer, shape), numpy.pad(pixels, (*margins, (0, 0)), mode="edge")])


def moved_masks(picture: Picture, shape: tuple[int, int], factor: int) -> list[numpy.ndarray] | None:
    """What the mask covers of the two views of ``moved``, each [h, w]; None where there is none.

    Args:
        factor: pixels that one place of the latent takes.
    """
    if picture.mask is None:
        return None
    nearer, farther, small, margins = _moved(picture, shape)
    size, reduced = picture.image.size, (shape[0] // factor, shape[1] // factor)
    whole = covered(picture.mask, size, farther.box, small, mirrored=farther.mirrored)
    padded = Image.fromarray(numpy.pad(whole, margins) * 255.0)
    return [
        covered(picture.mask, size, nearer.box, reduced, mirrored=nearer.mirrored),
        numpy.asarray(padded.resize(reduced, Image.Resampling.BOX)) / 255.0,
    ]


def mask_in_view(picture: Picture, view: View, shape: tuple[int, int], factor: int) -> numpy.ndarray | None:
    """What the mask covers of a view, float32 [h, w] in the latent's size; None where there is none."""
    if picture.mask is None:
        return None
    reduced = shape[0] // factor, shape[1] // factor
    return covered(picture.mask, picture.image.size, view.box, reduced, mirrored=view.mirrored)


def region_in_view(picture: Picture, view: View) -> tuple[float, float, float, float] | None:
    """The item's crop as shares of the view, for a masked loss; None when there is nothing to mask."""
    if picture.use_crop or picture.item.crop is None:
        return None
    left, top, right, bottom = view.box
    width, height = right - left, bottom - top
    crop = picture.item.crop
    region = (
        _share(crop[0] * picture.image.width - left, width),
        _share(crop[1] * picture.image.height - top, height),
        _share(crop[2] * picture.image.width - left, width),
        _share(crop[3] * picture.image.height - top, height),
    )
    return (1.0 - region[2], region[1], 1.0 - region[0], region[3]) if view.mirrored else region


Margins = tuple[tuple[int, int], tuple[int, int]]


def _moved(picture: Picture, shape: tuple[int, int]) -> tuple[View, View, tuple[int, int], Margins]:
    """The nearer view, the farther one, its size, and what is missing around it."""
    plain = fitted(_trained_box(picture), shape)
    draw = python_random(0, "moved", picture.digest)
    nearer = View(_shrunk(plain, MOVED_SCALE, draw.random(), draw.random()), True)
    small = (max(1, round(shape[0] * MOVED_SCALE)), max(1, round(shape[1] * MOVED_SCALE)))
    left = round((shape[0] - small[0]) * draw.random())
    top = round((shape[1] - small[1]) * draw.random())
    margins = ((top, shape[1] - small[1] - top), (left, shape[0] - small[0] - left))
    return nearer, View(plain, True), small, margins


def _share(value: float, whole: float) -> float:
    return min(1.0, max(0.0, value / whole))


def _trained_box(picture: Picture) -> Box:
    width, height = picture.image.size
    if not picture.use_crop or picture.item.crop is None:
        return 0.0, 0.0, float(width), float(height)
    left, top, right, bottom = picture.item.crop
    return left * width, top * height, right * width, bottom * height


def _shrunk(box: Box, kept: float, across: float, down: float) -> Box:
    left, top, right, bottom = box
    width, height = (right - left) * kept, (bottom - top) * kept
    left += (right - left - width) * across
    top += (bottom - top - height) * down
    return left, top, left + width, top + height
