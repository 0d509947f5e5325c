"""Captions an image of a job: reads, crops to what is trained, asks, writes. A person's caption always stays."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from services.chassis.errors import DomainError, FailedPrecondition, Unavailable
from services.chassis.signals import Interrupted, unless
from services.tagger.models.jobs import ImageOutcome, ImageState
from services.tagger.models.pictures import Picture
from services.tagger.models.tags import CaptionOrigin, ImageRecord
from services.tagger.use_cases.caption_prompts import for_dataset
from services.tagger.use_cases.captioning import caption_of
from services.tagger.use_cases.image_access import ImageAccess, JobRun, Stopped
from services.tagger.use_cases.merging import keeps_caption

AWAY_IN_A_ROW = 3
"""So many images in a row for which the server was away, and the rest is not tried: a retry takes them up."""


async def caption_image(access: ImageAccess, run: JobRun, image: str) -> ImageOutcome:
    """What became of the image. Raises Stopped, what makes the image fail, and with it may set `run.hopeless`."""
    assert run.captioner is not None
    if run.hopeless:
        raise run.hopeless[0]
    record = await access.record(run, image)
    mode = run.job.options.mode
    if keeps_caption(record, mode):
        return ImageOutcome(image, ImageState.SKIPPED, calls=run.calls[image])
    # A caption must not tell of what is cut away.
    picture = (await access.picture(run, image)).part(record.crop)
    try:
        text = await unless(run.stop, _ask(run, image, picture))
    except Interrupted as error:
        raise Stopped from error
    info = run.captioner.describe()
    origin = CaptionOrigin(info.id, info.model)
    wrote = False

    def change(now: ImageRecord) -> Callable[[], Awaitable[object]] | None:
        nonlocal wrote
        # A write whose answer was lost finds its own caption; another's caption stays.
        wrote = wrote and (now.caption, now.caption_origin) == (text, origin)
        if keeps_caption(now, mode) or run.job.dry_run or (now.caption, now.caption_origin) == (text, origin):
            return None
        wrote = True
        return lambda: access.datasets.write_caption(image, text, origin, now.etag)

    await access.write(run, record, change)
    done = wrote or (run.job.dry_run and record.caption != text)
    state = ImageState.TAGGED if done else ImageState.SKIPPED
    return ImageOutcome(image, state, calls=run.calls[image], caption=text if done else "")


async def _ask(run: JobRun, image: str, picture: Picture) -> str:
    assert run.captioner is not None

    def on_call() -> None:
        run.calls[image] += 1

    try:
        options = for_dataset(run.job.options.caption, run.dataset)
        text = await caption_of(run.captioner, picture, options, run.dataset.trigger_word, on_call)
    except DomainError as error:
        if isinstance(error, FailedPrecondition) and error.reason == "CAPTIONER_REFUSES":
            run.hopeless.append(error)
        if isinstance(error, Unavailable):
            run.failed_in_a_row.append(image)
            if len(run.failed_in_a_row) >= AWAY_IN_A_ROW:
                run.hopeless.append(error)
        raise
    run.failed_in_a_row.clear()
    return text
