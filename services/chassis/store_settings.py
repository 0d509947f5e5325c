"""Settings of what a service keeps its things in: the database, the object store, the event bus."""

from __future__ import annotations

from pathlib import Path
from typing import Self
from urllib.parse import parse_qsl

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from services.chassis.addresses import is_host
from services.chassis.server_settings import (
    DatabaseServerSettings,
    NatsServerSettings,
    S3ServerSettings,
    with_options,
)
from services.chassis.setting_checks import (
    check_bucket,
    check_effect,
    check_postgres_options,
    check_printable,
    check_sqlite_file,
)


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

    @model_validator(mode="after")
    def _database_settings_are_heard(self) -> Self:
        files = ("database_ca_file", "database_cert_file", "database_key_file")
        if self.database_url.startswith("sqlite"):
            check_effect(self, ("database_sslmode", *files), needs="a database_url of PostgreSQL")
        mode = dict(parse_qsl(self.database_url.partition("?")[2])).get("sslmode", self.database_sslmode)
        if mode not in ("require", "verify-ca", "verify-full"):
            # libpq then looks at no certificate, and takes whoever answers for the server.
            check_effect(self, files[:1], needs="database_sslmode=verify-full")
        if mode == "disable":
            check_effect(self, files[1:], needs="database_sslmode=verify-full")
        return self

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

    @model_validator(mode="after")
    def _s3_settings_are_heard(self) -> Self:
        if self.s3_identity != "keys":
            check_effect(self, ("s3_access_key", "s3_secret_key"), needs="s3_identity=keys")
        elif not self.s3_secure:
            # Whoever gives another identity may be reached over TLS where the store is not.
            check_effect(self, ("s3_ca_file",), needs="s3_secure=true")
        if not self.s3_public_endpoint:
            check_effect(self, ("s3_public_secure",), needs="s3_public_endpoint")
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
        if self.nats_user and self.nats_credentials_file:
            raise ValueError("nats_user and nats_credentials_file name two users; give one of them")
        if not self.nats_url:
            files = ("nats_credentials_file", "nats_ca_file", "nats_cert_file", "nats_key_file")
            check_effect(self, ("nats_user", "nats_password", *files), needs="nats_url")
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

    @model_validator(mode="after")
    def _nats_stream_is_kept(self) -> Self:
        if not self.nats_url:
            check_effect(self, ("nats_max_age_days", "nats_max_mb", "nats_replicas"), needs="nats_url")
        return self
