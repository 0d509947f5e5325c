"""Settings of a process: read once from the environment, checked at start, frozen after.

A service composes its class from the groups below and gives it a prefix:

    class Settings(SqlSettings, S3Settings, NatsSettings, BaseServiceSettings):
        model_config = service_config("DATASET_")
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.addresses import is_host, split_host_port, split_targets
from services.chassis.server_settings import (
    DatabaseServerSettings,
    GivenFile,
    NatsServerSettings,
    OtlpSettings,
    S3ServerSettings,
    WrittenFile,
    check_size,
    with_options,
)
from services.chassis.setting_checks import (
    check_bucket,
    check_callers_file,
    check_postgres_options,
    check_printable,
    check_sqlite_file,
    check_token,
)


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
        30.0, ge=1, le=3600, description="seconds without a word after which a called service is asked whether it lives"
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


class SqlSettings(DatabaseServerSettings):
    """Where the truth is kept."""

    database_url: str = Field(
        "sqlite+aiosqlite:///./fiveshot.db", description="sqlite+aiosqlite:///FILE or postgresql+psycopg://..."
    )
    database_migrate: bool = Field(
        True, description="migrate the database at start; false: wait until `python -m MODULE migrate` has done so"
    )

    @field_validator("database_url")
    @classmethod
    def _known_driver(cls, value: str) -> str:
        right = "use sqlite+aiosqlite:///FILE or postgresql+psycopg://USER@HOST/DATABASE"
        if not value.startswith(("sqlite+aiosqlite:///", "postgresql+psycopg://")):
            raise ValueError(right)
        if value.startswith("postgresql"):
            # A password may hold what a URL should not; the last @ ends it.
            host, _, database = value.partition("://")[2].rpartition("@")[2].partition("/")
            if not database.partition("?")[0]:
                raise ValueError(f"names no database; {right}")
            # Several hosts, and a socket (%2F…), are libpq's business.
            if not {",", "%"} & set(host) and not is_host(host or "localhost", 5432):
                raise ValueError(f"names no host and port; {right}")
            check_postgres_options(database.partition("?")[2])
        else:
            file = value.removeprefix("sqlite+aiosqlite:///").partition("?")[0]
            if not file:
                raise ValueError(f"names no file; {right}")
            if file != ":memory:":
                check_sqlite_file(Path(file))
        return value

    @property
    def database_address(self) -> str:
        """The URL with all that the settings say of the connection."""
        sqlite = self.database_url.startswith("sqlite")
        return self.database_url if sqlite else with_options(self.database_url, self.database_options())


class S3Settings(S3ServerSettings):
    """Where the bytes are kept: any server that speaks S3."""

    s3_endpoint: str = Field("127.0.0.1:9000", description="host:port, without http://")
    s3_access_key: str = ""
    s3_secret_key: SecretStr = SecretStr("")
    s3_bucket: str = Field(
        "fiveshot",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        description="bucket of the files: 3 to 63 small letters, digits, dots and hyphens",
    )
    s3_secure: bool = Field(False, description="use https")
    s3_region: str = Field(
        "us-east-1", pattern=r"^[A-Za-z0-9_-]{0,64}$", description="region of the store: letters, digits and hyphens"
    )
    s3_public_endpoint: str = Field("", description="host:port that presigned URLs name; empty: s3_endpoint")
    s3_public_secure: bool = Field(False, description="presigned URLs use https; read only with s3_public_endpoint")

    @field_validator("s3_bucket")
    @classmethod
    def _s3_bucket_can_be(cls, value: str) -> str:
        check_bucket(value)
        return value

    @field_validator("s3_access_key", "s3_secret_key")
    @classmethod
    def _s3_keys_are_one_line(cls, value: str | SecretStr) -> str | SecretStr:
        check_printable(value if isinstance(value, str) else value.get_secret_value(), ascii_only=True)
        return value

    @model_validator(mode="after")
    def _s3_keys_are_a_pair(self) -> Self:
        if bool(self.s3_access_key) != bool(self.s3_secret_key.get_secret_value()):
            raise ValueError("s3_access_key and s3_secret_key go together: give both or none")
        return self

    @field_validator("s3_endpoint", "s3_public_endpoint")
    @classmethod
    def _bare_host_port(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.field_name == "s3_endpoint":
            raise ValueError("is empty; give host:port, for example 127.0.0.1:9000")
        if "/" in value:
            raise ValueError("give host:port without a scheme or a path; s3_secure chooses https")
        if value and not is_host(value, 443):
            raise ValueError(f"'{value[:200]}' is not host:port, for example 127.0.0.1:9000")
        return value


class NatsClientSettings(NatsServerSettings):
    """Where the event bus is."""

    nats_url: str = Field(
        "", description="nats://host:port, several with commas; empty: events stay in the event log only"
    )
    nats_user: str = Field("", description="user of the services on that server")
    nats_password: SecretStr = Field(SecretStr(""), description="password of that user")

    @field_validator("nats_url")
    @classmethod
    def _nats_scheme(cls, value: str) -> str:
        for each in value.split(",") if value else ():
            scheme, _, rest = each.strip().partition("://")
            if scheme not in ("nats", "tls"):
                raise ValueError("use nats://HOST:PORT or tls://HOST:PORT, several with commas")
            if not is_host(rest.rpartition("@")[2].rstrip("/"), 4222):
                raise ValueError("names no host and port; use nats://HOST:PORT or tls://HOST:PORT, several with commas")
        return value

    @model_validator(mode="after")
    def _nats_user_has_a_password(self) -> Self:
        if bool(self.nats_user) != bool(self.nats_password.get_secret_value()):
            raise ValueError("nats_user and nats_password go together: give both or none")
        return self


class NatsSettings(NatsClientSettings):
    """Where events are published, and what the stream keeps of them."""

    nats_max_age_days: float = Field(
        30.0, ge=0, le=3650, description="days for which the stream keeps an event; 0: for ever"
    )
    nats_max_mb: int = Field(
        512, ge=0, description="MiB that the stream keeps, then its oldest events go; 0: without end"
    )
    nats_replicas: int = Field(1, ge=1, le=5, description="servers that keep the stream; odd, at most those there are")

    @field_validator("nats_replicas")
    @classmethod
    def _nats_replicas_are_odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("is even, which survives no more than one server fewer; use 1, 3 or 5")
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


# Kubernetes gives every pod variables named after the Services around it (DATASET_SERVICE_HOST, DATASET_PORT_80_TCP).
_SERVICE_LINK = re.compile(r"(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)")

SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(settings_class: type[SettingsT], environ: Mapping[str, str] | None = None) -> SettingsT:
    """Reads a settings class from the environment; on a mistake prints one line a variable and exits with 2.

    A variable with the class's prefix that no field knows is a mistake too: a typo must not be ignored in silence.
    `environ` is what typo detection looks at, by default the environment of the process.
    """
    prefix = str(settings_class.model_config.get("env_prefix", ""))
    problems = _unknown_variables(settings_class, prefix, os.environ if environ is None else environ)
    settings: SettingsT | None = None
    try:
        settings = settings_class()
    except ValidationError as error:
        problems += [f"  {line}" for line in wrong_variables(prefix, error, settings_class.model_fields)]
    if settings is None or problems:
        raise SystemExit(_refused(problems))
    return settings


class WrongSetting(Exception):
    """A setting turned out to be wrong when it was put to use. field: as the settings class spells it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@contextmanager
def blaming(field: str, *errors: type[Exception]) -> Iterator[None]:
    """Turns the block's errors into WrongSetting of a field."""
    try:
        yield
    except errors as error:
        raise WrongSetting(field, str(error)) from error


def refuse(settings: BaseSettings, error: WrongSetting) -> int:
    """Prints the variable and what is wrong with it, as `load` does; the exit code."""
    prefix = str(settings.model_config.get("env_prefix", ""))
    return _refused([f"  {prefix}{error.field}".upper() + f": {error}"])


def _refused(problems: Sequence[str]) -> int:
    print("\n".join(["The settings are wrong:", *problems]), file=sys.stderr)
    return 2


def wrong_variables(prefix: str, error: ValidationError, fields: Mapping[str, FieldInfo]) -> list[str]:
    """A line for each wrong variable: its name and what is wrong with it. fields: in what is said of several together
    they get their variables' names."""
    return [_line(prefix, item, fields) for item in error.errors(include_url=False)]


def _unknown_variables(settings_class: type[BaseSettings], prefix: str, environ: Mapping[str, str]) -> list[str]:
    if not prefix:
        return []
    known = {f"{prefix}{name}".upper() for name in settings_class.model_fields}
    given = [name for name in environ if name.upper().startswith(prefix.upper()) and name.upper() not in known]
    unknown = [name for name in given if not _SERVICE_LINK.fullmatch(name.upper().removeprefix(prefix.upper()))]
    return [f"  {name}: no such setting" for name in sorted(unknown)]


def _line(prefix: str, item: Any, fields: Mapping[str, FieldInfo]) -> str:
    name = ".".join(str(part) for part in item["loc"])
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "string_pattern_mismatch" and name in fields and fields[name].description:
        # An expression says nothing to whom it would help.
        message = f"is not of that form: {fields[name].description}"
    if name:
        return f"{prefix}{name}".upper() + f": {message}"
    words = sorted(map(re.escape, fields), key=len, reverse=True)
    known = re.compile(rf"\b({'|'.join(words)})\b") if words else None
    return known.sub(lambda found: f"{prefix}{found[0]}".upper(), message) if known else message
