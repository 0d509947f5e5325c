"""The loss curves that the engine gave when they were last looked at: a change that should not alter training must not.

Record again, after a change that should, with ``python -m tests.golden.trainer_losses``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from services.trainer.engine.job import BaseModelFiles, TrainJobSpec
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from services.trainer.worker.pictures import decode_original
from tests.fixtures.miniatures import write_flux, write_sdxl, write_stable_diffusion
from tests.fixtures.training_jobs import QUICK, draw_item, losses_of

FILE = Path(__file__).with_suffix(".json")

CASES: dict[str, tuple[Callable[[Path], BaseModelFiles], dict[str, Any]]] = {
    "stable-diffusion": (write_stable_diffusion, {"train_text_encoder": True, "min_snr_gamma": 5.0, "flip": True}),
    "sdxl": (write_sdxl, {"noise_offset": 0.1, "gradient_accumulation_steps": 2}),
    "flux": (write_flux, {"timestep_sampling": "logit_normal", "timestep_shift": 3.0, "shuffle_caption": True}),
}


def losses(case: str) -> list[float]:
    """The loss of every step of a short job."""
    write, changes = CASES[case]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = tuple(draw_item(folder, n, size) for n, size in enumerate([(48, 48), (96, 48), (48, 96)]))
        spec = TrainJobSpec(
            base_model=write(folder / "base"),
            parameters=resolve(DEFAULT_SPECS, {**QUICK, "num_epochs": 1, "num_repeats": 12, **changes}),
            items=items,
            output_dir=folder / "run",
            decode=decode_original,
            device="cpu",
            processes=1,
        )
        return losses_of(spec)


if __name__ == "__main__":
    torch.set_num_threads(1)
    curves = {case: [round(loss, 6) for loss in losses(case)] for case in CASES}
    FILE.write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")
