"""SuggestCrops and CropImages: what to keep of each picture of a dataset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from services.chassis.errors import DomainError, InvalidArgument, NotFound
from services.tagger.models.jobs import project_of
from services.tagger.models.pictures import Picture
from services.tagger.models.tags import ImageRecord
from services.tagger.ports import Datasets, PictureDecoder, SubjectFinder
from services.tagger.use_cases.cropping import USUAL_SHAPES, Box, Shape, best_crop
from services.tagger.use_cases.matching_images import chosen_images
from services.tagger.use_cases.taggers import Taggers

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class CropSuggestion:
    """What to keep of an image. crop, subject: shares of the upright picture; None for all of it, for no subject.

    width, height: pixels that are kept. shape: that the crop fits. error: why nothing can be said.
    """

    image: ImageRecord
    crop: Box | None = None
    width: int = 0
    height: int = 0
    shape: Shape | None = None
    subject: Box | None = None
    error: DomainError | None = None


class CropVerb:
    """Looks at one picture after the other; without a network that finds subjects it cuts bars alone."""

    def __init__(self, datasets: Datasets, taggers: Taggers, decoder: PictureDecoder, executor: Executor) -> None:
        self._datasets = datasets
        self._taggers = taggers
        self._decoder = decoder
        self._executor = executor

    async def __call__(
        self, dataset: str, filter: str, images: Sequence[str], shapes: Sequence[Shape]
    ) -> AsyncIterator[CropSuggestion]:
        """Raises NotFound for an unknown dataset or image, FailedPrecondition where there is no image."""
        for record in await chosen_images(self._datasets, dataset, filter, images):
            yield await self._suggest(record, shapes or USUAL_SHAPES)

    async def apply(self, dataset: str, images: Sequence[str], shapes: Sequence[Shape]) -> list[CropSuggestion]:
        """Crops the images as suggested, all or none, in one edit. Raises as the call does, and Aborted."""
        found = [each async for each in self(dataset, "", images, shapes)]
        crops = {each.image.name: each.crop for each in found if each.crop is not None}
        etags = {each.image.name: each.image.etag for each in found}
        if crops:
            await self._datasets.write_crops(dataset, crops, etags)
        return found

    async def _suggest(self, record: ImageRecord, shapes: Sequence[Shape]) -> CropSuggestion:
        finder = self._taggers.finding_subjects()
        subject = None
        if finder is not None:
            try:
                data = await self._datasets.read_original(record.name)
                picture = await self._decoder.decode(data, field="image", owner=project_of(record.name))
            except (InvalidArgument, NotFound) as error:
                # One picture that is gone, or that the dataset took under other limits, says nothing of the others.
                return CropSuggestion(record, error=error)
            loop = asyncio.get_running_loop()
            subject = await loop.run_in_executor(self._executor, _located, finder, picture, record.content_area)
        return suggestion(record, subject, shapes)


def suggestion(record: ImageRecord, subject: Box | None, shapes: Sequence[Shape]) -> CropSuggestion:
    """The suggestion for an image whose subject is known. subject: shares of the upright picture. Pure."""
    size = record.width, record.height
    inside = _scaled(record.content_area or _WHOLE, size)
    best = best_crop(inside, None if subject is None else _scaled(subject, size), shapes)
    # Whole pixels, so that every reader of the crop cuts the same.
    left, top, right, bottom = (round(edge) for edge in (best.box if best else inside))
    cut = (left, top, right, bottom) != (0, 0, *size)
    crop = (left / size[0], top / size[1], right / size[0], bottom / size[1]) if cut else None
    return CropSuggestion(record, crop, right - left, bottom - top, best.shape if best else None, subject)


def _located(finder: SubjectFinder, picture: Picture, area: Box | None) -> Box | None:
    """The subject as shares of the whole picture; it is looked for inside the bars."""
    left, top, right, bottom = area or _WHOLE
    found = finder.find_subject(picture, (left, top, right, bottom))
    if found is None:
        return None
    across, down = right - left, bottom - top
    return left + found[0] * across, top + found[1] * down, left + found[2] * across, top + found[3] * down


def _scaled(box: Box, size: tuple[int, int]) -> Box:
    return box[0] * size[0], box[1] * size[1], box[2] * size[0], box[3] * size[1]
