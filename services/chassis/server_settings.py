"""Settings of how a process reaches servers that others run: TLS, identities, several addresses.

Each group is a part of one in `settings.py` or `store_settings.py`, so no two may have a validator of one name.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, Field, SecretStr, ValidationInfo, field_validator, model_validator

from services.chassis.setting_checks import check_effect, check_url
from services.chassis.setting_types import AuthorityFile, GivenFile, check_pair


class OtlpSettings(BaseModel):
    """Where spans go, and how many there are."""

    otlp_endpoint: str = Field("", description="OpenTelemetry collector, gRPC, host:port; empty turns export off")
    otlp_secure: bool = Field(False, description="speak TLS with the collector")
    otlp_ca_file: AuthorityFile = Field(None, description="PEM file of who signs the collector; empty: the system's")
    otlp_cert_file: GivenFile = Field(None, description="PEM certificate that this process shows the collector")
    otlp_key_file: GivenFile = Field(None, validate_default=True, description="PEM key of that certificate")
    otlp_headers: SecretStr = Field(
        SecretStr(""), description="headers for the collector, such as a token: name=value, several with commas"
    )
    trace_share: float = Field(
        1.0, ge=0, le=1, description="share of the traces that begin here which are recorded; others go on as they came"
    )

    @field_validator("otlp_endpoint")
    @classmethod
    def _collector_is_no_url(cls, value: str) -> str:
        if "/" in value:
            raise ValueError("give host:port without a scheme or a path; otlp_secure chooses TLS")
        return value

    @field_validator("otlp_headers")
    @classmethod
    def _are_headers(cls, value: SecretStr) -> SecretStr:
        header_pairs(value.get_secret_value())
        return value

    @field_validator("otlp_key_file")
    @classmethod
    def _key_of_otlp_cert(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        check_pair(info.data.get("otlp_cert_file"), value)
        return value

    @model_validator(mode="after")
    def _otlp_settings_are_heard(self) -> Self:
        tls = ("otlp_ca_file", "otlp_cert_file", "otlp_key_file")
        if not self.otlp_endpoint:
            check_effect(self, ("otlp_secure", *tls, "otlp_headers", "trace_share"), needs="otlp_endpoint")
        if not self.otlp_secure:
            check_effect(self, tls, needs="otlp_secure=true")
        return self

    @property
    def otlp_header_pairs(self) -> tuple[tuple[str, str], ...]:
        """The headers as gRPC takes them."""
        return header_pairs(self.otlp_headers.get_secret_value())


def header_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """`name=value,name=value` apart, names in small letters. Raises ValueError, without the values."""
    pairs = []
    for number, part in enumerate(filter(None, (each.strip() for each in text.split(","))), 1):
        name, equals, value = part.partition("=")
        name = name.strip().lower()
        if not equals or not name or not all(letter.isalnum() or letter in "-_." for letter in name):
            raise ValueError(f"header {number} is not name=value")
        if not value.strip().isascii() or not value.strip().isprintable():
            raise ValueError(f"the value of {name} holds what no header can")
        pairs.append((name, value.strip()))
    return tuple(pairs)


KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 40_000,
}
"""A machine that is gone says nothing: by the system's own settings its connections are waited on for two hours."""


class DatabaseServerSettings(BaseModel):
    """How PostgreSQL is reached; without a meaning for SQLite. What stands in the address wins."""

    database_sslmode: Literal["", "disable", "allow", "prefer", "require", "verify-ca", "verify-full"] = Field(
        "", description="TLS with PostgreSQL; verify-full also checks its name; empty: as the address or libpq says"
    )
    database_ca_file: AuthorityFile = Field(None, description="PEM file of who signs PostgreSQL's certificate")
    database_cert_file: GivenFile = Field(None, description="PEM certificate that this process shows PostgreSQL")
    database_key_file: GivenFile = Field(None, validate_default=True, description="PEM key of that certificate")
    database_pool_size: int = Field(
        5, ge=1, le=200, description="connections that a replica keeps; under load it opens as many again"
    )

    @field_validator("database_key_file")
    @classmethod
    def _key_of_database_cert(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        check_pair(info.data.get("database_cert_file"), value)
        return value

    def database_options(self) -> dict[str, str]:
        """The settings above as libpq's options, and how a server that went silent is found out."""
        options = {
            **KEEPALIVES,
            "sslmode": self.database_sslmode,
            "sslrootcert": self.database_ca_file,
            "sslcert": self.database_cert_file,
            "sslkey": self.database_key_file,
        }
        return {name: str(value) for name, value in options.items() if value}


def with_options(url: str, options: dict[str, str]) -> str:
    """A database address with options for libpq added; those it has stay."""
    bare, _, query = url.partition("?")
    given = {part.partition("=")[0] for part in query.split("&")}
    added = [f"{name}={quote(value, safe='/')}" for name, value in options.items() if name not in given]
    parts = [part for part in (query, *added) if part]
    return f"{bare}?{'&'.join(parts)}" if parts else bare


class S3ServerSettings(BaseModel):
    """How the object store is reached, and who this process is there."""

    s3_identity: Literal["keys", "web", "aws"] = Field(
        "keys",
        description="keys: s3_access_key and s3_secret_key; web: a token of the cluster, exchanged at s3_identity_url; "
        "aws: what Amazon gives the pod, the container or the machine",
    )
    s3_identity_url: str = Field(
        "", description="https://HOST of the exchange, for web; for aws only where it is not Amazon's own"
    )
    s3_token_file: GivenFile = Field(None, description="file of the token, read again for each exchange; for web")
    s3_role: str = Field("", description="role to take with the token, where the exchange wants one; for web")
    s3_ca_file: AuthorityFile = Field(
        None, description="PEM file of who signs the store's certificate; empty: the system's"
    )
    s3_addressing: Literal["auto", "path", "virtual"] = Field(
        "auto", description="where the bucket's name stands; auto: in the host at Amazon, in the path elsewhere"
    )

    @field_validator("s3_identity_url")
    @classmethod
    def _s3_identity_is_url(cls, value: str) -> str:
        if value:
            check_url(value)
        return value.rstrip("/")

    @model_validator(mode="after")
    def _s3_web_is_whole(self) -> Self:
        if self.s3_identity == "web" and not (self.s3_identity_url and self.s3_token_file):
            raise ValueError("s3_identity=web needs s3_identity_url and s3_token_file")
        if self.s3_identity != "web":
            check_effect(self, ("s3_role", "s3_token_file"), needs="s3_identity=web")
        if self.s3_identity == "keys":
            check_effect(self, ("s3_identity_url",), needs="s3_identity=web or s3_identity=aws")
        return self


class NatsServerSettings(BaseModel):
    """How the event bus is reached, and who this process is there."""

    nats_credentials_file: GivenFile = Field(
        None, description="file of a NATS user with its JWT and key (.creds); in place of user and password"
    )
    nats_ca_file: AuthorityFile = Field(None, description="PEM file of who signs the servers' certificates")
    nats_cert_file: GivenFile = Field(None, description="PEM certificate that this process shows the servers")
    nats_key_file: GivenFile = Field(None, validate_default=True, description="PEM key of that certificate")

    @field_validator("nats_credentials_file")
    @classmethod
    def _nats_credentials_hold_a_user(cls, value: Path | None) -> Path | None:
        if value is not None:
            text = value.read_text(encoding="utf-8", errors="replace")
            if "BEGIN NATS USER JWT" not in text or "BEGIN USER NKEY SEED" not in text:
                raise ValueError(f"{value}: holds no NATS user's JWT and key")
        return value

    @field_validator("nats_key_file")
    @classmethod
    def _key_of_nats_cert(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        check_pair(info.data.get("nats_cert_file"), value)
        return value

    def nats_tls(self) -> ssl.SSLContext | None:
        """The TLS of the connections; None where no file is named: then the addresses say whether there is any."""
        if not (self.nats_ca_file or self.nats_cert_file):
            return None
        context = ssl.create_default_context(cafile=str(self.nats_ca_file) if self.nats_ca_file else None)
        if self.nats_cert_file and self.nats_key_file:
            context.load_cert_chain(self.nats_cert_file, self.nats_key_file)
        return context
