"""The authorization process beside Envoy: `python -m gateway.app`. It also describes the public API by reflection."""

from __future__ import annotations

from typing import NoReturn

from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.notifier.v1 import notifier_service_pb2
from fiveshot.registry.v1 import registry_service_pb2
from fiveshot.tagger.v1 import tagger_service_pb2
from fiveshot.trainer.v1 import training_service_pb2

from gateway.api_keys import ApiKeyFile
from gateway.authz import SERVICE_NAME, AuthorizationServicer, Authorizer
from gateway.console_sessions import ConsoleSessions
from gateway.http_rules import http_rules
from gateway.json_check import JsonCheck
from gateway.sessions import SessionFolder
from gateway.settings import SERVICES, Settings
from gateway.stack_health import StackHealth
from services.chassis.callers import OwnToken
from services.chassis.service import Service, run

_API = (dataset_service_pb2, tagger_service_pb2, training_service_pb2, registry_service_pb2, notifier_service_pb2)
REFLECTED = tuple(each.full_name for module in _API for each in module.DESCRIPTOR.services_by_name.values())


def build(settings: Settings) -> Service:
    """Everything that the process is made of. It needs no server."""
    sessions = SessionFolder(settings.sessions_dir, hours=settings.session_hours)
    authorizer = Authorizer(
        ApiKeyFile(settings.api_keys_file),
        projects_claim=settings.jwt_projects_claim,
        role_claim=settings.jwt_role_claim,
        sessions=sessions,
    )
    bodies = JsonCheck(http_rules(REFLECTED)) if settings.check_json else None
    health = StackHealth({name: getattr(settings, f"{name}_target") for name in SERVICES})
    console = ConsoleSessions(authorizer, sessions)
    servicer = AuthorizationServicer(
        authorizer, internal_token=OwnToken(settings), bodies=bodies, health=health, console=console
    )
    return Service(
        names=(SERVICE_NAME,), register=servicer.register, reflected=REFLECTED, close=(health.close,), bare=True
    )


def main() -> NoReturn:
    """The process."""
    run("gateway", Settings, build)


if __name__ == "__main__":
    main()
