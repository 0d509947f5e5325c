"""Pictures for people, with Pillow, which only these functions need: `pip install 'fiveshot-client[images]'`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from fiveshot.errors import FailedPrecondition

if TYPE_CHECKING:
    from PIL.Image import Image


def opened(data: bytes) -> Image:
    """An encoded picture, decoded. Raises FailedPrecondition (PILLOW_MISSING)."""
    try:
        from PIL import Image as pillow  # noqa: N813  (a module of that name)
    except ImportError:
        raise FailedPrecondition(
            "Showing and converting pictures needs Pillow, which is not installed", reason="PILLOW_MISSING",
            remedy="Install it: pip install 'fiveshot-client[images]'.",
        ) from None  # fmt: skip
    picture = pillow.open(io.BytesIO(data))
    picture.load()
    return picture


def write(data: bytes, path: Path, own_suffix: str = ".png") -> None:
    """Writes an encoded picture as the kind that the path's ending says. Raises FailedPrecondition (PILLOW_MISSING)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == own_suffix:
        path.write_bytes(data)
    else:
        opened(data).convert("RGB").save(path)
