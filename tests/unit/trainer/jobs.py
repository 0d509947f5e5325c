"""A job for tests that need one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from services.trainer.models.epoch import Epoch, EpochFile
from services.trainer.models.job import TrainingJob
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
NAME = "projects/acme/trainingJobs/job-1"


def make_job(name: str = NAME, *, num_epochs: int = 3, **changes: Any) -> TrainingJob:
    """A waiting job of ten steps an epoch."""
    fields: dict[str, Any] = {
        "name": name,
        "project": name.split("/")[1],
        "display_name": "A job",
        "base_model": "baseModels/tiny",
        "dataset_version": "projects/acme/datasets/dog/versions/1",
        "dataset_digest": "0" * 64,
        "image_count": 5,
        "trigger_word": "sks",
        "parameters": resolve(DEFAULT_SPECS, {"num_epochs": num_epochs}),
        "steps_per_epoch": 10,
        "samples_per_step": 4,
        "priority": 0,
        "create_time": NOW,
        "update_time": NOW,
        "queued_at": NOW,
        **changes,
    }
    return TrainingJob(**fields)


def make_epoch(number: int, *, job: str = NAME, attempt: int = 1) -> Epoch:
    """A finished epoch with one LoRA file."""
    file = EpochFile("kohya", "lora.safetensors", "application/octet-stream", 3, "a" * 64, f"k/{number}/lora")
    return Epoch(
        job=job,
        number=number,
        attempt=attempt,
        step=number * 10,
        loss=0.1,
        files=(file,),
        previews=(),
        evaluation=None,
        reload_difference=0.0,
        train_seconds=1.0,
        checkpoint=(),
        create_time=NOW,
    )
