"""Jobs and epochs as rows, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import RowMapping

from services.trainer.models.epoch import Epoch, EpochFile, Evaluation, Preview
from services.trainer.models.job import (
    Attempt,
    EarlierLora,
    JobError,
    JobState,
    Lease,
    Outcome,
    Progress,
    TrainedDataset,
    TrainingJob,
)
from services.trainer.models.placement import memory_class
from services.trainer.recipe.parameters import DEFAULT_SPECS, TrainingParameters

T = TypeVar("T")

_SAME = (
    "name",
    "project",
    "display_name",
    "base_model",
    "dataset_version",
    "dataset_digest",
    "image_count",
    "trigger_word",
    "steps_per_epoch",
    "samples_per_step",
    "priority",
    "epochs_completed",
    "recommended_epoch",
    "recommendation_reason",
    "failures",
    "losses",
    "stop_requested",
    "progress_told_at",
    "seconds_per_sample",
    "labels",
    "memory_low_bytes",
    "entry",
    "state_time",
    "revision",
    "queued_at",
    "create_time",
    "start_time",
    "end_time",
    "update_time",
    "traceparent",
)
"""Columns that are fields of the job as they are."""


def _lease_columns(job: TrainingJob) -> dict[str, Any]:
    lease = job.lease
    return {
        "lease_token": lease.token if lease else None,
        "lease_worker": lease.worker_id if lease else None,
        "lease_expires_at": lease.expires_at if lease else None,
    }


def _same_column(name: str) -> Callable[[TrainingJob], dict[str, Any]]:
    return lambda job: {name: getattr(job, name)}


_COLUMNS: dict[str, Callable[[TrainingJob], dict[str, Any]]] = {
    **{name: _same_column(name) for name in _SAME},
    "parameters": lambda job: {
        "parameters": asdict(job.parameters),
        "total_steps": job.total_steps,
        "mixed_precision": job.parameters.mixed_precision,
        "needs_skill": job.needs_skill,
    },
    "initial_lora": lambda job: {
        "initial_lora": asdict(job.initial_lora) if job.initial_lora else None,
        "needs_skill": job.needs_skill,
    },
    "datasets": lambda job: {
        "datasets": [asdict(dataset) for dataset in job.datasets],
        "needs_skill": job.needs_skill,
    },
    "memory_bytes": lambda job: {"memory_bytes": job.memory_bytes, "memory_class": memory_class(job.memory_bytes)},
    "state": lambda job: {"state": job.state.value},
    "progress": lambda job: {"progress": asdict(job.progress), "step": job.progress.step},
    "error": lambda job: {"error": asdict(job.error) if job.error else None},
    "attempts": lambda job: {"attempts": [attempt_to_json(attempt) for attempt in job.attempts]},
    "lease": _lease_columns,
    "notices": lambda job: {"notices": list(job.notices)},
    "base_previews": lambda job: {"base_previews": [asdict(preview) for preview in job.base_previews]},
}
"""The columns that each field of a job fills."""


def job_to_row(job: TrainingJob) -> dict[str, Any]:
    """All columns of a new job."""
    columns = {column: value for of_field in _COLUMNS.values() for column, value in of_field(job).items()}
    return {**columns, "last_event": 0, "last_metric_step": 0}


def changed_columns(before: TrainingJob, after: TrainingJob) -> dict[str, Any]:
    """Columns to write: a heartbeat touches a few of them, and the rest need not be mapped or travel."""
    changed = {
        column: value
        for name, columns in _COLUMNS.items()
        if _differ(getattr(before, name), getattr(after, name))
        for column, value in columns(after).items()
    }
    # A job that goes on gets new events of its progress.
    return {**changed, "thinned": False} if "end_time" in changed else changed


def _differ(before: object, after: object) -> bool:
    # A move leaves most fields the very same objects, and some are long to compare.
    return before is not after and before != after


def job_from_row(row: RowMapping) -> TrainingJob:
    """A job out of its row."""
    lease = None
    if row["lease_token"] is not None:
        lease = Lease(row["lease_token"], row["lease_worker"], row["lease_expires_at"])
    return TrainingJob(
        **{name: row[name] for name in _SAME},
        parameters=_parameters(row["parameters"]),
        state=JobState(row["state"]),
        progress=_record(Progress, row["progress"]),
        error=_record(JobError, row["error"]) if row["error"] else None,
        attempts=tuple(attempt_from_json(item) for item in row["attempts"]),
        lease=lease,
        notices=tuple(row["notices"]),
        memory_bytes=row["memory_bytes"],
        initial_lora=_record(EarlierLora, row["initial_lora"]) if row["initial_lora"] else None,
        datasets=tuple(_record(TrainedDataset, item) for item in row["datasets"]),
        base_previews=tuple(_record(Preview, item) for item in row["base_previews"]),
    )


def epoch_to_row(epoch: Epoch) -> dict[str, Any]:
    """All columns of an epoch."""
    return asdict(epoch)


def epoch_from_row(row: RowMapping) -> Epoch:
    """An epoch out of its row."""
    return replace(
        _record(Epoch, {str(name): value for name, value in row.items()}),
        files=tuple(_record(EpochFile, item) for item in row["files"]),
        previews=tuple(_record(Preview, item) for item in row["previews"]),
        evaluation=_record(Evaluation, row["evaluation"]) if row["evaluation"] else None,
        checkpoint=tuple(_record(EpochFile, item) for item in row["checkpoint"]),
    )


def _record(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass out of stored values; a field of another version is left out."""
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: values[name] for name in values if name in known})


_BEFORE_THEY_WERE_PARAMETERS = {"lr_num_cycles": 1, "lr_power": 1.0}
"""What jobs trained with that were stored without these."""


def _parameters(stored: Mapping[str, Any]) -> TrainingParameters:
    """Parameters of an older job lack the newer ones, which then have their defaults."""
    defaults = {spec.name: spec.default for spec in DEFAULT_SPECS} | _BEFORE_THEY_WERE_PARAMETERS
    values = {**defaults, **{name: value for name, value in stored.items() if name in defaults}}
    values["preview_prompts"] = tuple(values["preview_prompts"])
    values["preview_seeds"] = tuple(values["preview_seeds"])
    return TrainingParameters(**values)


def attempt_to_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt as it is stored."""
    return {
        **asdict(attempt),
        "start_time": attempt.start_time.isoformat(),
        "end_time": attempt.end_time.isoformat() if attempt.end_time else None,
        "outcome": attempt.outcome.value if attempt.outcome else None,
    }


def attempt_from_json(item: Mapping[str, Any]) -> Attempt:
    """The attempt that was stored so."""
    return Attempt(
        number=item["number"],
        worker_id=item["worker_id"],
        token=item["token"],
        start_time=datetime.fromisoformat(item["start_time"]),
        first_step=item["first_step"],
        end_time=datetime.fromisoformat(item["end_time"]) if item["end_time"] else None,
        outcome=Outcome(item["outcome"]) if item["outcome"] else None,
        message=item["message"],
        # Attempts of before this was kept were real.
        pretended=item.get("pretended", False),
    )
