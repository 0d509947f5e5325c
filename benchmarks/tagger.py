"""Time for photographs in each step of the tagger, on one core.

    OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.tagger [--photos FOLDER] [--rounds 5]

Prints one line of JSON: milliseconds for a picture in each step (decoding, measuring, the views, the network, all of
`photo`), for tags out of kept scores, whose bytes it prints too, and for five photographs from bytes to a subject
suggestion, with the model's load. Times are medians over the
rounds, of the clock and of the core's own time: on a machine with other work only the second one tells. Without
--photos the pictures are noise with structure at every size, as large as a phone's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from services.chassis import pictures
from services.tagger.adapters.decoded_pictures import DRAFT_SIDE, MOST_PIXELS, as_picture
from services.tagger.adapters.measured import MeasuredTagger
from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.adapters.photo_views import as_input, overview, without_bars
from services.tagger.adapters.sql_kept_scores import packed, unpacked
from services.tagger.models.pictures import Category, Picture, Score, Scores, TaggerInfo
from services.tagger.models.tags import TagOptions
from services.tagger.use_cases.kept_scores import rounded, worth_keeping
from services.tagger.use_cases.scoring import predictions
from services.tagger.use_cases.subject import suggest

FIVE = 5
WD_LABELS = 10_861


def noise(width: int, height: int) -> bytes:
    """A JPEG with structure at every size."""
    rng = np.random.default_rng(0)
    image = Image.new("RGB", (width, height))
    for cells in (4, 16, 64, 256):
        grid = rng.integers(0, 256, (cells * height // width + 1, cells, 3), np.uint8)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        image = Image.blend(image, layer, 0.4)
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def decoded(data: bytes) -> Picture:
    """The picture as the service decodes it, in this process."""
    return as_picture(pictures.read(data, draft_side=DRAFT_SIDE, most_pixels=MOST_PIXELS, keep_alpha=True))


def timed(work: Callable[[], object], rounds: int) -> dict[str, float]:
    """Milliseconds of the clock and of the process, medians."""
    clock, core = [], []
    for _ in range(rounds):
        began = time.perf_counter(), time.process_time()
        work()
        clock.append(time.perf_counter() - began[0])
        core.append(time.process_time() - began[1])
    return {"clock": round(statistics.median(clock) * 1e3, 1), "core": round(statistics.median(core) * 1e3, 1)}


def five_photos(photos: list[bytes]) -> str:
    """What SuggestSubject and a tag job do with five photographs, the model's load included; returns the question."""
    tagger = PhotoOnnxTagger(threads=1)
    seen = []
    for data in photos:
        (scores,) = tagger.infer([decoded(data)])
        predictions(scores.scores, tagger.describe(), TagOptions())
        seen.append(scores)
    return suggest(seen).question


def many_scores() -> Scores:
    """As many labels as a WD v3 model has, most of them near nothing."""
    values = np.random.default_rng(0).beta(0.08, 4.0, WD_LABELS)
    sha256 = "ab" * 32
    return Scores(tuple(Score(f"label {n}", "general", float(v), False, "wd", sha256) for n, v in enumerate(values)))


def rescored(kept: bytes, info: TaggerInfo) -> list[Score]:
    """What a tag job does with scores that were kept."""
    return predictions(unpacked(kept).scores, info, TagOptions(threshold=0.4))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    photos = [path.read_bytes() for path in sorted(given.photos.iterdir())] if given.photos else [noise(4000, 3000)]
    photos = (photos * FIVE)[:FIVE]
    measured, tagger = MeasuredTagger(), PhotoOnnxTagger(threads=1)
    picture = decoded(photos[0])
    image = without_bars(picture.rgb)
    steps: dict[str, Callable[[], object]] = {
        "decode": partial(decoded, photos[0]),
        "measured": partial(measured.infer, [picture]),
        "views": lambda: as_input(overview(without_bars(picture.rgb))),
        "network_3_views": partial(tagger._model.run, as_input(overview(image))),
        "photo": partial(tagger.infer, [picture]),
    }
    tagger.infer([picture])
    result: dict[str, object] = {name: timed(work, given.rounds) for name, work in steps.items()}
    result["five_photos"] = timed(partial(five_photos, photos), given.rounds)
    wide = Category("general", 0.35)
    for name, scores, info in (
        ("photo", rounded(tagger.infer([picture])[0]), tagger.describe()),
        ("wd", rounded(many_scores()), replace(tagger.describe(), categories=(wide,))),
    ):
        kept = packed(worth_keeping(scores))
        result[f"kept_{name}"] = {**timed(partial(rescored, kept, info), given.rounds), "bytes": len(kept)}
    result["question"] = five_photos(photos)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
