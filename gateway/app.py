"""The authorization process beside Envoy: `python -m gateway.app`. It also describes the public API by reflection."""

from __future__ import annotations

from functools import partial
from typing import NoReturn

import httpx
from fiveshot.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.notifier.v1 import notifier_service_pb2
from fiveshot.registry.v1 import registry_service_pb2
from fiveshot.tagger.v1 import tagger_service_pb2
from fiveshot.trainer.v1 import training_service_pb2

from gateway.api_keys import ApiKeyFile
from gateway.audit import GatewayAudit
from gateway.authz import SERVICE_NAME, AuthorizationServicer, Authorizer
from gateway.console_sessions import ConsoleSessions
from gateway.http_rules import http_rules
from gateway.json_check import JsonCheck
from gateway.oidc.provider import Client, Provider
from gateway.oidc.sign_in import OidcSignIn
from gateway.sessions import SessionFolder
from gateway.settings import SERVICES, Settings
from gateway.stack_health import StackHealth
from services.chassis import grpc_client
from services.chassis.audit.wire import over_grpc
from services.chassis.callers import OwnToken
from services.chassis.logging import get_logger
from services.chassis.service import Service, run
from services.chassis.setting_loading import blaming

log = get_logger(__name__)

_API = (dataset_service_pb2, tagger_service_pb2, training_service_pb2, registry_service_pb2, notifier_service_pb2)
REFLECTED = (
    *(each.full_name for module in _API for each in module.DESCRIPTOR.services_by_name.values()),
    # Without the intake, which is no method of callers.
    audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"].full_name,
)


# What a browser waits for at most when the provider is slow.
_PROVIDER_S = 5.0


def build(settings: Settings) -> Service:
    """Everything that the process is made of. It needs no server."""
    sessions = SessionFolder(settings.sessions_dir, hours=settings.session_hours)
    keys = ApiKeyFile(settings.api_keys_file)
    with blaming("api_keys_file", ValueError, OSError):
        keys.begin()
    if settings.api_keys_file is not None and not settings.api_keys_file.exists():
        log.warning(
            "api_keys_file_missing", path=str(settings.api_keys_file), remedy="no key is known until it is there"
        )
    authorizer = Authorizer(
        keys,
        projects_claim=settings.jwt_projects_claim,
        role_claim=settings.jwt_role_claim,
        sessions=sessions,
    )
    bodies = JsonCheck(http_rules(REFLECTED), max_bytes=settings.max_json_kb * 1024) if settings.check_json else None
    health = StackHealth({name: getattr(settings, f"{name}_target") for name in SERVICES})
    registry = grpc_client.channel(settings.registry_target, settings)
    intake = audit_service_pb2_grpc.AuditIntakeServiceStub(registry)
    audit = GatewayAudit(over_grpc(intake.RecordCalls, audit_service_pb2.RecordCallsRequest))
    console = ConsoleSessions(authorizer, sessions, audit=audit)
    http = httpx.AsyncClient(timeout=_PROVIDER_S)
    oidc = OidcSignIn(
        _provider(settings, http),
        authorizer,
        sessions,
        public_url=settings.oidc_public_url,
        scopes=settings.oidc_scopes,
        name=settings.oidc_name or "OpenID",
        hours=settings.oidc_session_hours,
        audit=audit,
    )
    servicer = AuthorizationServicer(
        authorizer,
        internal_token=OwnToken(settings),
        bodies=bodies,
        health=health,
        console=console,
        oidc=oidc,
        audit=audit,
    )
    return Service(
        names=(SERVICE_NAME,),
        register=servicer.register,
        reflected=REFLECTED,
        background=(audit.run,),
        close=(http.aclose, audit.close, health.close, partial(registry.close, None)),
        bare=True,
    )


def _provider(settings: Settings, http: httpx.AsyncClient) -> Provider | None:
    if not settings.oidc_issuer:
        return None
    file = settings.oidc_client_secret_file
    secret = (lambda: file.read_text(encoding="utf-8").strip()) if file else None
    return Provider(settings.oidc_issuer, Client(settings.oidc_client_id, secret), http)


def main() -> NoReturn:
    """The process."""
    run("gateway", Settings, build)


if __name__ == "__main__":
    main()
