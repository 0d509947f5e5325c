"""Two jobs side by side: the parameters in which they differ, and what came of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fiveshot.trainer.v1 import training_job_pb2

from gateway.cli import output, verdicts

Job = training_job_pb2.TrainingJob


def differences(one: Job, other: Job) -> Iterator[tuple[str, ...]]:
    """Base model, dataset version and every parameter that is not the same, with both values."""
    for field in ("base_model", "dataset_version"):
        values = getattr(one, field), getattr(other, field)
        if values[0] != values[1]:
            yield field, *(value.split("/", 2)[-1].removeprefix("datasets/") for value in values)
    for descriptor in training_job_pb2.TrainingParameters.DESCRIPTOR.fields:
        shown = _shown(one.parameters, descriptor), _shown(other.parameters, descriptor)
        if shown[0] != shown[1]:
            yield descriptor.name, *shown


def outcomes(one: Job, other: Job, epochs: tuple[Any, Any]) -> Iterator[tuple[str, ...]]:
    """What came of both: state, loss, time and the recommended epoch with its measures. epochs: those, or None."""
    jobs = (one, other)
    yield "state", *(output.enum_name(job, "state") for job in jobs)
    yield "pictures", *(str(job.image_count) for job in jobs)
    yield "steps", *(f"{job.step} of {job.total_steps}" for job in jobs)
    yield "loss", *(f"{job.loss:.4f}" if job.loss else "" for job in jobs)
    yield "time", *(_time(job) for job in jobs)
    yield "recommended epoch", *(str(job.recommended_epoch or "") for job in jobs)
    found = [verdicts.measures(each) for each in epochs]
    for name in verdicts.MEASURES:
        yield name, *(each[name] for each in found)


def _shown(parameters: Any, descriptor: Any) -> str:
    value = getattr(parameters, descriptor.name)
    if descriptor.is_repeated:
        return "; ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _time(job: Job) -> str:
    if not job.start_time.seconds or not job.end_time.seconds:
        return ""
    return output.duration(job.end_time.seconds - job.start_time.seconds)
