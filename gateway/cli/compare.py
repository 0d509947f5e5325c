"""Jobs side by side: the parameters in which they differ, what came of each, their losses and their previews."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fiveshot.errors import FailedPrecondition
from fiveshot.trainer.v1 import training_job_pb2
from PIL import Image

from gateway.cli import mixes, output, pictures, report, verdicts
from gateway.cli.session import Session

Job = training_job_pb2.TrainingJob
Epoch = training_job_pb2.Epoch


def differences(jobs: Sequence[Job]) -> Iterator[tuple[str, ...]]:
    """Base model, datasets, earlier LoRA and each parameter that is not the same in all, by job."""
    for field in ("base_model", "dataset_version", "initial_lora"):
        values = [getattr(job, field) for job in jobs]
        if len(set(values)) > 1:
            yield field, *(value.split("/", 2)[-1].removeprefix("datasets/") for value in values)
    mixed = [mixes.shown(job.datasets) for job in jobs]
    if len(set(mixed)) > 1:
        yield "datasets", *mixed
    for descriptor in training_job_pb2.TrainingParameters.DESCRIPTOR.fields:
        shown = [_shown(job.parameters, descriptor) for job in jobs]
        if len(set(shown)) > 1:
            yield descriptor.name, *shown


def outcomes(jobs: Sequence[Job], epochs: Sequence[Epoch | None]) -> Iterator[tuple[str, ...]]:
    """What came of them: state, loss, time and the recommended epoch with its measures. epochs: those, or None."""
    yield "state", *(output.enum_name(job, "state") for job in jobs)
    yield "pictures", *(str(job.image_count) for job in jobs)
    yield "steps", *(f"{job.step} of {job.total_steps}" for job in jobs)
    yield "loss", *(f"{job.loss:.4f}" if job.loss else "" for job in jobs)
    yield "time", *(_time(job) for job in jobs)
    yield "recommended epoch", *(str(job.recommended_epoch or "") for job in jobs)
    found = [verdicts.measures(each) for each in epochs]
    for name in verdicts.MEASURES:
        yield name, *(each[name] for each in found)


def sheet(session: Session, jobs: Sequence[Job], epochs: Sequence[Epoch | None]) -> Image.Image:
    """The previews of each job's recommended epoch, a row each, with the prompts that any of them has drawn.

    Raises FailedPrecondition (NO_RECOMMENDATION) when no job has such an epoch.
    """
    found = [(job, epoch) for job, epoch in zip(jobs, epochs, strict=True) if epoch is not None]
    if not found:
        raise FailedPrecondition(
            "None of the jobs has a recommended epoch", field="sheet", reason="NO_RECOMMENDATION",
            remedy="Wait for their first epochs.",
        )  # fmt: skip
    prompts = list(dict.fromkeys(preview.prompt for _, epoch in found for preview in epoch.previews))
    rows = []
    for job, epoch in found:
        drawn = dict(zip((p.prompt for p in epoch.previews), report.previews(session, epoch), strict=True))
        cells = [drawn.get(prompt) or pictures.blank() for prompt in prompts]
        rows.append(pictures.SheetRow(output.short(job.name), f"epoch {output.short(epoch.name)}", cells))
    return pictures.contact_sheet("The jobs' recommended epochs", [], prompts, rows)


def _shown(parameters: Any, descriptor: Any) -> str:
    value = getattr(parameters, descriptor.name)
    if descriptor.is_repeated:
        return "; ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _time(job: Job) -> str:
    if not job.start_time.seconds or not job.end_time.seconds:
        return ""
    return output.duration(job.end_time.seconds - job.start_time.seconds)
