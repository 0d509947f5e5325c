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
from pathlib import Path
from typing import Any

from services.trainer.engine.devices import device_memory_bytes, device_name
from services.trainer.engine.errors import EngineError
from services.trainer.engine.job import EpochResult, Hooks, StepMetrics
from services.trainer.engine.train_loop import train
from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE, BaseModel, InvalidCatalogue, load_catalogue
from services.trainer.worker.trial import trial

STEPS = 20


def self_test(model: BaseModel, device: str, folder: Path) -> dict[str, Any]:
    """What a short training of drawn pictures came to.

    Raises:
        EngineError: what a job of this model would fail with.
    """
    losses: list[float] = []
    epochs: list[EpochResult] = []

    def step(metrics: StepMetrics) -> None:
        losses.append(metrics.loss)

    spec = trial(
        model, device, folder, STEPS, device_name=device_name(device), memory_bytes=device_memory_bytes(device)
    )
    train(spec, Hooks(on_step=step, on_epoch=epochs.append))
    (epoch,) = epochs
    return {
        "steps": len(losses),
        "photo_error": round(epoch.evaluation.photo_error, 4),
        "train_seconds": round(epoch.train_seconds, 1),
        "previews": len(epoch.previews),
        "forms": [file.form for file in epoch.artifacts],
        "reload_difference": epoch.max_reload_difference,
    }


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
