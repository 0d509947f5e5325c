"""Pictures as the services decode them, for the engine: strangers' in a process that can be killed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from services.chassis import pictures
from services.chassis.errors import DomainError, Unavailable
from services.chassis.picture_decoding.limits import DecodeLimits
from services.chassis.picture_decoding.pool import DecodePool
from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import TrainItem
from services.trainer.recipe.plan import PictureSize


def decode_original(data: bytes, least_side: int, name: str) -> tuple[Image.Image, tuple[int, int]]:
    """An upright RGB picture and its original's size, see ``engine.job.Decode``. For pictures of our own.

    Raises:
        EngineError: PHOTO_UNREADABLE when the file is damaged.
    """
    try:
        info = pictures.inspect(data, field=name)
        return pictures.decode(data, draft_side=least_side, field=name), (info.width, info.height)
    except DomainError as error:
        raise _unreadable(name, error) from error


@dataclass(frozen=True)
class SandboxedDecoder:
    """Decodes as `decode_original` does, in a child process; the helpers of a run have children of their own."""

    limits: DecodeLimits

    def __call__(self, data: bytes, least_side: int, name: str) -> tuple[Image.Image, tuple[int, int]]:
        """See ``engine.job.Decode``.

        Raises:
            EngineError: PHOTO_UNREADABLE when the file is damaged or takes more than its share.
        """
        try:
            decoded = _pool(self.limits).read_blocking(data, draft_side=least_side, field=name)
        except DomainError as error:
            raise _unreadable(name, error) from error
        return decoded.rgb, (decoded.info.width, decoded.info.height)


@cache
def _pool(limits: DecodeLimits) -> DecodePool:
    return DecodePool(limits)


def _unreadable(name: str, error: DomainError) -> EngineError:
    remedy = "Replace the picture in the dataset and freeze a new version."
    message = f"The training picture {name} cannot be read: {error.message}"
    return EngineError("PHOTO_UNREADABLE", message, remedy, user_error=not isinstance(error, Unavailable))


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture in pixels, from its header."""
    info = pictures.inspect(path.read_bytes())
    return info.width, info.height


def sizes_of(items: Sequence[TrainItem]) -> list[PictureSize]:
    """What a plan needs of the pictures."""
    return [
        PictureSize(
            *size_of(item.image_path),
            item.crop,
            item.repeats,
            masked=item.mask_path is not None,
            dataset=item.dataset,
            weight=item.weight,
        )
        for item in items
    ]
