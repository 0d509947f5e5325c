"""The authorization process beside Envoy: `python -m gateway.app`."""

from __future__ import annotations

from gateway.api_keys import ApiKeyFile
from gateway.authz import SERVICE_NAME, AuthorizationServicer, Authorizer
from gateway.settings import Settings
from services.chassis import grpc_server, logging, telemetry
from services.chassis.settings import load


async def serve() -> int:
    """Reads the settings, builds the service and serves until SIGTERM."""
    settings = load(Settings)
    logging.configure(settings, service="gateway")
    telemetry.configure(settings, service="gateway")
    authorizer = Authorizer(ApiKeyFile(settings.api_keys_file), projects_claim=settings.jwt_projects_claim)
    token = settings.internal_token.get_secret_value() if settings.internal_token else ""
    servicer = AuthorizationServicer(authorizer, internal_token=token)
    return await grpc_server.serve(settings, servicer.register, service_names=[SERVICE_NAME])


def main() -> None:
    """Runs the process."""
    grpc_server.run(serve)


if __name__ == "__main__":
    main()
