"""Tries a base model out on this machine as a job would: it draws, learns for twenty steps, exports and reads back.

    python -m services.trainer.worker.self_test CATALOGUE ID [DEVICE]

Prints one JSON document, on the last line. Families are proven on miniatures of their real configuration; this is the
operator's proof that the weights at hand are what their configuration says.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from services.trainer.engine.devices import device_memory_bytes, device_name
from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import EpochResult, Hooks, StepMetrics, TrainItem, TrainJobSpec
from services.trainer.engine.train_loop import train
from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, BaseModel, InvalidCatalogue, load_catalogue
from services.trainer.recipe.parameters import resolve
from services.trainer.worker.files import files_of
from services.trainer.worker.measurements import sizes_of
from services.trainer.worker.pictures import decode_original
from services.trainer.worker.small_devices import streamed_blocks

PICTURES = 4
STEPS = 20
_COLOURS = ("firebrick", "seagreen", "royalblue", "goldenrod")


def trial(model: BaseModel, device: str, folder: Path, steps: int) -> TrainJobSpec:
    """A short training on pictures that are drawn into the folder. steps: a multiple of `PICTURES`."""
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
            model,
            parameters,
            sizes_of(items),
            device=device_name(device),
            memory_bytes=device_memory_bytes(device),
        ),
    )


def self_test(model: BaseModel, device: str, folder: Path) -> dict[str, Any]:
    """What a short training of drawn pictures came to.

    Raises:
        EngineError: what a job of this model would fail with.
    """
    losses: list[float] = []
    epochs: list[EpochResult] = []

    def step(metrics: StepMetrics) -> None:
        losses.append(metrics.loss)

    train(trial(model, device, folder, STEPS), Hooks(on_step=step, on_epoch=epochs.append))
    (epoch,) = epochs
    return {
        "steps": len(losses),
        "photo_error": round(epoch.evaluation.photo_error, 4),
        "train_seconds": round(epoch.train_seconds, 1),
        "previews": len(epoch.previews),
        "forms": [file.form for file in epoch.artifacts],
        "reload_difference": epoch.max_reload_difference,
    }


def _drawn(folder: Path, number: int, side: int) -> TrainItem:
    """A coloured disc on grey, somewhere else in each picture."""
    picture = Image.new("RGB", (side, side), "gray")
    left, top = side * (number % 2) // 3, side * (number // 2) // 3
    ImageDraw.Draw(picture).ellipse((left, top, left + side // 2, top + side // 2), fill=_COLOURS[number])
    path = folder / f"{number}.png"
    picture.save(path)
    return TrainItem(path, f"a photo of zwx disc, {_COLOURS[number]}", name=path.name)


def answer(arguments: Sequence[str], folder: Path) -> Mapping[str, object]:
    """The document that a command line asks for."""
    catalogue, identifier, *device = arguments
    try:
        models = load_catalogue(Path(catalogue) if catalogue else DEFAULT_CATALOGUE)
        found = self_test(models[identifier], device[0] if device else "auto", folder)
    except KeyError:
        return _error("not_found", f"{catalogue} has no base model {identifier}", "See `fiveshot base-models list`.")
    except InvalidCatalogue as error:
        return _error("invalid", str(error), "Correct the catalogue; base_models.example.toml explains every key.")
    except EngineError as error:
        return _error("invalid", error.message, error.remedy)
    return {"id": identifier, **found}


def _error(kind: str, message: str, remedy: str) -> Mapping[str, object]:
    return {"error": {"kind": kind, "message": message, "remedy": remedy}}


def main(arguments: Sequence[str]) -> int:
    """Prints the answer, or `{"error": …}`."""
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(answer(arguments, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
