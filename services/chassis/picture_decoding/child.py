"""A decoder's process: `python -m services.chassis.picture_decoding.child SOCKET MEMORY_MIB OUTPUT_MIB`.

Imports and tries everything that decoding needs, shuts itself in, and then turns one picture after the other into what
is asked of it. It ends when its socket does, or after a picture that has left it short of memory.
"""

from __future__ import annotations

import gc
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms, JpegImagePlugin, MpoImagePlugin, PngImagePlugin

from services.chassis import pictures
from services.chassis.errors import DomainError
from services.chassis.picture_decoding.messages import Broken, Message, memory_file, receive, refusal, send
from services.chassis.picture_decoding.sandbox import confine

_BAND = 512
_ASKED: dict[str, Any] = {"limits": {}, "draft_side": 8, "most_pixels": 1000, "keep_alpha": True, "field": "image"}
_PLUGINS = (PngImagePlugin, JpegImagePlugin, MpoImagePlugin)


def main() -> None:
    """The process."""
    number, memory_mib, output_mib = (int(word) for word in sys.argv[1:4])
    warnings.simplefilter("ignore")
    with socket.socket(fileno=number) as parent:
        warm_up()
        gc.freeze()
        applied = confine(memory_mib=memory_mib, output_mib=output_mib)
        send(parent, Message({"ready": applied, "cpu_s": time.process_time()}))
        try:
            while _answer_one(parent):
                pass
        except (Broken, OSError):
            # The parent has gone, or given this process up.
            os._exit(0)


def warm_up() -> None:
    """Uses each part once: later neither modules nor tables can be read from files."""
    assert all(plugin.__name__ in sys.modules for plugin in _PLUGINS)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    small = Image.radial_gradient("L").resize((16, 16))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
        _try(small.convert("L").convert("I;16") if mode == "I;16" else small.convert(mode), "PNG", exif, icc)
    for mode in ("L", "RGB", "CMYK"):
        for progressive in (False, True):
            _try(small.convert(mode), "JPEG", exif, icc, progressive=progressive)
    for damaged in (b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\0"):
        _outcome(_ASKED, damaged)


def _try(image: Image.Image, kind: str, exif: Image.Exif, icc: bytes, **options: object) -> None:
    file = BytesIO()
    image.save(file, kind, exif=exif, icc_profile=icc, **options)
    answer = _outcome(_ASKED, file.getvalue())
    assert answer.body >= 0, answer.head
    os.close(answer.body)


def _answer_one(parent: socket.socket) -> bool:
    """Answers a request. False when this process should not take another."""
    request = receive(parent)
    answer = _outcome(request.head, request.take(int(request.head["size"])))
    try:
        send(parent, Message({**answer.head, "cpu_s": time.process_time()}, answer.body))
    finally:
        if answer.body >= 0:
            os.close(answer.body)
    return "short_of" not in answer.head


def _outcome(asked: dict[str, Any], data: bytes) -> Message:
    try:
        return _done(asked, data)
    except DomainError as error:
        return Message({"refused": refusal(error)})
    except MemoryError:
        return Message({"short_of": "memory"})
    except OSError:
        # The memory file may grow no further, or has no memory left.
        return Message({"short_of": "memory"})


def _done(asked: dict[str, Any], data: bytes) -> Message:
    decoded = pictures.read(
        data,
        pictures.PictureLimits(**asked["limits"]),
        draft_side=asked["draft_side"],
        most_pixels=asked["most_pixels"],
        keep_alpha=asked["keep_alpha"],
        field=asked["field"],
    )
    images = [decoded.rgb] if decoded.alpha is None else [decoded.rgb, decoded.alpha]
    sizes = [image.width * image.height * len(image.getbands()) for image in images]
    head = {"info": asdict(decoded.info), "sizes": sizes, "shape": list(decoded.rgb.size)}
    return Message(head, memory_file(band for image in images for band in _bands(image)))


def _bands(image: Image.Image) -> Iterator[bytes]:
    """The pixels row by row, a part at a time: a second copy of a large picture would double the peak."""
    for top in range(0, image.height, _BAND):
        yield image.crop((0, top, image.width, min(image.height, top + _BAND))).tobytes()


if __name__ == "__main__":
    main()
