"""A decoder's process: `python -m services.chassis.decoding.child SOCKET MEMORY_MIB OUTPUT_MIB`.

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
from services.chassis.decoding.messages import Broken, Message, memory_file, receive, refusal, send
from services.chassis.decoding.sandbox import confine
from services.chassis.errors import DomainError

_BAND = 512
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
        _outcome({"do": "check", "max_pixels": 9, "min_side": 1, "side": 8, "field": "image"}, damaged)


def _try(image: Image.Image, kind: str, exif: Image.Exif, icc: bytes, **options: object) -> None:
    file = BytesIO()
    image.save(file, kind, exif=exif, icc_profile=icc, **options)
    asked: dict[str, Any] = {"max_pixels": 1000, "min_side": 1, "side": 8, "field": "image", "alpha": True}
    for do in ("check", "read"):
        body = _outcome({"do": do, **asked}, file.getvalue()).body
        if body >= 0:
            os.close(body)


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
    limits = pictures.PictureLimits(max_pixels=asked["max_pixels"], min_side=asked["min_side"])
    field = asked["field"]
    if asked["do"] == "check":
        found = pictures.check(data, limits, thumbnail_side=asked["side"], field=field)
        head = {"info": asdict(found.info), "sizes": [len(found.thumbnail)]}
        return Message(head, memory_file([found.thumbnail]))
    decoded = pictures.read(data, limits, draft_side=asked["side"], keep_alpha=asked["alpha"], field=field)
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
