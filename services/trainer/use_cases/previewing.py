"""PreviewTraining: what a job would train on, picture by picture, as the engine will cut and read it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from services.trainer.models.base import TrainingImage
from services.trainer.ports import Datasets
from services.trainer.recipe.buckets import Crop, bucket_shapes, fitted, nearest_shape
from services.trainer.recipe.captions import about_tokens
from services.trainer.recipe.sharing import samples_of_each
from services.trainer.use_cases.planning import JobRequest, PlannedJob, Planner

LARGEST_DRAWN = 1024
"""Pixels of the longer side of a picture that is drawn."""


@dataclass(frozen=True, slots=True)
class SeenPicture:
    """A picture as a job trains it.

    Attributes:
        tokens: of its text, about. token_limit: that the base model reads.
        seen: the part that fills the bucket, as shares of the upright picture. seen_size: its pixels in the original.
        bucket: width and height at which it is trained.
        lost_share: of the crop, that the bucket's form cuts away, 0 to 1.
        enlargement: how much it is scaled up to fill the bucket; 1 or less where it has the pixels.
        samples: that it gives an epoch; 0 when it is held out.
        picture: a JPEG of the bucket's form, or empty. mask: a grey PNG of its size, where a masked loss has one.
    """

    image: TrainingImage
    tokens: int
    token_limit: int
    seen: Crop
    seen_size: tuple[float, float]
    bucket: tuple[int, int]
    lost_share: float
    enlargement: float
    samples: int
    picture: bytes = b""
    mask: bytes = b""


class TrainingPreview:
    """Joins the dataset's texts and pixels with what the base model takes."""

    def __init__(self, planner: Planner, datasets: Datasets) -> None:
        self._planner = planner
        self._datasets = datasets

    async def __call__(self, request: JobRequest, *, draw: bool) -> AsyncIterator[SeenPicture]:
        """Every picture in the dataset's order. draw: with the picture itself. Raises what creating the job would."""
        planned = await self._planner.plan(request, store=False)
        for seen in seen_pictures(planned):
            if draw:
                scale = min(1.0, LARGEST_DRAWN / max(seen.bucket))
                size = max(1, round(seen.bucket[0] * scale)), max(1, round(seen.bucket[1] * scale))
                jpeg = await self._datasets.draw(seen.image.name, seen.seen, size)
                masked = planned.parameters.masked_loss and seen.image.size.masked
                mask = await self._datasets.draw(seen.image.name, seen.seen, size, mask=True) if masked else b""
                yield replace(seen, picture=jpeg, mask=mask)
            else:
                yield seen


def seen_pictures(planned: PlannedJob) -> list[SeenPicture]:
    """The facts of every picture. Pure."""
    shapes = shapes_of(planned)
    samples = samples_of_each([image.size for image in planned.data.images], planned.parameters)
    return [_seen(planned, image, shapes, count) for image, count in zip(planned.data.images, samples, strict=True)]


def shapes_of(planned: PlannedJob) -> list[tuple[int, int]]:
    """Width and height of every bucket that a picture may be trained in."""
    shapes = bucket_shapes(planned.parameters.resolution, planned.model.pixel_multiple)
    return shapes if planned.parameters.aspect_buckets else shapes[:1]


def _seen(planned: PlannedJob, image: TrainingImage, shapes: list[tuple[int, int]], samples: int) -> SeenPicture:
    size = image.size
    part = size.trained_crop(planned.parameters) or (0.0, 0.0, 1.0, 1.0)
    box = part[0] * size.width, part[1] * size.height, part[2] * size.width, part[3] * size.height
    across, down = box[2] - box[0], box[3] - box[1]
    bucket = nearest_shape(across, down, shapes)
    left, top, right, bottom = fitted(box, bucket)
    return SeenPicture(
        image=image,
        tokens=about_tokens(image.caption),
        token_limit=planned.model.caption_tokens,
        seen=(left / size.width, top / size.height, min(right / size.width, 1.0), min(bottom / size.height, 1.0)),
        seen_size=(right - left, bottom - top),
        bucket=bucket,
        lost_share=1 - (right - left) * (bottom - top) / (across * down),
        enlargement=bucket[0] / (right - left),
        samples=samples,
    )
