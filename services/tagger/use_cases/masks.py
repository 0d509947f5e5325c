"""SuggestMasks: the subject of each picture of a dataset as a soft mask."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from services.chassis.errors import DomainError, InvalidArgument, NotFound
from services.tagger.models.jobs import project_of
from services.tagger.models.pictures import Picture
from services.tagger.models.tags import ImageRecord
from services.tagger.ports import Box, Datasets, MaskFinder, PictureDecoder
from services.tagger.use_cases.matching_images import chosen_images
from services.tagger.use_cases.taggers import Taggers

_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_LEAST_MARKED = 0.005
_SIDE = 512


@dataclass(frozen=True)
class MaskSuggestion:
    """The mask of an image. png: grey, over the whole picture; empty where nothing stands out. tagger: id of the one
    that found it. error: why nothing can be said."""

    image: ImageRecord
    png: bytes = b""
    covered_share: float = 0.0
    tagger: str = ""
    error: DomainError | None = None


class MaskVerb:
    """Looks at one picture after the other."""

    def __init__(self, datasets: Datasets, taggers: Taggers, decoder: PictureDecoder, executor: Executor) -> None:
        self._datasets = datasets
        self._taggers = taggers
        self._decoder = decoder
        self._executor = executor

    async def __call__(self, dataset: str, filter: str, images: Sequence[str]) -> AsyncIterator[MaskSuggestion]:
        """Raises NotFound for an unknown dataset or image, FailedPrecondition where there is no image."""
        finder = self._taggers.finding_masks()
        for record in await chosen_images(self._datasets, dataset, filter, images):
            yield MaskSuggestion(record) if finder is None else await self._suggest(finder, record)

    async def _suggest(self, finder: MaskFinder, record: ImageRecord) -> MaskSuggestion:
        try:
            data = await self._datasets.read_original(record.name)
            picture = await self._decoder.decode(data, field="image", owner=project_of(record.name))
        except (InvalidArgument, NotFound) as error:
            # One picture that is gone, or that the dataset took under other limits, says nothing of the others.
            return MaskSuggestion(record, error=error)
        loop = asyncio.get_running_loop()
        drawn = await loop.run_in_executor(self._executor, drawn_mask, finder, picture, record)
        if drawn is None:
            return MaskSuggestion(record)
        return MaskSuggestion(record, *drawn, finder.describe().id)


def drawn_mask(finder: MaskFinder, picture: Picture, record: ImageRecord) -> tuple[bytes, float] | None:
    """The mask over the whole picture as a PNG, black where the bars are, and the share that it marks; None without."""
    inside = record.content_area or _WHOLE
    found = finder.find_mask(picture, inside)
    if found is None:
        return None
    scale = min(1.0, _SIDE / max(record.width, record.height))
    size = max(1, round(record.width * scale)), max(1, round(record.height * scale))
    left, top = round(inside[0] * size[0]), round(inside[1] * size[1])
    part = max(1, round(inside[2] * size[0]) - left), max(1, round(inside[3] * size[1]) - top)
    mask = Image.new("L", size)
    grey = Image.fromarray(np.asarray(np.round(found * 255), np.uint8))
    mask.paste(grey.resize(part, Image.Resampling.BILINEAR), (left, top))
    share = float(np.asarray(mask, np.float32).mean()) / 255
    if share < _LEAST_MARKED:
        return None
    buffer = BytesIO()
    mask.save(buffer, "PNG", optimize=True)
    return buffer.getvalue(), share
