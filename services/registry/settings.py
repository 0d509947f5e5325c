"""What the registry reads from its environment; every variable starts with REGISTRY_."""

from __future__ import annotations

from pydantic import Field

from services.chassis.addresses import Target
from services.chassis.settings import BaseServiceSettings, BudgetSettings, ListSettings, service_config
from services.chassis.store_settings import NatsSettings, S3Settings, SqlSettings


class Settings(SqlSettings, ListSettings, S3Settings, NatsSettings, BudgetSettings, BaseServiceSettings):
    """Frozen; read by app.py alone."""

    model_config = service_config("REGISTRY_")

    database_url: str = Field(
        "sqlite+aiosqlite:///./registry.db", description="sqlite+aiosqlite:///FILE or postgresql+psycopg://..."
    )
    trainer_target: Target = Field(
        "127.0.0.1:7453", description="host:port of the trainer, from which epochs are read; several with commas"
    )
    max_version_mb: int = Field(4096, ge=1, description="largest version kept, all files together, in MiB")
    upload_idle_s: float = Field(30.0, ge=1, le=600, description="seconds an upload may pause between two messages")
    budget_models: int = Field(10_000, ge=0, description="models of each project; 0: no limit")
    budget_model_versions: int = Field(0, ge=0, description="versions of all models of each project; 0: no limit")
    audit_keep_days: float = Field(90.0, ge=1, le=3650, description="days for which an audit record is kept")
    audit_max_records: int = Field(
        5_000_000, ge=1000, description="audit records that are kept at most; then the oldest go before their time"
    )
    sweep_interval_s: float = Field(3600, ge=1, description="seconds between searches for files without a version")
    budget_downloads: int = Field(
        256, ge=0, description="downloads at once of each project, by this process; 0: no limit"
    )
    event_days: int = Field(30, ge=1, le=3650, description="days for which events are kept in the log")
    remember_requests_days: int = Field(7, ge=1, le=365, description="days for which a request_id is remembered")
    orphan_age_s: float = Field(
        86_400, ge=600, description="age in seconds at which a file without a version is removed; longer than any save"
    )
