"""A short training that shows whether a base model can be trained. Its pictures are drawn, its files thrown away."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

from services.trainer.engine.job import TrainItem, TrainJobSpec
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.parameters import resolve
from services.trainer.worker.files import files_of
from services.trainer.worker.pictures import decode_original, sizes_of
from services.trainer.worker.small_devices import streamed_blocks

PICTURES = 4
_COLOURS = ("firebrick", "seagreen", "royalblue", "goldenrod")


def trial(
    model: BaseModel, device: str, folder: Path, steps: int, *, device_name: str, memory_bytes: int
) -> TrainJobSpec:
    """A short training on pictures that are drawn into the folder. steps: a multiple of `PICTURES`. device_name,
    memory_bytes: of the device, as estimates know it."""
    folder.mkdir(parents=True, exist_ok=True)
    # The model's own, but for lengths; its limits are for jobs.
    parameters = replace(
        resolve(model.specs, {}),
        num_epochs=1,
        num_repeats=steps // PICTURES,
        batch_size=1,
        gradient_accumulation_steps=1,
        crop_variants=1,
        lr_warmup_steps=0,
    )
    items = tuple(_drawn(folder, number, parameters.resolution) for number in range(PICTURES))
    return TrainJobSpec(
        base_model=files_of(model),
        parameters=parameters,
        items=items,
        output_dir=folder / "run",
        decode=decode_original,
        title="self-test",
        device=device,
        processes=1,
        streamed_blocks=streamed_blocks(
            model, parameters, sizes_of(items), device=device_name, memory_bytes=memory_bytes
        ),
    )


def _drawn(folder: Path, number: int, side: int) -> TrainItem:
    """A coloured disc on grey, somewhere else in each picture."""
    picture = Image.new("RGB", (side, side), "gray")
    left, top = side * (number % 2) // 3, side * (number // 2) // 3
    ImageDraw.Draw(picture).ellipse((left, top, left + side // 2, top + side // 2), fill=_COLOURS[number])
    path = folder / f"{number}.png"
    picture.save(path)
    return TrainItem(path, f"a photo of zwx disc, {_COLOURS[number]}", name=path.name)
