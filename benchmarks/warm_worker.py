"""From taking a job to its first step: a worker that has just started, and one that has done a job before.

Both run in processes of their own, in turn, on five drawn pictures with the defaults of fiveshot-tiny. The second job
of the warm one has the prompts of the first, as two trainings of one subject have, and other pictures.

    python -m benchmarks.warm_worker [--turns 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from gateway.demo_pictures import draw_subject


def measured(warm: bool) -> dict[str, float]:
    """Seconds to the first step of a job, with what this process and its helpers spent on the processor."""
    from services.trainer.engine.job import Command, Hooks, TrainItem, TrainJobSpec
    from services.trainer.engine.train_loop import train
    from services.trainer.engine.warm import Warm
    from services.trainer.recipe.catalogue import load_catalogue
    from services.trainer.recipe.parameters import resolve
    from services.trainer.worker.files import files_of
    from services.trainer.worker.pictures import decode_original

    model = load_catalogue()["fiveshot-tiny"]
    parameters = resolve(model.specs, {"preview_prompts": ["sks in the snow", "sks at night", "sks on a beach"]})
    with tempfile.TemporaryDirectory() as place, closing(Warm()) as kept:

        def job(name: str, seed: int) -> TrainJobSpec:
            folder = Path(place) / name
            folder.mkdir()
            items = []
            for number, (picture, caption) in enumerate(draw_subject("toy", 5, seed=seed, size=256)):
                path = folder / f"{number}.png"
                picture.save(path)
                items.append(TrainItem(path, f"sks, {caption}"))
            return TrainJobSpec(
                files_of(model), parameters, tuple(items), folder / "out", decode_original,
                cache_dir=Path(place) / "cache", device="cpu",
            )  # fmt: skip

        def to_first_step(spec: TrainJobSpec) -> dict[str, float]:
            began, spent = time.monotonic(), time.process_time()
            found: dict[str, float] = {}

            def control() -> Command:
                found.update(wall=time.monotonic() - began, cpu=time.process_time() - spent)
                return Command.CANCEL

            train(spec, Hooks(control=control), kept)
            return found

        if warm:
            to_first_step(job("before", 1))
        return to_first_step(job("measured", 2))


def main() -> None:
    """Runs the turns and prints a line for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--kind", choices=("cold", "warm"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.kind:
        print(json.dumps(measured(chosen.kind == "warm")))
        return
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    for _ in range(chosen.turns):
        for kind, list_ in found.items():
            argv = (sys.executable, "-m", "benchmarks.warm_worker", "--kind", kind)
            done = subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ})
            list_.append(json.loads(done.stdout.splitlines()[-1]))
    for kind, list_ in found.items():
        spent = f"{_median(list_, 'cpu'):.2f} CPU s of the main process"
        print(f"{kind}: {_median(list_, 'wall'):.2f} s, {spent} (medians)")
    print(f"cold / warm: {_median(found['cold'], 'wall') / _median(found['warm'], 'wall'):.1f} of the time")


def _median(found: Sequence[dict[str, float]], name: str) -> float:
    return statistics.median(one[name] for one in found)


if __name__ == "__main__":
    main()
