"""Settings of a process: read once from the environment, checked at start, frozen after.

A service composes its class from groups of this module and of `store_settings.py`, and gives it a prefix:

    class Settings(SqlSettings, S3Settings, NatsSettings, BaseServiceSettings):
        model_config = service_config("DATASET_")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.addresses import split_host_port, split_targets
from services.chassis.server_settings import OtlpSettings
from services.chassis.setting_checks import check_callers_file, check_size, check_token
from services.chassis.setting_types import GivenFile, WrittenFile


def service_config(prefix: str) -> SettingsConfigDict:
    """The model configuration of a settings class whose variables all start with `prefix` (`DATASET_`)."""
    return SettingsConfigDict(env_prefix=prefix, frozen=True, extra="forbid", str_strip_whitespace=True)


class BaseServiceSettings(OtlpSettings, BaseSettings):
    """What every process has, whichever service it is."""

    model_config = service_config("FIVESHOT_")

    listen: str = Field("127.0.0.1:0", description="host:port to serve gRPC on; port 0 takes a free one")
    port_file: WrittenFile = Field(None, description="file that receives the bound port once the server listens")
    metrics_listen: str = Field("", description="host:port of the Prometheus endpoint; empty turns it off")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    internal_token: SecretStr | None = Field(
        None,
        description="token that calls from inside the suite carry; when set, a call needs it or the projects header",
    )
    internal_token_file: GivenFile = Field(
        None, description="file with the token that this process shows; read again when it changes, wins over the other"
    )
    callers_file: GivenFile = Field(
        None, description="JSON file of the processes that may call this one, by token and method; read when it changes"
    )
    require_project_header: bool = Field(False, description="refuse calls that did not come through the gateway")
    shutdown_grace_s: float = Field(10.0, ge=0, le=3600, description="seconds that running calls get at shutdown")
    shutdown_notice_s: float = Field(
        0.0, ge=0, le=300, description="seconds at shutdown between saying so by health and taking no more calls"
    )
    start_patience_s: float = Field(
        60.0, ge=0, le=3600, description="seconds that a server which the process needs may stay away at start"
    )
    keepalive_s: float = Field(
        30.0,
        # A server ends the connection of who asks it more often than this; see `grpc_server.py`.
        ge=10,
        le=3600,
        description="seconds without a word after which a called service is asked whether it lives; at least 10",
    )
    max_receive_mb: int = Field(8, ge=1, le=512, description="largest gRPC message taken, in MiB")

    @field_validator("*", mode="before")
    @classmethod
    def _no_path_is_empty(cls, value: Any, info: ValidationInfo) -> Any:
        """Python reads an empty path as the folder that the process was started in."""
        field = cls.model_fields[info.field_name or ""]
        kinds = (field.annotation, *get_args(field.annotation))
        if Path in kinds and isinstance(value, str) and not value.strip():
            if type(None) not in kinds:
                raise ValueError("is empty; give a path, or leave the variable out")
            return None
        return value

    @field_validator("*")
    @classmethod
    def _no_number_is_beyond_use(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, int | float) and info.field_name:
            check_size(info.field_name, value)
        return value

    @field_validator("internal_token")
    @classmethod
    def _token_is_one(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip():
            raise ValueError("is empty; give a token, or leave the variable out where calls need none")
        if value is not None:
            check_token(value.get_secret_value())
        return value

    @field_validator("internal_token_file")
    @classmethod
    def _file_holds_a_token(cls, value: Path | None) -> Path | None:
        if value is not None:
            token = value.read_text(encoding="utf-8", errors="replace").strip()
            if not token:
                raise ValueError(f"{value}: is empty; write the token into it before the process starts")
            check_token(token)
        return value

    @field_validator("callers_file")
    @classmethod
    def _file_names_callers(cls, value: Path | None) -> Path | None:
        if value is not None:
            check_callers_file(value)
        return value

    @field_validator("listen")
    @classmethod
    def _listen_is_host_port(cls, value: str) -> str:
        split_host_port(value)
        return value

    @field_validator("metrics_listen", "otlp_endpoint")
    @classmethod
    def _host_port_or_empty(cls, value: str) -> str:
        if value:
            split_host_port(value)
        return value


class AuditSettings(BaseModel):
    """Who keeps the audit records."""

    audit_target: str = Field(
        "",
        description="host:port of the registry, which keeps the audit records, several with commas; "
        "empty: calls leave none",
    )

    @field_validator("audit_target")
    @classmethod
    def _audit_targets(cls, value: str) -> str:
        if value:
            split_targets(value)
        return value


class BudgetSettings(BaseModel):
    """Where the budgets of projects come from. A service adds a `budget_NAME` for each budget that it keeps."""

    budgets_file: Path | None = Field(
        None, description="TOML file of the budgets by project, read when it changes; empty: those of the settings only"
    )

    @field_validator("budgets_file", mode="before")
    @classmethod
    def _empty_is_no_file(cls, value: object) -> object:
        return value or None


class ListSettings(BaseModel):
    """What the lists of a service need."""

    page_token_key: SecretStr | None = Field(
        None,
        description="secret of 16 characters or more that signs page tokens, one for all replicas; "
        "empty: made at start, so that a restart ends all lists that are being paged",
    )

    @field_validator("page_token_key", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @field_validator("page_token_key")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("use 16 characters or more")
        return value

    @property
    def page_key(self) -> bytes | None:
        """The key as bytes, None when there is none."""
        return self.page_token_key.get_secret_value().encode() if self.page_token_key else None
