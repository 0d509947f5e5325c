"""EstimateTrainingJob, and the measured runs that estimates rest on: workers report them, and ask what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.chassis.errors import InvalidArgument
from services.trainer.models.base import Estimate
from services.trainer.ports import JobStore, Measurements, PresentDevice
from services.trainer.recipe.advice import (
    Fit,
    choose_memory,
    choose_time,
    cost_of,
    fit_of,
    remedy_of,
    usable_bytes,
)
from services.trainer.recipe.calibration import FINISHED_JOBS, Measurement, Range, is_cpu
from services.trainer.recipe.captions import caption_lengths
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.costs import VERSION
from services.trainer.recipe.families import families
from services.trainer.recipe.families.readers import file_notes
from services.trainer.recipe.streaming import all_stay, most, to_fit
from services.trainer.use_cases.creating import samples_per_step
from services.trainer.use_cases.placing import WORKER_MEMORY
from services.trainer.use_cases.planning import JobRequest, PlannedJob, Planner

MOST_MEASUREMENTS = 400
FINISHED_SPREAD = 2.0
"""Finished jobs had other settings; their pace is right within such a factor."""


class JobEstimator:
    """Works out what a job would do without creating it, from what runs took before."""

    def __init__(
        self,
        store: JobStore,
        measurements: Measurements,
        planner: Planner,
        catalogue: Mapping[str, BaseModel],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._measurements = measurements
        self._planner = planner
        # Only of those that were counted a run says anything.
        self._counted = frozenset(f"baseModels/{name}" for name, model in catalogue.items() if model.costs)
        self._clock = clock

    async def estimate(self, request: JobRequest) -> Estimate:
        """Steps, time and memory of a job. Raises what creating it would."""
        planned = await self._planner.plan(request, store=False)
        model, parameters, base_model = planned.model, planned.parameters, f"baseModels/{planned.model.entry}"
        pictures = [image.size for image in planned.data.images]
        present, devices, measured = await self._known(base_model)
        cost = cost_of(model, parameters, pictures, own_regularization=planned.plan.own_regularization)
        device, timed = choose_time(
            cost, measured, devices, base_model=base_model, parameters=parameters, pictures=pictures
        )
        time, basis = (timed.total, timed.basis) if timed else await self._from_finished(request.base_model, planned)
        memory, memory_basis = choose_memory(model, cost, measured, devices, base_model=base_model)
        limit = max((one.memory_bytes for one in present), default=0)
        fit, remedy = Fit.UNSPECIFIED, ""
        if limit:
            usable = usable_bytes(limit, devices)
            whole, streams = memory, not all(is_cpu(device) for device in devices)
            streaming, all_here = None, ""
            if streams:
                streaming = to_fit(families()[model.family], model.costs, parameters, memory, usable)
                all_here = all_stay(families()[model.family], parameters)
            if streaming is not None:
                memory = streaming.less(memory)
            fit = fit_of(memory, usable)
            if fit in (Fit.TIGHT, Fit.NO):
                formats = _formats([one for one in present if one.memory_bytes == limit])
                remedy = remedy_of(model, parameters, pictures, cost, whole, usable, formats=formats, streams=streams)
            if streaming is not None:
                remedy = f"{streaming.sentence} {remedy}".strip()
            elif fit is Fit.NO:
                remedy = f"{remedy} {all_here}".strip()
        return Estimate(
            steps_per_epoch=planned.steps.steps_per_epoch,
            total_steps=planned.steps.total_steps,
            parameters=parameters,
            image_count=len(pictures),
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
            captions=caption_lengths([image.caption for image in planned.data.images], planned.model.caption_tokens),
            file_notes=file_notes(families()[model.family], parameters.adapter),
        )

    async def memory(self, request: JobRequest, planned: PlannedJob) -> Range:
        """Peak bytes of a planned job, as `estimate` says; the lower end is with every block streamed that can be."""
        base_model = f"baseModels/{planned.model.entry}"
        _, devices, measured = await self._known(base_model)
        pictures = [image.size for image in planned.data.images]
        own = planned.plan.own_regularization
        cost = cost_of(planned.model, planned.parameters, pictures, own_regularization=own)
        memory = choose_memory(planned.model, cost, measured, devices, base_model=base_model)[0]
        streaming = most(families()[planned.model.family], planned.model.costs, planned.parameters)
        return replace(memory, low=streaming.less(memory).low) if streaming else memory

    async def _known(self, base_model: str) -> tuple[Sequence[PresentDevice], list[str], Sequence[Measurement]]:
        """Devices of present workers, names of those that a job is likely to go to, and what runs there took."""
        present = await self._measurements.present(base_model, self._clock() - WORKER_MEMORY)
        devices = sorted({one.device for one in present})
        measured = await self._measurements.read(devices or None, MOST_MEASUREMENTS)
        if not devices:
            # Workers may be scaled to zero: those that were here are likely to come back.
            own = [one.device for one in measured if one.base_model == base_model]
            devices = sorted(set(own) or {one.device for one in measured})
        return present, devices, measured

    async def _from_finished(self, base_model: str, planned: PlannedJob) -> tuple[Range | None, str]:
        pace = await self._store.pace(base_model)
        if pace <= 0:
            return None, ""
        seconds = samples_per_step(planned) * planned.steps.total_steps * pace
        return Range(seconds, seconds / FINISHED_SPREAD, seconds * FINISHED_SPREAD), FINISHED_JOBS

    async def learn(self, measurement: Measurement) -> None:
        """Keeps a run. One of another version of the cost model, or of a model that is gone, is dropped.

        Raises InvalidArgument for numbers that no run can have.
        """
        numbers = [measurement.start_seconds, measurement.epoch_end_seconds, measurement.memory_bytes]
        for part in measurement.parts.values():
            numbers += [part.seconds, part.work.flops, part.work.moved, part.work.kernels]
        if not all(math.isfinite(number) and number >= 0 for number in numbers):
            raise InvalidArgument(
                "A measured number is not finite", field="measurement", remedy="Report what the clock showed."
            )
        if measurement.cost_version == VERSION and measurement.base_model in self._counted:
            await self._measurements.add(measurement)

    async def unmeasured(self, device: str, base_models: Sequence[str]) -> Sequence[str]:
        """Of some base models those that a worker should probe when it has nothing to do."""
        wanted = [name for name in base_models if name in self._counted]
        return await self._measurements.unmeasured(device, wanted) if wanted and device else ()


def _formats(present: Sequence[PresentDevice]) -> tuple[str, ...]:
    """Number formats that some of the devices compute in; () for all."""
    if not all(one.mixed_precisions for one in present):
        return ()
    return tuple({each: None for one in present for each in one.mixed_precisions})
