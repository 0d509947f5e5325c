"""All that is published about a GPU, in one command: the train step at real sizes, and whole jobs.

Steps are those of ``benchmarks.trainer_gpu``. A job is two epochs of a hundred samples with everything around them:
loading, the autoencoder, previews, evaluation, files and their proof. Models of real size have random weights, which
take as long as any others. The tables replace what stands between the marks of the page.

    python -m benchmarks.gpu [--write docs/benchmarks.md] [--models sd-1.5 sdxl] [--batches 1 4] [--variants plain]
    python -m benchmarks.gpu --models fiveshot-tiny --device cpu      (where there is no GPU: that everything runs)
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import trainer_gpu
from benchmarks.trainer_gpu import TINY, VARIANTS
from gateway.demo_pictures import draw_subject
from services.trainer.engine.job import BaseModelFiles, EpochResult, Hooks, StepMetrics, TrainItem, TrainJobSpec
from services.trainer.engine.quiet import quiet_libraries
from services.trainer.engine.train_loop import train
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from services.trainer.worker.files import files_of
from services.trainer.worker.pictures import decode_original
from tests.fixtures.real_sizes import real_size

BEGIN, END = "<!-- gpu: begin -->", "<!-- gpu: end -->"
ARCHITECTURES = {
    "sd-1.5": ("stable-diffusion", "stable-diffusion-v1"),
    "sdxl": ("sdxl", "stable-diffusion-xl-v1-base"),
}
PICTURES, REPEATS, EPOCHS = 5, 20, 2
NEUTRAL = ("a photo of a dog", "a tree on a hill", "a red car", "a house in the snow")


def whole_job(name: str, batch: int, device: str, *, repeats: int = REPEATS) -> dict[str, float]:
    """Seconds of a job from its call to its end, of its steps alone, until the first step, and of an epoch's end."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        files = _base_model(name, folder / "base", device)
        side = trainer_gpu.SIDES[name]
        specs = load_catalogue()[TINY].specs if name == TINY else DEFAULT_SPECS
        given = {"resolution": side, "batch_size": batch, "num_epochs": EPOCHS, "num_repeats": repeats}
        precision = {} if name == TINY else {"mixed_precision": "bf16", "rank": 16}
        spec = TrainJobSpec(
            files, resolve(specs, {**given, **precision}), _pictures(folder, side), folder / "out", decode_original,
            device=device, processes=1,
        )  # fmt: skip
        epochs: list[EpochResult] = []
        stepped: list[float] = []

        def step(_: StepMetrics) -> None:
            stepped.append(time.monotonic())

        began = time.monotonic()
        train(spec, Hooks(on_step=step, on_epoch=epochs.append))
        total = time.monotonic() - began
    trained = sum(epoch.train_seconds for epoch in epochs)
    samples = EPOCHS * PICTURES * repeats
    before = stepped[0] - began
    return {
        "seconds": round(total, 1),
        "steps": round(trained, 1),
        "until_first_step": round(before, 1),
        "end_of_epoch": round(max(0.0, total - before - trained) / EPOCHS, 1),
        "images_per_second": round(samples / trained, 2),
    }


def report(steps: dict[str, dict[str, float] | str], jobs: dict[str, dict[str, float]], command: str) -> Iterator[str]:
    """The lines that stand between the marks."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU (that everything runs, no measurement)"
    yield f"`{command}`, {device}, torch {torch.__version__}, {datetime.now(UTC):%Y-%m-%d}."
    yield ""
    yield "| model, batch, variant | ms a step | img/s | share of the floor | peak MiB |"
    yield "| --- | --- | --- | --- | --- |"
    for name, found in steps.items():
        if isinstance(found, str):
            yield f"| {name} | {found} | | | |"
        else:
            numbers = (found[key] for key in ("step_ms", "images_per_second", "share_of_floor", "peak_mib"))
            yield f"| {name} | {' | '.join(f'{number:g}' for number in numbers)} |"
    yield ""
    yield "| whole job, batch | seconds | in steps | until the first step | end of an epoch | img/s of its steps |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, found in jobs.items():
        yield f"| {name} | {' | '.join(f'{number:g}' for number in found.values())} |"


def write(page: Path, lines: Sequence[str]) -> None:
    """Put the lines between the marks of a page, which has both."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page.name} lacks the marks {BEGIN} and {END}")
    page.write_text("\n".join([before + BEGIN, "", *lines, "", END + after]), encoding="utf-8")


def _base_model(name: str, folder: Path, device: str) -> BaseModelFiles:
    if name == TINY:
        return files_of(load_catalogue()[TINY])
    family, _ = real_size(name, torch.device(device), torch.bfloat16)
    family.pipeline().save_pretrained(folder)
    kind, architecture = ARCHITECTURES[name]
    return BaseModelFiles(name, kind, str(folder), architecture, None, NEUTRAL)


def _pictures(folder: Path, side: int) -> tuple[TrainItem, ...]:
    items = []
    for number, (picture, caption) in enumerate(draw_subject("toy", PICTURES, seed=1, size=max(side, 256))):
        path = folder / f"{number}.png"
        picture.save(path)
        items.append(TrainItem(path, caption))
    return tuple(items)


def main() -> None:
    """Measure, print the tables, and put them into a page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(ARCHITECTURES), choices=list(trainer_gpu.SIDES))
    parser.add_argument("--batches", nargs="+", type=int, default=list(trainer_gpu.BATCHES))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--repeats", type=int, default=REPEATS, help="of each picture of a whole job")
    parser.add_argument("--steps", type=int, default=trainer_gpu.STEPS, help="measured of each variant")
    parser.add_argument("--write", type=Path, help="page whose marked part the tables replace")
    chosen = parser.parse_args()
    if chosen.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("benchmarks.gpu needs a CUDA device and a torch built for CUDA")
    quiet_libraries()
    steps = trainer_gpu.run(chosen.models, chosen.batches, chosen.variants, chosen.device, chosen.steps)
    jobs = {
        f"{name}, {batch}": whole_job(name, batch, chosen.device, repeats=chosen.repeats)
        for name in chosen.models
        for batch in (chosen.batches[len(chosen.batches) // 2],)
    }
    named = f"python -m benchmarks.gpu --models {' '.join(chosen.models)}"
    lines = list(report(steps, jobs, named))
    print("\n".join(lines))
    if chosen.write:
        write(chosen.write, lines)


if __name__ == "__main__":
    main()
