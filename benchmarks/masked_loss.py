"""What a masked loss learns inside and outside the mask, on fiveshot-tiny: `python -m benchmarks.masked_loss`.

Photos of a ball on loud stripes are trained with `masked_loss`, at several values of `unmasked_weight`, and without it.
Printed is the loss after training as a share of the base model's, inside the masks and outside, on fixed noise.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from services.trainer.engine.batches import epoch_steps
from services.trainer.engine.evaluation import Example
from services.trainer.engine.job import Hooks, TrainItem, TrainJobSpec
from services.trainer.engine.optimizer_step import train_step
from services.trainer.engine.preparation import Run, prepare
from services.trainer.engine.processes import Processes
from services.trainer.engine.warm import Warm
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.recipe.parameters import resolve
from services.trainer.worker.files import files_of
from services.trainer.worker.pictures import decode_original

_SIDE = 256
_SAMPLES = 64


def draw(folder: Path, number: int) -> TrainItem:
    """A shaded ball at another place of every picture, on magenta and green stripes."""
    picture, mask = Image.new("RGB", (_SIDE, _SIDE)), Image.new("L", (_SIDE, _SIDE))
    pen = ImageDraw.Draw(picture)
    for x in range(0, _SIDE, 16):
        pen.rectangle((x, 0, x + 7, _SIDE), fill=(230, 20, 200))
        pen.rectangle((x + 8, 0, x + 15, _SIDE), fill=(30, 220, 60))
    left, top = 24 + 23 * number, 80 - 13 * number
    box = (left, top, left + 130, top + 130)
    for step in range(60, -1, -2):
        pen.ellipse((left + 60 - step, top + 60 - step, left + 70 + step, top + 70 + step), fill=(240 - step * 3,) * 3)
    ImageDraw.Draw(mask).ellipse(box, fill=255)
    picture.save(folder / f"{number}.png")
    mask.save(folder / f"{number}-mask.png")
    return TrainItem(
        folder / f"{number}.png", "zwx ball", name=f"{number}.png", mask_path=folder / f"{number}-mask.png"
    )


def trained(spec: TrainJobSpec) -> Run:
    """The run after its last step; nothing is exported."""
    run = prepare(spec, Hooks(), Processes(), Warm())
    for epoch in range(spec.parameters.num_epochs):
        for passes in epoch_steps(run.plan.buckets, spec.parameters, epoch):
            train_step(run, passes)
            run.place.step += 1
    return run


def losses(run: Run, masks: list[torch.Tensor]) -> tuple[float, float]:
    """The loss inside the masks and outside."""
    assert run.evaluator is not None
    found = []
    for places in (masks, [1.0 - mask for mask in masks]):
        examples = [
            Example(run.latents[0].plain(item)[0], run.captions[item], place / place.mean())
            for item, place in enumerate(places)
        ]
        loss = run.evaluator._loss("masked", examples, _SAMPLES)
        assert loss is not None
        found.append(loss)
    return found[0], found[1]


def main() -> None:
    """Prints a row for each way to train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=200)
    steps = parser.parse_args().steps
    # As many threads as cores wait for each other on a machine that does other things too.
    torch.set_num_threads(1)
    model = load_catalogue()["fiveshot-tiny"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = tuple(draw(folder, number) for number in range(4))
        given = {"num_epochs": 1, "num_repeats": steps, "batch_size": 4, "hold_out": False, "masked_loss": True}
        masks: list[torch.Tensor] = []
        for weight in (None, 0.0, 0.1, 1.0):
            base = weight is None
            parameters = resolve(model.specs, {**given, "unmasked_weight": weight or 0.0})
            spec = TrainJobSpec(
                files_of(model), parameters, items, folder, decode_original, device="cpu", processes=1,
                sample_base_previews=False,
            )  # fmt: skip
            run = prepare(spec, Hooks(), Processes(), Warm()) if base else trained(spec)
            if base:
                weights = [run.latents[0].plain(item)[1] for item in range(len(items))]
                masks = [(weight > 0).float() for weight in weights if weight is not None]
                first = losses(run, masks)
            inside, outside = losses(run, masks)
            print(f"{'base' if base else f'unmasked_weight {weight:g}':<22} "
                  f"inside {inside / first[0]:.3f}  outside {outside / first[1]:.3f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
