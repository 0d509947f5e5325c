"""Time for a picture in each step of the tagger, on one thread.

    python -m benchmarks.tagger [--rounds 10]

Prints one line of JSON, milliseconds for a picture: decoding, measuring, the network of drawn scenes, and pictures a
second for all of it. Times are medians over the rounds. The first picture of a process also pays `load_ms` for the
model.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from io import BytesIO

import numpy as np
from PIL import Image

from gateway.demo_pictures.subjects import draw_subject
from services.tagger.adapters.drawn_onnx import DrawnOnnxTagger
from services.tagger.adapters.measured import MeasuredTagger
from services.tagger.adapters.pillow_pictures import PillowPictures
from services.tagger.models import TagOptions
from services.tagger.use_cases.scoring import predictions


def photo(width: int, height: int) -> bytes:
    """A JPEG with structure at every size."""
    rng = np.random.default_rng(0)
    image = Image.new("RGB", (width, height))
    for cells in (4, 16, 64, 256):
        noise = rng.integers(0, 256, (cells * height // width + 1, cells, 3), np.uint8)
        layer = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        image = Image.blend(image, layer, 0.4)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def drawing() -> bytes:
    """A PNG of 512 x 512 pixels."""
    buffer = BytesIO()
    draw_subject("mascot", 1, 0, 512)[0][0].save(buffer, "PNG")
    return buffer.getvalue()


def timed(work: Callable[[], object], rounds: int) -> float:
    """Milliseconds, median."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return round(statistics.median(seconds) * 1e3, 2)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    decoder, measured, drawn = PillowPictures(max_pixels=64_000_000), MeasuredTagger(), DrawnOnnxTagger(threads=1)
    began = time.perf_counter()
    drawn.infer([decoder.decode(drawing(), field="image")])
    result: dict[str, object] = {"load_ms": round((time.perf_counter() - began) * 1e3, 1)}
    for name, data in (("photo_12mp", photo(4000, 3000)), ("photo_1mp", photo(1200, 900)), ("drawing_512", drawing())):
        picture = decoder.decode(data, field="image")
        (scores,) = measured.infer([picture])
        steps = {
            "decode_ms": timed(lambda data=data: decoder.decode(data, field="image"), rounds),  # type: ignore[misc]
            "measured_ms": timed(lambda picture=picture: measured.infer([picture]), rounds),  # type: ignore[misc]
            "drawn_ms": timed(lambda picture=picture: drawn.infer([picture]), rounds),  # type: ignore[misc]
            "scoring_ms": timed(
                lambda scores=scores: predictions(scores.scores, measured.describe(), TagOptions()),  # type: ignore[misc]
                rounds,
            ),
        }
        result[name] = {**steps, "pictures_a_second": round(1e3 / sum(steps.values()), 1)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
