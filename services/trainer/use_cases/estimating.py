"""EstimateTrainingJob: exact steps; time and memory from counted work and measured runs, with their uncertainty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.chassis.errors import InvalidArgument
from services.trainer.models.base import Estimate, Fit
from services.trainer.ports import JobStore, Measurements
from services.trainer.recipe.calibration import (
    FINISHED_JOBS,
    SAME_MODEL,
    Measurement,
    Range,
    TimeEstimate,
    estimate_memory,
    estimate_time,
    is_cpu,
    likely_processes,
)
from services.trainer.recipe.costs import JobCost, job_cost
from services.trainer.recipe.parameters import InvalidParameter, TrainingParameters
from services.trainer.recipe.plan import drawn_samples
from services.trainer.use_cases.creating import samples_per_step
from services.trainer.use_cases.planning import JobRequest, PlannedJob, Planner, plan_of
from services.trainer.use_cases.reading import WORKER_MEMORY

MIB = 1 << 20
MOST_MEASUREMENTS = 400
FINISHED_SPREAD = 2.0
"""Finished jobs had other settings; their pace is right within such a factor."""

UNUSABLE = 0.06
"""Share of an accelerator's memory that its driver, fragments and other libraries take."""

_MODEL, _CATALOGUE = "a model of the work", "the catalogue"
SMALLER_RESOLUTIONS = (0.75, 0.5)


class JobEstimator:
    """Works out what a job would do without creating it."""

    def __init__(
        self, store: JobStore, measurements: Measurements, planner: Planner, *, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._measurements = measurements
        self._planner = planner
        self._clock = clock

    async def estimate(self, request: JobRequest) -> Estimate:
        """Steps, time and memory of a job. Raises what creating it would."""
        planned = await self._planner.plan(request, store=False)
        present = await self._measurements.present(request.base_model, self._clock() - WORKER_MEMORY)
        devices = sorted({one.device for one in present})
        measured = await self._measurements.read(devices or None, MOST_MEASUREMENTS)
        if not devices:
            # Workers may be scaled to zero: those that were here are likely to come back.
            own = [one.device for one in measured if one.base_model == request.base_model]
            devices = sorted(set(own) or {one.device for one in measured})
        cost = cost_of(planned)
        device, timed = _choose(planned, cost, measured, devices, request.base_model)
        time = timed.total if timed else None
        basis = timed.basis if timed else ""
        if time is None:
            time, basis = await self._from_finished(request.base_model, planned)
        memory, memory_basis = _memory(planned, cost, measured, devices, request.base_model)
        limit = max((one.memory_bytes for one in present), default=0)
        fit, remedy = Fit.UNSPECIFIED, ""
        if limit:
            usable = limit if all(is_cpu(one.device) for one in present) else limit * (1.0 - UNUSABLE)
            fit = _fit(memory, usable)
            if fit in (Fit.TIGHT, Fit.NO):
                remedy = _remedy(planned, cost, memory, usable)
        return Estimate(
            steps_per_epoch=planned.steps.steps_per_epoch,
            total_steps=planned.steps.total_steps,
            parameters=planned.parameters,
            image_count=len(planned.data.images),
            time=time,
            basis=basis,
            measured_runs=timed.runs if timed else 0,
            parts=timed,
            memory=memory,
            memory_basis=memory_basis,
            device=device if timed or len(devices) == 1 else "",
            device_memory_bytes=limit,
            fit=fit,
            fit_remedy=remedy,
        )

    async def _from_finished(self, base_model: str, planned: PlannedJob) -> tuple[Range | None, str]:
        pace = await self._store.pace(base_model)
        if pace <= 0:
            return None, ""
        seconds = samples_per_step(planned) * planned.steps.total_steps * pace
        return Range(seconds, seconds / FINISHED_SPREAD, seconds * FINISHED_SPREAD), FINISHED_JOBS


def cost_of(planned: PlannedJob) -> JobCost | None:
    """What a planned job costs; None for a base model that was not counted."""
    if planned.model.costs is None:
        return None
    return job_cost(
        planned.model.costs, planned.parameters, planned.plan, neutral_prompts=len(planned.model.neutral_prompts)
    )


def _choose(
    planned: PlannedJob, cost: JobCost | None, measured: Sequence[Measurement], devices: Sequence[str], base_model: str
) -> tuple[str, TimeEstimate | None]:
    """The device whose estimate to give: measured on this base model first, then the slowest, which nobody regrets."""
    if cost is None:
        return "", None
    found: list[tuple[str, TimeEstimate]] = []
    samples = drawn_samples([image.size.repeats for image in planned.data.images], planned.parameters)
    for device in devices:
        timed = estimate_time(
            cost,
            measured,
            device=device,
            base_model=base_model,
            mixed_precision=planned.parameters.mixed_precision,
            processes=likely_processes(device, samples),
        )
        if timed is not None:
            found.append((device, timed))
    if not found:
        return devices[0] if len(devices) == 1 else "", None
    return max(found, key=lambda one: (one[1].basis == SAME_MODEL, one[1].total.middle))


def _memory(
    planned: PlannedJob, cost: JobCost | None, measured: Sequence[Measurement], devices: Sequence[str], base_model: str
) -> tuple[Range, str]:
    if cost is None:
        stated = float(planned.model.memory_mib * MIB)
        return Range(stated, stated / 1.5, stated * 1.5), _CATALOGUE
    found = [
        estimate_memory(cost, measured, device=device, base_model=base_model) for device in devices or [_ACCELERATOR]
    ]
    memory, runs = max(found, key=lambda one: one[0].middle)
    return memory, SAME_MODEL if runs else _MODEL


_ACCELERATOR = "accelerator"
"""A device of which nothing is known."""


def _fit(memory: Range, limit: float) -> Fit:
    if memory.middle > limit:
        return Fit.NO
    return Fit.TIGHT if memory.high > limit else Fit.YES


def _remedy(planned: PlannedJob, cost: JobCost | None, memory: Range, limit: float) -> str:
    """The change that costs least and with which the job fits, or what is left to do."""
    costs = planned.model.costs
    if cost is None or costs is None:
        return "Use a smaller batch size or resolution, or a worker with more memory."
    for change in smaller(planned.parameters):
        changed = _changed(planned, change)
        if changed is None:
            continue
        smaller_cost = cost_of(changed)
        assert smaller_cost is not None
        # What the process and its allocator need stays as it is.
        if memory.high - (cost.memory_bytes - smaller_cost.memory_bytes) <= limit:
            named = " and ".join(f"{name} {_text(value)}" for name, value in change.items())
            return f"Use {named}."
    return "Nothing that keeps the training makes it fit; use a worker with more memory or a smaller base model."


def smaller(parameters: TrainingParameters) -> Iterator[Mapping[str, object]]:
    """Changes that need less memory, the one that costs least first."""
    halves: list[dict[str, object]] = [{}]
    batch, accumulation = parameters.batch_size, parameters.gradient_accumulation_steps
    while batch > 1:
        batch, accumulation = batch // 2, accumulation * 2
        halves.append({"batch_size": batch, "gradient_accumulation_steps": accumulation})
    precisions: list[dict[str, object]] = [{}]
    if parameters.mixed_precision == "no":
        precisions.append({"mixed_precision": "bf16"})
    if parameters.base_quantization == "none" and parameters.adapter not in ("loha", "lokr"):
        precisions += [{**one, "base_quantization": "nf4"} for one in list(precisions)]
    checkpointing: list[dict[str, object]] = [{}]
    if not parameters.gradient_checkpointing:
        checkpointing.append({"gradient_checkpointing": True})
    resolutions: list[dict[str, object]] = [{}]
    resolutions += [{"resolution": int(parameters.resolution * share)} for share in SMALLER_RESOLUTIONS]
    for resolution in resolutions:
        for checkpoint in checkpointing:
            for precision in precisions:
                for half in halves:
                    change = {**half, **precision, **checkpoint, **resolution}
                    if change:
                        yield change


def _changed(planned: PlannedJob, change: Mapping[str, object]) -> PlannedJob | None:
    """The job with other parameters, or None when its base model does not offer them."""
    by_name = {spec.name: spec for spec in planned.model.specs}
    try:
        for name, value in change.items():
            by_name[name].check(value)
        parameters = replace(planned.parameters, **change)  # type: ignore[arg-type]
        plan = plan_of(planned.model, parameters, planned.data)
    except (InvalidParameter, InvalidArgument):
        return None
    return replace(planned, parameters=parameters, plan=plan)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
