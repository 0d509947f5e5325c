"""What the variables that begin with FIVESHOT_ choose of `fiveshot up`, and which of them nobody reads."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gateway.supervisor.ports import DEFAULT_LISTEN
from services.chassis.addresses import split_host_port
from services.chassis.setting_checks import check_effect
from services.chassis.setting_loading import is_service_link, no_such_setting
from services.chassis.setting_types import Listed

_PREFIX = "FIVESHOT_"
_DATABASES = ("postgresql+psycopg://", "sqlite+aiosqlite:///")
CALLERS = ("SERVER", "API_KEY", "PROJECT", "CA_FILE", "DATA", "DEBUG")
"""What the command line and the Python client read."""
# Programs of the embedded servers, and what is for whoever works on the suite.
_OTHERS = ("BINARY_", "TEST_")


class StackSettings(BaseSettings):
    """Variables with the prefix FIVESHOT_: which parts run elsewhere."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    listen: str = Field("", description=f"host:port of the gateway; empty: {DEFAULT_LISTEN}, or a free port")
    s3_endpoint: str = Field("", description="host:port of a running S3 server; then SeaweedFS is not started")
    s3_access_key: str = Field("", description="access key of that server")
    s3_secret_key: SecretStr = Field(SecretStr(""), description="secret key of that server")
    s3_secure: bool = Field(False, description="use https to that server")
    s3_bucket: str = Field("fiveshot", description="bucket of the pictures and files; made when it is absent")
    nats_url: str = Field("", description="nats://host:port of a running NATS; then none is started")
    nats_user: str = Field("", description="user of the services on that server")
    nats_password: SecretStr = Field(SecretStr(""), description="password of that user")
    database_url: str = Field(
        "", description="postgresql+psycopg://…/fiveshot_{service}: a database per service instead of SQLite files"
    )
    catalogue: str = Field(
        "", description="TOML file of base models; empty: base_models.toml of the data folder, else the package's"
    )
    metrics: bool = Field(
        False, description="serve the metrics of every process; `fiveshot status --json` names the ports"
    )
    otlp_endpoint: str = Field("", description="OpenTelemetry collector, gRPC, host:port; empty: no spans are sent")
    trace_share: float = Field(1.0, ge=0, le=1, description="share of the traces that are recorded, where they begin")
    webhook_networks: Listed = Field(
        default_factory=list,
        description="private networks that webhooks may be sent to, also by http, such as 127.0.0.0/8; several with "
        "commas or as a JSON list; empty: public addresses by https only",
    )
    workers: int = Field(1, ge=0, le=64, description="worker processes to start")
    pretend: bool = Field(
        False, description="workers that only pretend to train, in seconds a job; what they make is marked as pretended"
    )
    threads: int = Field(0, ge=0, le=1024, description="CPU threads of a worker; 0: all cores")

    @field_validator("listen", "otlp_endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        if value:
            split_host_port(value)
        return value

    @field_validator("webhook_networks")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for each in value:
            try:
                ip_network(each)
            except ValueError:
                raise ValueError(f"'{each[:100]}' is no network, such as 127.0.0.0/8") from None
        return value

    @field_validator("catalogue")
    @classmethod
    def _file(cls, value: str) -> str:
        if value and not Path(value).is_file():
            raise ValueError(f"there is no file {value}")
        return value

    @field_validator("s3_endpoint")
    @classmethod
    def _s3_address(cls, value: str) -> str:
        if "/" in value:
            raise ValueError("give host:port without a scheme or a path; s3_secure chooses https")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.database_url and not self.database_url.startswith(_DATABASES):
            raise ValueError("database_url is of no database that is known; use postgresql+psycopg://…/{service}")
        if self.nats_url and not self.nats_url.startswith(("nats://", "tls://")):
            raise ValueError("nats_url is no address of NATS; use nats://HOST:PORT")
        if self.database_url and "{service}" not in self.database_url:
            raise ValueError("FIVESHOT_DATABASE_URL must hold {service}, because each service has its own database")
        if self.s3_endpoint and not (self.s3_access_key and self.s3_secret_key.get_secret_value()):
            raise ValueError("FIVESHOT_S3_ENDPOINT needs FIVESHOT_S3_ACCESS_KEY and FIVESHOT_S3_SECRET_KEY")
        if not self.s3_endpoint:
            check_effect(self, ("s3_access_key", "s3_secret_key", "s3_secure"), needs="s3_endpoint")
        if not self.nats_url:
            check_effect(self, ("nats_user", "nats_password"), needs="nats_url")
        if not self.otlp_endpoint:
            check_effect(self, ("trace_share",), needs="otlp_endpoint")
        if bool(self.nats_user) != bool(self.nats_password.get_secret_value()):
            raise ValueError("nats_user and nats_password go together: give both or none")
        return self


class UnknownVariable(Exception):
    """Nobody reads a variable; the text is one for people."""


def refuse_unknown(names: Iterable[str]) -> None:
    """Raises UnknownVariable when one of the variables has the stack's prefix and nobody reads it: a typo, most likely.

    names: of all variables of the environment.
    """
    known = {f"{_PREFIX}{name.upper()}" for name in (*StackSettings.model_fields, *CALLERS)}
    ours = {name for name in names if name.upper().startswith(_PREFIX) and name.upper() not in known}
    left = [
        name
        for name in sorted(ours)
        if not name.upper().removeprefix(_PREFIX).startswith(_OTHERS) and not is_service_link(name, _PREFIX)
    ]
    if left:
        raise UnknownVariable("; ".join(f"{name}: {no_such_setting(name, _PREFIX, known)}" for name in left))
