"""Measured runs for tests: of jobs on a device whose pace is known."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.trainer.recipe.calibration import Measurement, Part, device_class
from services.trainer.recipe.catalogue import BaseModel, load_catalogue
from services.trainer.recipe.costs import JobCost, job_cost
from services.trainer.recipe.parameters import TrainingParameters, resolve
from services.trainer.recipe.plan import PictureSize, plan_job

MODEL: BaseModel = load_catalogue()["fiveshot-tiny"]
NAME = f"baseModels/{MODEL.id}"
NOW = datetime(2026, 11, 25, tzinfo=UTC)
MIB = 1 << 20


def parameters(**changes: object) -> TrainingParameters:
    """The small base's own, some changed, whatever its limits."""
    return replace(resolve(MODEL.specs, {}), **changes)  # type: ignore[arg-type]


def cost(chosen: TrainingParameters, *, model: BaseModel = MODEL, pictures: int = 5) -> JobCost:
    """Of a job on square pictures."""
    assert model.costs is not None
    plan = plan_job([PictureSize(256, 256)] * pictures, chosen, model.pixel_multiple)
    return job_cost(model.costs, chosen, plan, neutral_prompts=4)


def measurement(
    chosen: TrainingParameters, *, pace: float = 1.0, device: str = "cpu 2 threads", base_model: str = NAME
) -> Measurement:
    """A whole run on a device that takes `pace` times what its class would."""
    of_job = cost(chosen)
    described = device_class(device, chosen.mixed_precision)
    return Measurement(
        device=device,
        base_model=base_model,
        mixed_precision=chosen.mixed_precision,
        batch_size=chosen.batch_size,
        processes=1,
        parts={name: Part(work, pace * described.seconds(work)) for name, work in of_job.work.items()},
        start_seconds=3.0,
        epoch_end_seconds=0.5,
        epochs=chosen.num_epochs,
        baseline_bytes=500 * MIB,
        peak_bytes=500 * MIB + round(1.2 * of_job.memory_bytes),
        memory_bytes=of_job.memory_bytes,
        weight_bytes=of_job.weight_bytes,
        measured_at=NOW,
    )


def asked_for(remedy: str) -> dict[str, Any]:
    """The parameters that a sentence tells to use."""
    found = re.search(r"Use ((?:\w+ [\w.]+(?: and )?)+)\.", remedy)
    pairs = [part.split(" ") for part in found[1].split(" and ")] if found and "worker" not in found[1] else []
    known = {"true": True, "false": False}
    return {name: known.get(value, int(value) if value.isdigit() else value) for name, value in pairs}
