"""Pictures as the services decode them, for the engine."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from services.chassis import pictures
from services.chassis.errors import DomainError
from services.trainer.engine.errors import EngineError


def decode_original(data: bytes, least_side: int, name: str) -> tuple[Image.Image, tuple[int, int]]:
    """An upright RGB picture and its original's size, see ``engine.job.Decode``.

    Raises:
        EngineError: PHOTO_UNREADABLE when the file is damaged.
    """
    try:
        info = pictures.inspect(data, field=name)
        return pictures.decode(data, draft_side=least_side, field=name), (info.width, info.height)
    except DomainError as error:
        remedy = "Replace the picture in the dataset and freeze a new version."
        message = f"The training picture {name} cannot be read: {error.message}"
        raise EngineError("PHOTO_UNREADABLE", message, remedy) from error


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture in pixels, from its header."""
    info = pictures.inspect(path.read_bytes())
    return info.width, info.height
