"""The authorization process beside Envoy: `python -m gateway.app`. It also describes the public API by reflection."""

from __future__ import annotations

from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.registry.v1 import registry_service_pb2
from fiveshot.tagger.v1 import tagger_service_pb2
from fiveshot.trainer.v1 import training_service_pb2

from gateway.api_keys import ApiKeyFile
from gateway.authz import SERVICE_NAME, AuthorizationServicer, Authorizer
from gateway.settings import Settings
from services.chassis import grpc_server, logging, telemetry
from services.chassis.settings import load

_API = (dataset_service_pb2, tagger_service_pb2, training_service_pb2, registry_service_pb2)
REFLECTED = tuple(each.full_name for module in _API for each in module.DESCRIPTOR.services_by_name.values())


async def serve() -> int:
    """Reads the settings, builds the service and serves until SIGTERM."""
    settings = load(Settings)
    logging.configure(settings, service="gateway")
    telemetry.configure(settings, service="gateway")
    authorizer = Authorizer(ApiKeyFile(settings.api_keys_file), projects_claim=settings.jwt_projects_claim)
    token = settings.internal_token.get_secret_value() if settings.internal_token else ""
    servicer = AuthorizationServicer(authorizer, internal_token=token)
    return await grpc_server.serve(settings, servicer.register, service_names=[SERVICE_NAME], reflected=REFLECTED)


def main() -> None:
    """Runs the process."""
    grpc_server.run(serve)


if __name__ == "__main__":
    main()
