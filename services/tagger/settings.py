"""Settings of the tagger, read from TAGGER_… variables."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator

from services.chassis.addresses import Target
from services.chassis.byte_budget import MIB, ByteBudget
from services.chassis.picture_decoding.settings import DecodePoolSettings
from services.chassis.setting_checks import check_effect, check_folder, check_printable
from services.chassis.settings import AuditSettings, BaseServiceSettings, ListSettings, service_config
from services.chassis.store_settings import NatsClientSettings, SqlSettings


class Settings(DecodePoolSettings, SqlSettings, ListSettings, NatsClientSettings, AuditSettings, BaseServiceSettings):
    """What an operator can choose. No threshold or other parameter of a request comes from here."""

    model_config = service_config("TAGGER_")

    dataset_target: Target = Field(
        "127.0.0.1:7451", description="host:port of the dataset service; several with commas"
    )
    max_image_bytes: int = Field(5 * 1024 * 1024, ge=1, description="largest lone picture taken, in bytes")
    max_pixels: int = Field(64_000_000, ge=1, description="largest picture decoded, width times height")
    wd_model_dir: Path | None = Field(
        None, description="folder of a WD v3 tagger (model.onnx, selected_tags.csv); empty: none"
    )
    taggers_dir: Path | None = Field(
        None, description="folder of taggers and captioners, a sub-folder each; a change needs no restart"
    )
    captioner_api_key: SecretStr = Field(
        SecretStr(""), description="API key of captioners whose captioner.toml sets api_key_setting"
    )
    photo: bool = Field(True, description="offer the tagger of photographs that ships with the service")
    text: bool = Field(True, description="look in tag jobs for what is written in the pictures, for the audit")
    parallel_jobs: int = Field(2, ge=1, le=64, description="tag jobs that run at once in this process")
    parallel_images: int = Field(2, ge=1, le=64, description="images that are tagged at once within a job")
    threads: int = Field(2, ge=1, le=64, description="threads that score pictures")
    picture_budget_mib: int = Field(
        64, ge=1, le=65_536, description="MiB of lone pictures that may be in flight, of all callers together"
    )
    project_picture_budget_mib: int = Field(
        32, ge=1, le=65_536, description="MiB of lone pictures that may be in flight, of each project"
    )
    lease_s: float = Field(15.0, ge=1, le=600, description="seconds after which a silent process loses its jobs")
    outage_patience_s: float = Field(60.0, ge=0, le=3600, description="seconds to wait for an absent dataset service")
    keep_jobs_days: float = Field(
        30.0, ge=0.01, description="days for which ended tag jobs, and raw scores that nobody uses, are kept"
    )

    @field_validator("taggers_dir")
    @classmethod
    def _taggers_lie_in_a_folder(cls, value: Path | None) -> Path | None:
        if value is not None:
            check_folder(value)
        return value

    @field_validator("captioner_api_key")
    @classmethod
    def _api_key_fits_a_header(cls, value: SecretStr) -> SecretStr:
        check_printable(value.get_secret_value(), ascii_only=True)
        return value

    @model_validator(mode="after")
    def _one_picture_fits(self) -> Settings:
        if min(self.picture_budget_mib, self.project_picture_budget_mib) * MIB < self.max_image_bytes:
            raise ValueError("picture_budget_mib and project_picture_budget_mib must hold a picture of max_image_bytes")
        if self.taggers_dir is None:
            check_effect(self, ("captioner_api_key",), needs="taggers_dir")
        return self

    @property
    def picture_budget(self) -> ByteBudget:
        """The bytes of lone pictures that may be in flight."""
        return ByteBudget(total=self.picture_budget_mib * MIB, per_project=self.project_picture_budget_mib * MIB)
