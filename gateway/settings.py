"""Settings of the gateway: what Envoy's configuration is rendered from, and what the authorization service reads."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from gateway.oidc.address import check_address
from services.chassis.addresses import Target, split_host_port
from services.chassis.setting_checks import check_effect, check_folder, check_origin, check_printable, check_url
from services.chassis.setting_types import Listed, NamedFile
from services.chassis.settings import BaseServiceSettings, service_config

SERVICES = ("dataset", "tagger", "trainer", "registry", "notifier")
"""The services behind; each has a `…_target`."""


# Envoy counts in 32 bits.
_MOST_CALLS = 2**32 - 1
# What the kernel takes for the path of a Unix socket.
_LONGEST_SOCKET = 107


class Settings(BaseServiceSettings):
    """Variables with the prefix GATEWAY_. `listen` is where the authorization service serves; Envoy asks it there."""

    model_config = service_config("GATEWAY_")

    # Envoy's own doors.
    public_listen: str = Field("127.0.0.1:7437", description="host:port where callers reach the gateway")
    admin_listen: str = Field(
        "", description="host:port of Envoy's admin page, which shows secrets to all who reach it; empty: none"
    )
    envoy_metrics_listen: str = Field(
        "", description="host:port of Envoy's own metrics for Prometheus, for everybody who reaches it; empty: none"
    )
    envoy_admin_socket: Path = Field(
        Path("/tmp/fiveshot-envoy-admin.sock"),
        description="Unix socket that Envoy makes for itself, from which that page is read; not with admin_listen",
    )
    trace_callers: bool = Field(
        True, description="go on with the traces of callers, by their traceparent; false: every trace begins here"
    )
    tls_cert_file: NamedFile = Field(None, description="certificate chain in PEM; with tls_key_file turns TLS on")
    tls_key_file: NamedFile = Field(None, description="private key in PEM")
    cors_origins: Listed = Field(
        default_factory=list, description="origins, with commas or as a JSON list, whose pages may call"
    )
    access_log_file: str = Field("/dev/stdout", description="file of the access log, one JSON object a line")

    # The services behind, host:port each.
    authz_target: str = Field("127.0.0.1:7455", description="host:port of the authorization service")
    dataset_target: str = Field("127.0.0.1:7451", description="host:port of the dataset service; several with commas")
    tagger_target: str = Field("127.0.0.1:7452", description="host:port of the tagger service; several with commas")
    trainer_target: str = Field("127.0.0.1:7453", description="host:port of the trainer service; several with commas")
    registry_target: Target = Field(
        "127.0.0.1:7454", description="host:port of the registry service; several with commas"
    )
    notifier_target: str = Field("127.0.0.1:7457", description="host:port of the notifier service; several with commas")

    # Who may call.
    api_keys_file: NamedFile = Field(None, description="YAML file of API keys; see gateway/api_keys.py")
    jwks_file: NamedFile = Field(None, description="JSON Web Key Set of the token issuer; turns JWT on")
    jwks_uri: str = Field("", description="the same over the network; turns JWT on")
    jwt_issuer: str = Field("", description="`iss` that a token must carry")
    jwt_audiences: Listed = Field(
        default_factory=list, description="with commas or a JSON list; a token must carry one as `aud`"
    )
    jwt_projects_claim: str = Field(
        "projects", min_length=1, description="claim with the projects: a list, or words in one string"
    )
    jwt_role_claim: str = Field(
        "role",
        pattern=r"^[^.]+(\.[^.]+)*$",
        description="claim with the role, reader, editor or admin; dots lead into objects: realm_access.roles",
    )

    sessions_dir: Path | None = Field(
        None, description="folder of browser sessions, which all replicas share; empty: no sign-in to the console"
    )
    session_hours: float = Field(72, ge=0.1, le=24 * 90, description="hours after which a browser must sign in again")
    console: bool = Field(True, description="serve the console at /")
    reference: bool = Field(True, description="serve the API's reference at /docs and /openapi.json, to everybody")

    # Signing in to the console at an identity provider.
    oidc_issuer: str = Field(
        "", description="OpenID provider where browsers sign in to the console, as it names itself; empty: none"
    )
    oidc_client_id: str = Field("", description="id of the console as a client of that provider")
    oidc_client_secret_file: NamedFile = Field(
        None, description="file with its secret, read at each sign-in; none: a public client, by PKCE alone"
    )
    oidc_public_url: str = Field("", description="where browsers reach the gateway: https://fiveshot.example.com")
    oidc_scopes: str = Field("openid profile", description="scopes to ask for; openid must be among them")
    oidc_name: str = Field("", max_length=60, description="how the sign-in page calls the provider")
    oidc_session_hours: float = Field(
        8, ge=0.1, le=24 * 90, description="hours after which a browser must go to the provider again"
    )

    # How much they may ask; all by Envoy.
    trusted_proxies: int = Field(
        0,
        ge=0,
        le=10,
        description="load balancers in front that append to X-Forwarded-For; 0: none",
    )
    address_limit_per_second: int = Field(
        1000,
        ge=0,
        le=_MOST_CALLS,
        description="calls a second of one address, before anyone is known; 0 turns the limit off",
    )
    address_limit_burst: int = Field(2000, ge=1, le=_MOST_CALLS, description="calls that one address may make at once")
    unknown_limit_per_second: int = Field(
        50,
        ge=0,
        le=_MOST_CALLS,
        description="calls a second of one address whose credential must be looked up; 0: no limit",
    )
    unknown_limit_burst: int = Field(400, ge=1, le=_MOST_CALLS, description="such calls of one address at once")
    rate_limit_per_second: int = Field(
        200, ge=0, le=_MOST_CALLS, description="calls a second of one caller; 0 turns the limit off"
    )
    rate_limit_burst: int = Field(400, ge=1, le=_MOST_CALLS, description="calls that a caller may make at once")
    authorization_kept_s: float = Field(
        1.0, ge=0, le=60, description="seconds for which Envoy remembers that a credential was good; 0: it always asks"
    )
    max_json_kb: int = Field(256, ge=1, le=16_384, description="largest body of a JSON call, in KiB")
    max_upload_mb: int = Field(
        4096, ge=1, le=65_536, description="MiB that a body may announce; each service has limits of its own below"
    )
    max_header_kb: int = Field(32, ge=4, le=64, description="largest headers of a call altogether, in KiB")
    stalled_s: float = Field(
        60,
        ge=0.5,
        le=3600,
        description="seconds for which a JSON body or a download may stand still; then the call ends",
    )
    check_json: bool = Field(True, description="refuse JSON bodies with fields that the method does not have")

    @field_validator(
        "public_listen", "authz_target", "dataset_target", "tagger_target", "trainer_target",
        "registry_target", "notifier_target",
    )  # fmt: skip
    @classmethod
    def _host_port(cls, value: str) -> str:
        for each in value.split(","):
            if split_host_port(each)[1] == 0:
                raise ValueError(f"'{each}' names port 0, on which nobody would find it")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: list[str]) -> list[str]:
        for each in value:
            check_origin(each)
        return value

    @field_validator("envoy_admin_socket")
    @classmethod
    def _fits_a_socket(cls, value: Path) -> Path:
        if len(str(value).encode()) > _LONGEST_SOCKET:
            raise ValueError(f"is longer than the {_LONGEST_SOCKET} bytes that a socket's path may have")
        return value

    @field_validator("sessions_dir")
    @classmethod
    def _sessions_lie_in_a_folder(cls, value: Path | None) -> Path | None:
        if value is not None:
            check_folder(value, written=True)
        return value

    @field_validator("access_log_file", "oidc_name", "oidc_client_id")
    @classmethod
    def _one_line(cls, value: str, info: ValidationInfo) -> str:
        check_printable(value)
        if not value and info.field_name == "access_log_file":
            raise ValueError("is empty; name a file, or /dev/null for no log")
        return value

    @field_validator("jwks_uri")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value:
            check_url(value)
        return value

    @field_validator("admin_listen", "envoy_metrics_listen")
    @classmethod
    def _host_port_or_none(cls, value: str) -> str:
        if value:
            split_host_port(value)
        return value

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        if bool(self.tls_cert_file) != bool(self.tls_key_file):
            raise ValueError("tls_cert_file and tls_key_file go together: give both or none")
        if self.jwks_file and self.jwks_uri:
            raise ValueError("give jwks_file or jwks_uri, not both")
        if self.uses_jwt and not self.jwt_issuer:
            raise ValueError("jwt_issuer is needed with jwks_file or jwks_uri: a token of any issuer would pass")
        if not self.uses_jwt and (self.jwt_issuer or self.jwt_audiences):
            raise ValueError("jwt_issuer and jwt_audiences need jwks_file or jwks_uri: without keys no token is taken")
        return self

    @model_validator(mode="after")
    def _settings_are_heard(self) -> Self:
        if not self.uses_jwt:
            check_effect(self, ("jwt_projects_claim", "jwt_role_claim"), needs="jwks_file or jwks_uri")
        if self.admin_listen:
            check_effect(self, ("envoy_admin_socket",), needs="admin_listen left empty")
        elif not self.envoy_metrics_listen:
            check_effect(self, ("envoy_admin_socket",), needs="envoy_metrics_listen")
        if not self.oidc_issuer:
            named = ("client_id", "client_secret_file", "public_url", "scopes", "name", "session_hours")
            check_effect(self, [f"oidc_{each}" for each in named], needs="oidc_issuer")
        if self.sessions_dir is None:
            check_effect(self, ("session_hours",), needs="sessions_dir")
        for limit in ("address_limit", "unknown_limit", "rate_limit"):
            if not getattr(self, f"{limit}_per_second"):
                check_effect(self, (f"{limit}_burst",), needs=f"{limit}_per_second above 0")
        return self

    @field_validator("oidc_issuer", "oidc_public_url")
    @classmethod
    def _safe_address(cls, value: str) -> str:
        if value:
            check_address(value)
        return value

    @field_validator("oidc_public_url")
    @classmethod
    def _without_slash(cls, value: str) -> str:
        return value.rstrip("/")

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> Self:
        if self.oidc_issuer:
            needed = ("oidc_client_id", "oidc_public_url", "sessions_dir")
            missing = [name for name in needed if not getattr(self, name)]
            if missing:
                raise ValueError(f"oidc_issuer needs {', '.join(missing)} as well")
            if "openid" not in self.oidc_scopes.split():
                raise ValueError("oidc_scopes must hold openid")
        return self

    @property
    def uses_jwt(self) -> bool:
        """Whether tokens are checked."""
        return bool(self.jwks_file or self.jwks_uri)

    @property
    def uses_tls(self) -> bool:
        """Whether the public door speaks TLS."""
        return self.tls_cert_file is not None
