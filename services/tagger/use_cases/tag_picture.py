"""Tags a picture that is stored nowhere."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass

from services.chassis.byte_budget import ByteBudget
from services.chassis.errors import InvalidArgument
from services.tagger.models.pictures import Score
from services.tagger.models.tags import TagOptions
from services.tagger.ports import PictureDecoder
from services.tagger.use_cases.captioning import caption_of
from services.tagger.use_cases.kept_scores import rounded
from services.tagger.use_cases.scoring import predictions
from services.tagger.use_cases.taggers import Taggers, note


@dataclass(frozen=True)
class TaggedPicture:
    """The labels, best first, or the caption; and what the reader should know."""

    scores: tuple[Score, ...]
    note: str
    caption: str = ""


class TagPicture:
    """The verb. max_bytes: the largest file taken. Inference runs on `executor`. budget: of pictures in flight."""

    def __init__(
        self,
        taggers: Taggers,
        decoder: PictureDecoder,
        executor: Executor,
        *,
        max_bytes: int,
        budget: ByteBudget,
    ) -> None:
        self._taggers = taggers
        self._decoder = decoder
        self._executor = executor
        self._max_bytes = max_bytes
        self._budget = budget

    async def __call__(self, content: bytes, options: TagOptions, *, project: str) -> TaggedPicture:
        """Raises InvalidArgument for a file that is too large or no picture, ResourceExhausted(BYTES_IN_FLIGHT), and
        what the tagger says of the picture."""
        await self._taggers.refresh()
        info = self._taggers.check(options)
        if len(content) > self._max_bytes:
            raise InvalidArgument(
                f"The picture has {len(content)} bytes; at most {self._max_bytes} are taken",
                field="content",
                reason="IMAGE_TOO_LARGE",
                remedy="Scale it down or save it as a JPEG.",
            )
        loop = asyncio.get_running_loop()
        with self._budget.holding(project) as held:
            held.at_least(len(content))
            picture = await self._decoder.decode(content, field="content", owner=project)
            if options.captioner:
                captioner = self._taggers.captioner(options.captioner)
                return TaggedPicture((), "", await caption_of(captioner, picture, options.caption, "", lambda: None))
            tagger = self._taggers.get(options.tagger)
            (raw,) = await loop.run_in_executor(self._executor, tagger.infer, [picture])
        if raw.error is not None:
            raise raw.error
        return TaggedPicture(tuple(predictions(rounded(raw).scores, info, options)), note(info, raw.outside_domain))
