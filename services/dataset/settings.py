"""Settings of the dataset service, from variables that start with DATASET_."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from services.chassis.byte_budget import MIB, ByteBudget
from services.chassis.picture_decoding.settings import DecodePoolSettings
from services.chassis.settings import AuditSettings, BaseServiceSettings, BudgetSettings, ListSettings, service_config
from services.chassis.store_settings import NatsSettings, S3Settings, SqlSettings
from services.chassis.zip_archives import ArchiveLimits
from services.dataset.models.checks import EXTENSIONS, Limits


class Settings(
    DecodePoolSettings,
    SqlSettings,
    ListSettings,
    S3Settings,
    NatsSettings,
    AuditSettings,
    BudgetSettings,
    BaseServiceSettings,
):
    """One frozen object, read at start."""

    model_config = service_config("DATASET_")

    allowed_extensions: str = Field("png,jpg,jpeg", description="file types taken, a comma list of png, jpg, jpeg")
    max_image_bytes: int = Field(5 * 1024 * 1024, ge=1, le=256 * 1024 * 1024, description="bytes of one picture")
    max_images_per_dataset: int = Field(100, ge=1, le=10_000)
    max_pixels: int = Field(64_000_000, ge=1, le=500_000_000, description="width times height of one picture")
    min_side: int = Field(16, ge=1, le=4096, description="pixels of a picture's shorter side")
    upload_idle_s: float = Field(30.0, ge=1, le=600, description="seconds an upload may pause between two messages")
    upload_budget_mib: int = Field(
        128, ge=1, le=65_536, description="MiB of pictures that may be in flight, of all callers together"
    )
    project_upload_budget_mib: int = Field(
        64, ge=1, le=65_536, description="MiB of pictures that may be in flight, of each project"
    )
    max_archive_mib: int = Field(600, ge=1, le=65_536, description="MiB of an archive; inflated, twice as many")
    archive_budget_mib: int = Field(
        2400, ge=1, le=1_048_576, description="MiB of archives that may lie in the temporary folder at once"
    )
    budget_datasets: int = Field(10_000, ge=0, description="datasets of each project; 0 is no limit")
    budget_images: int = Field(0, ge=0, description="images of each project, in all its datasets; 0 is no limit")
    budget_stored_bytes: int = Field(
        0, ge=0, description="bytes of each project's pictures, those of frozen versions included; 0 is no limit"
    )
    budget_uploads: int = Field(256, ge=0, description="uploads at once of each project, by this process; 0: no limit")
    budget_downloads: int = Field(
        256, ge=0, description="downloads at once of each project, by this process; 0: no limit"
    )
    usage_days: int = Field(30, ge=1, le=3650, description="days for which events are kept in the log")
    image_events_quiet_s: float = Field(
        2.0,
        ge=0,
        le=600,
        description="seconds without a change of a dataset's images before changes are told as events",
    )
    image_events_longest_s: float = Field(
        15.0, ge=0, le=3600, description="seconds that such a change waits at most while others go on"
    )
    reservation_s: float = Field(900.0, ge=60, le=86_400, description="seconds an upload has to store its bytes")
    sweep_interval_s: float = Field(60.0, ge=1, le=86_400, description="seconds between deletions of unused bytes")
    remember_requests_days: int = Field(7, ge=1, le=365, description="days for which a request_id is remembered")

    @field_validator("allowed_extensions")
    @classmethod
    def _known_extensions(cls, value: str) -> str:
        extensions = [part.strip().lower().lstrip(".") for part in value.split(",") if part.strip()]
        unknown = sorted(set(extensions) - set(EXTENSIONS))
        if unknown or not extensions:
            raise ValueError(f"use a comma list of {', '.join(EXTENSIONS)}")
        return ",".join(extensions)

    @model_validator(mode="after")
    def _one_fits(self) -> Settings:
        budget = min(self.upload_budget_mib, self.project_upload_budget_mib) * MIB
        if budget < self.max_image_bytes:
            raise ValueError("upload_budget_mib and project_upload_budget_mib must hold a picture of max_image_bytes")
        if self.archive_budget_mib < self.max_archive_mib:
            raise ValueError("archive_budget_mib must hold an archive of max_archive_mib")
        if self.min_side**2 > self.max_pixels:
            raise ValueError("a picture of min_side has more than max_pixels, so none would be taken")
        if self.image_events_quiet_s > self.image_events_longest_s:
            raise ValueError("image_events_longest_s must be at least image_events_quiet_s")
        return self

    @property
    def upload_budget(self) -> ByteBudget:
        """The bytes that may be in flight."""
        return ByteBudget(total=self.upload_budget_mib * MIB, per_project=self.project_upload_budget_mib * MIB)

    @property
    def archive_budget(self) -> ByteBudget:
        """The bytes of archives that may lie here; half of them may be one project's."""
        total = self.archive_budget_mib * MIB
        return ByteBudget(total=total, per_project=max(total // 2, self.max_archive_mib * MIB))

    @property
    def archive_limits(self) -> ArchiveLimits:
        """What an archive may hold: captions and what systems leave behind count as well."""
        return ArchiveLimits(
            max_entries=max(2000, 20 * self.max_images_per_dataset), max_total_bytes=2 * self.max_archive_mib * MIB
        )

    @property
    def limits(self) -> Limits:
        """What an upload is checked against."""
        return Limits(
            extensions=tuple(self.allowed_extensions.split(",")),
            max_image_bytes=self.max_image_bytes,
            max_images=self.max_images_per_dataset,
            max_pixels=self.max_pixels,
            min_side=self.min_side,
        )
