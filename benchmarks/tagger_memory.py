"""What the tagger's networks hold while they work and afterwards.

    python -m benchmarks.tagger_memory [--pictures 100] [--threads 2]

Pictures of many shapes, drawn from a seed, go through everything that a network of the service does (tags, subject,
mask, features, written text), as many at a time as there are threads, and memory that lies free is given back
meanwhile, as in the service. Prints one line of JSON: resident MiB before the first picture, at the most, and after
the last one, and the seconds of the processor. Decoders have processes of their own: `benchmarks.decode_memory`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from services.chassis.memory import few_heaps, trim_now, trim_now_and_then
from services.tagger.adapters.photo_onnx import PhotoOnnxTagger
from services.tagger.adapters.written_text import PpOcrTextFinder
from services.tagger.app import TRIM_EVERY_S
from services.tagger.models.pictures import Picture

WHOLE = (0.0, 0.0, 1.0, 1.0)
KINDS = ("tags", "subject", "mask", "features", "text")
SIDES = (72, 1500)


def resident_mib(line: str = "VmRSS") -> int:
    """Of this process; `VmHWM` for the most that there ever was."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{line}:")[1].split()[0]) // 1024


def work(photo: PhotoOnnxTagger, text: PpOcrTextFinder, kind: str, width: int, height: int) -> None:
    """One picture through one of the things that are done."""
    rgb = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    picture = Picture(rgb=rgb, alpha=None, width=width, height=height)
    if kind == "tags":
        photo.infer([picture])
    elif kind == "subject":
        photo.find_subject(picture, WHOLE)
    elif kind == "mask":
        photo.find_mask(picture, WHOLE)
    elif kind == "features":
        photo.find_features(picture, WHOLE)
    else:
        text.find_text(picture)


async def measured(pictures: int, threads: int) -> dict[str, float]:
    """All pictures, and what they took."""
    photo, text = PhotoOnnxTagger(threads=threads), PpOcrTextFinder(threads=threads)
    drawn = random.Random(1)
    before, began = resident_mib(), time.process_time()
    trimming = asyncio.create_task(trim_now_and_then(TRIM_EVERY_S))
    with ThreadPoolExecutor(threads) as pool:
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(
                loop.run_in_executor(
                    pool, work, photo, text, drawn.choice(KINDS), drawn.randint(*SIDES), drawn.randint(*SIDES)
                )
                for _ in range(pictures)
            )
        )
    trimming.cancel()
    seconds = time.process_time() - began
    trim_now()
    return {
        "before_mib": before,
        "most_mib": resident_mib("VmHWM"),
        "after_mib": resident_mib(),
        "processor_s": round(seconds, 1),
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    few_heaps()
    print(json.dumps(asyncio.run(measured(given.pictures, given.threads))))


if __name__ == "__main__":
    main()
