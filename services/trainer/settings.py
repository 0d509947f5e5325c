"""Settings of the trainer's control plane, read from `TRAINER_…` variables."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from pydantic import Field

from services.chassis.addresses import Target
from services.chassis.settings import AuditSettings, BaseServiceSettings, BudgetSettings, ListSettings, service_config
from services.chassis.store_settings import NatsSettings, S3Settings, SqlSettings
from services.trainer.models.lifetimes import Lifetimes
from services.trainer.models.pulse import SHORTEST_LEASE
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
    registry_target: Target = Field(
        "127.0.0.1:7454", description="host:port of the registry, asked about model versions; several with commas"
    )
    catalogue: Path = Field(DEFAULT_CATALOGUE, description="TOML file with the base models on offer")
    metrics_pause_seconds: float = Field(
        15.0, ge=1, le=3600, description="pause between two looks at the queue for the metrics, where they are served"
    )
    lease_seconds: float = Field(
        30.0,
        ge=SHORTEST_LEASE.total_seconds(),
        le=3600,
        description="how long a silent worker keeps its job; at least 1.5, in which it reports three times",
    )
    heartbeats_per_second: float = Field(
        200.0,
        gt=0,
        le=100_000,
        description="reports that a replica asks for; the more workers, the longer each waits",
    )
    min_images: int = Field(3, ge=1, le=1000, description="images that a dataset must hold to be trained on")
    max_failures: int = Field(3, ge=1, le=100, description="failed attempts of a job before it is given up")
    max_losses: int = Field(10, ge=1, le=1000, description="workers lost in a row before giving up")
    budget_waiting_jobs: int = Field(10_000, ge=0, description="waiting jobs of each project; 0: no limit")
    budget_running_jobs: int = Field(0, ge=0, description="jobs of each project at work; others wait; 0: no limit")
    budget_preview_requests: int = Field(
        100, ge=0, description="unfinished preview requests of each project; 0: no limit"
    )
    preview_cells: int = Field(100, ge=1, le=1000, description="pictures that one preview request may ask for")
    preview_hours: float = Field(24.0, ge=0.1, le=8784, description="hours for which an ended preview request is kept")
    budget_gpu_seconds: int = Field(
        0, ge=0, description="GPU seconds of each project in the window; beyond them its jobs wait; 0: no limit"
    )
    budget_base_model_bytes: int = Field(
        0, ge=0, description="bytes of the base models that each project has uploaded; 0: no limit"
    )
    budget_uploads: int = Field(
        8, ge=0, description="uploads of base models at once of each project, by this process; 0: no limit"
    )
    max_base_model_mib: int = Field(65_536, ge=1, le=2**20, description="MiB that one uploaded base model may have")
    upload_idle_s: float = Field(60.0, ge=1, le=600, description="seconds an upload may pause between two messages")
    unfinished_upload_days: float = Field(
        7.0, ge=0.01, le=366, description="days after which an upload that nobody goes on with is removed"
    )
    budget_downloads: int = Field(
        256, ge=0, description="downloads at once of each project, by this process; 0: no limit"
    )
    budget_window_hours: int = Field(24, ge=1, le=8784, description="window over which GPU seconds are added up")
    usage_days: int = Field(30, ge=1, le=3650, description="days for which events of usage are kept")
    sweep_seconds: float = Field(3600.0, ge=1, description="pause between two searches for orphan objects")
    progress_age_seconds: float = Field(
        86_400.0, ge=0, description="after so long the progress events of an ended job are removed; its points stay"
    )
    keep_epochs_days: float = Field(
        30.0,
        ge=0,
        description="days after a job's end for which its epochs are kept; 0: as long as the job, "
        "as the newest and the recommended one always are",
    )
    keep_unsuccessful_jobs_days: float = Field(
        90.0, ge=0, description="days for which a job that failed or was cancelled is kept; 0: for ever"
    )
    keep_jobs_days: float = Field(
        365.0, ge=0, description="days for which a job that succeeded is kept, with its recommended epoch; 0: for ever"
    )
    remember_requests_days: int = Field(7, ge=1, le=365, description="days for which a request_id is remembered")
    sweep_age_seconds: float = Field(
        86_400.0, ge=600, description="objects younger than this are never swept; longer than any delivery of an epoch"
    )

    @property
    def lifetimes(self) -> Lifetimes:
        """How long what jobs leave behind is kept."""
        kept = (self.keep_epochs_days, self.keep_unsuccessful_jobs_days, self.keep_jobs_days)
        return Lifetimes(*(timedelta(days=days) if days else None for days in kept))
