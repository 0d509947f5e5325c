"""Settings of the trainer's control plane, read from `TRAINER_…` variables."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from services.chassis.settings import (
    AuditSettings,
    BaseServiceSettings,
    BudgetSettings,
    ListSettings,
    NatsSettings,
    S3Settings,
    SqlSettings,
    Target,
    service_config,
)
from services.trainer.recipe.catalogue import DEFAULT_CATALOGUE


class Settings(SqlSettings, ListSettings, S3Settings, NatsSettings, AuditSettings, BudgetSettings, BaseServiceSettings):
    """One frozen set for the process. No hyper-parameter of a training run is here: those belong to the job."""

    model_config = service_config("TRAINER_")

    database_url: str = Field(
        "sqlite+aiosqlite:///./trainer.db", description="sqlite+aiosqlite:///FILE or postgresql+psycopg://..."
    )
    database_pool_size: int = Field(10, ge=1, le=200, description="database connections of this process")
    dataset_target: Target = Field(
        "127.0.0.1:7451", description="host:port of the dataset service; several with commas"
    )
    catalogue: Path = Field(DEFAULT_CATALOGUE, description="TOML file with the base models on offer")
    metrics_pause_seconds: float = Field(
        15.0, gt=0, le=3600, description="pause between two looks at the queue for the metrics, where they are served"
    )
    lease_seconds: float = Field(30.0, gt=0, le=3600, description="how long a silent worker keeps its job")
    min_images: int = Field(3, ge=1, le=1000, description="images that a dataset must hold to be trained on")
    max_failures: int = Field(3, ge=1, le=100, description="failed attempts of a job before it is given up")
    max_losses: int = Field(10, ge=1, le=1000, description="workers lost in a row before giving up")
    budget_waiting_jobs: int = Field(10_000, ge=0, description="waiting jobs of each project; 0: no limit")
    budget_running_jobs: int = Field(0, ge=0, description="jobs of each project at work; others wait; 0: no limit")
    budget_gpu_seconds: int = Field(
        0, ge=0, description="GPU seconds of each project in the window; beyond them its jobs wait; 0: no limit"
    )
    budget_window_hours: int = Field(24, ge=1, le=8784, description="window over which GPU seconds are added up")
    usage_days: int = Field(30, ge=1, le=3650, description="days for which events of usage are kept")
    sweep_seconds: float = Field(3600.0, gt=0, description="pause between two searches for orphan objects")
    progress_age_seconds: float = Field(
        86_400.0, ge=0, description="after so long the progress events of an ended job are removed; its points stay"
    )
    remember_requests_days: int = Field(7, ge=1, le=365, description="days for which a request_id is remembered")
    sweep_age_seconds: float = Field(86_400.0, ge=0, description="objects younger than this are never swept")
