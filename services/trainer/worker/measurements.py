"""What a run took, for the estimates of later ones: the time of its parts beside the work of its plan, and memory.

Every job is measured, which costs it nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime

from services.trainer.engine.devices import MemoryMeter
from services.trainer.engine.job import TrainJobSpec
from services.trainer.engine.processes import process_count
from services.trainer.recipe.calibration import Measurement, Part
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.costs import job_cost
from services.trainer.recipe.phases import Phase
from services.trainer.recipe.plan import plan_job
from services.trainer.worker.measuring import RunClock
from services.trainer.worker.pictures import sizes_of


def measurement_of(
    spec: TrainJobSpec,
    model: BaseModel,
    clock: RunClock,
    memory: MemoryMeter,
    *,
    device: str,
    probe: bool = False,
) -> Measurement | None:
    """What a run took that reached its second step; None for a base model that was not counted, or a shorter run.

    A run that had to help itself took more than such a job takes, and says nothing either.
    """
    if model.costs is None or clock.steps == 0 or not clock.ordinary:
        return None
    parameters = spec.parameters
    plan = plan_job(sizes_of(spec.items), parameters, model.pixel_multiple, own_regularization=len(spec.regularization))
    cost = job_cost(
        model.costs,
        parameters,
        plan,
        # What was found in the cache took no time.
        neutral_prompts=len(model.neutral_prompts) if Phase.NEUTRAL_PROMPTS in clock.phases else 0,
        base_previews=Phase.BASE_PREVIEWS in clock.phases,
    )
    done = cost.done(clock.epochs, trained=clock.steps / plan.steps.steps_per_epoch)
    parts = {name: Part(work, clock.seconds.get(name, 0.0)) for name, work in done.items()}
    return Measurement(
        device=device,
        base_model=f"baseModels/{model.entry}",
        mixed_precision=parameters.mixed_precision,
        batch_size=parameters.batch_size,
        processes=process_count(spec),
        parts=parts,
        start_seconds=clock.seconds.get("start", 0.0),
        epoch_end_seconds=clock.seconds.get("epoch end", 0.0) / max(1, clock.epochs),
        epochs=clock.epochs,
        baseline_bytes=memory.baseline_bytes,
        peak_bytes=memory.peak_bytes(),
        memory_bytes=cost.memory_bytes,
        weight_bytes=cost.weight_bytes,
        measured_at=datetime.now(UTC),
        probe=probe,
    )
