"""Our train loop against a plain one, on the same model, pictures, order, noise and settings.

The plain loop does what diffusers' public text-to-image LoRA script does at every step: open and resize the pictures,
run the autoencoder and the text encoder, predict, step. Ours draws the same noise and timesteps from its caches, so
the losses must agree; the time need not. Each loop has all threads that torch takes by default.

    python -m benchmarks.trainer [--base-model FOLDER] [--device auto|cpu|cuda] [--steps 60] [--batch-size 8]

Where there is a GPU, the real sizes follow (``benchmarks.trainer_gpu``), unless ``--small-only`` is given.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks import trainer_gpu
from benchmarks.trainer_loops import Measured, ours, plain
from gateway.demo_pictures import draw_subject
from services.trainer.engine.job import BaseModelFiles, TrainItem, TrainJobSpec
from services.trainer.engine.precision import choose_device
from services.trainer.engine.quiet import quiet_libraries
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.recipe.parameters import TrainingParameters, resolve
from services.trainer.worker.pictures import decode_original


def _parameters(arguments: argparse.Namespace, resolve_specs: Callable[..., TrainingParameters]) -> TrainingParameters:
    return resolve_specs(
        {
            "num_epochs": 1,
            "num_repeats": 1,
            "batch_size": arguments.batch_size,
            "target_modules": arguments.target_modules,
            "train_text_encoder": False,
            "regularization_fraction": 0.0,
            "lr_scheduler": "constant",
            "lr_warmup_steps": 0,
            "mixed_precision": arguments.mixed_precision,
            "preview_steps": 1,
        }
    )


def main() -> None:
    """Run the loops one after the other and print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-model", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--target-modules", default="attention", choices=["attention", "attention_ff", "all"])
    parser.add_argument("--mixed-precision", default="no", choices=["no", "bf16"])
    parser.add_argument("--small-only", action="store_true", help="leave the real sizes out where there is a GPU")
    parser.add_argument("--rounds", type=int, default=2, help="repetitions, the best of which counts")
    arguments = parser.parse_args()
    quiet_libraries()
    model = load_catalogue()["fiveshot-tiny"]
    parameters = _parameters(arguments, lambda given: resolve(model.specs, given))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = []
        samples = arguments.steps * arguments.batch_size
        for number, (image, caption) in enumerate(draw_subject("mascot", 5, 7)):
            path = folder / f"{number}.png"
            image.save(path)
            items.append(TrainItem(path, caption, repeats=samples // 5 + (number < samples % 5)))

        def spec(label: str, processes: int) -> TrainJobSpec:
            return TrainJobSpec(
                base_model=BaseModelFiles(
                    model.id, model.family, str(arguments.base_model or model.source), model.architecture
                ),
                parameters=parameters,
                items=tuple(items),
                output_dir=folder / label,
                decode=decode_original,
                device=arguments.device,
                processes=processes,
                sample_base_previews=False,
            )

        loops: dict[str, Callable[[], Measured]] = {
            "plain": lambda: plain(spec("plain", 1)),
            "ours, one process": lambda: ours(spec("one", 1)),
        }
        if choose_device(arguments.device).type == "cpu":
            loops["ours, two processes"] = lambda: ours(spec("two", 2))
        results: dict[str, Measured] = {}
        for _ in range(arguments.rounds):
            for label, loop in loops.items():
                measured = loop()
                if label not in results or measured.images_per_second > results[label].images_per_second:
                    results[label] = measured
    _print(results)
    if torch.cuda.is_available() and not arguments.small_only:
        trainer_gpu.run(["sd-1.5", "sdxl"], list(trainer_gpu.BATCHES), list(trainer_gpu.VARIANTS))


def _print(results: dict[str, Measured]) -> None:
    base = results["plain"]
    report = {}
    for label, measured in results.items():
        ratio = measured.images_per_second / base.images_per_second
        pairs = zip(measured.losses, base.losses, strict=True)
        difference = max(abs(mine - theirs) / theirs for mine, theirs in pairs)
        report[label] = {
            "images_per_second": round(measured.images_per_second, 1),
            "images_per_cpu_second": round(measured.images_per_cpu_second, 1),
            "times_plain": round(ratio, 2),
            "largest_loss_difference": round(difference, 5),
            "peak_mib": round(measured.peak_mib),
        }
        print(
            f"{label:20} {measured.images_per_second:7.1f} img/s {ratio:5.2f} x plain"
            f" {measured.images_per_cpu_second:7.1f} img/cpu-s  largest difference of a loss {difference:.3%}"
        )
    print(json.dumps(report))


if __name__ == "__main__":
    main()
