"""The gateway as it runs in production: the real Envoy and the authorization service, before a recording service."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr

from gateway import api_keys, envoy_config
from gateway.app import REFLECTED
from gateway.authz import SERVICE_NAME as AUTHZ_NAME
from gateway.authz import AuthorizationServicer, Authorizer
from gateway.console_sessions import ConsoleSessions
from gateway.http_rules import http_rules
from gateway.json_check import JsonCheck
from gateway.oidc.provider import Client, Provider
from gateway.oidc.sign_in import OidcSignIn
from gateway.sessions import SessionFolder
from gateway.settings import SERVICES, Settings
from gateway.stack_health import StackHealth
from gateway.supervisor import servers
from services.chassis import grpc_server
from tests.fakes import recording_dataset
from tests.fixtures.openid_provider import CLIENT, SECRET, openid_provider
from tests.fixtures.processes import running

ISSUER = "https://issuer.example"
TOKEN = "inside-token"


@dataclass
class Gateway:
    """A running gateway. target: host:port of the public door."""

    target: str
    admin_port: int
    key: str
    expired_key: str
    keys_file: Path
    servicer: recording_dataset.RecordingDatasetServicer
    signer: rsa.RSAPrivateKey
    sessions: SessionFolder

    def token(self, **claims: Any) -> str:
        """A signed token; valid unless the claims say otherwise."""
        body = {"iss": ISSUER, "sub": "ada", "aud": "fiveshot", "exp": time.time() + 600, "projects": ["acme"]} | claims
        return jwt.encode(body, self.signer, algorithm="RS256", headers={"kid": "one"})


@pytest.fixture
async def gateway(request: pytest.FixtureRequest) -> AsyncIterator[Gateway]:
    """A gateway whose other services are absent, so that their absence can be seen as well. Its parameter: settings."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        signer = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        jwks = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(signer.public_key()))
        (folder / "jwks.json").write_text(json.dumps({"keys": [jwks | {"kid": "one", "alg": "RS256", "use": "sig"}]}))
        key, expired = api_keys.new_secret(), api_keys.new_secret()
        keys_file = folder / "keys.yaml"
        api_keys.save(
            keys_file,
            [
                api_keys.ApiKey("good", api_keys.digest(key), ("acme",)),
                api_keys.ApiKey("old", api_keys.digest(expired), ("acme",), datetime(2020, 1, 1, tzinfo=UTC)),
            ],
        )
        public, admin, absent = servers.free_ports(3)
        settings = _settings(folder, public, admin, absent).model_copy(update=getattr(request, "param", {}))
        servicer = recording_dataset.RecordingDatasetServicer()
        dataset = await stack.enter_async_context(
            grpc_server.start_server(settings, servicer.register, service_names=[recording_dataset.SERVICE_NAME])
        )
        sessions = SessionFolder(folder / "sessions")
        authorizer = Authorizer(api_keys.ApiKeyFile(keys_file), projects_claim="projects", sessions=sessions)
        targets = {"dataset_target": dataset.target}
        behind = {name: getattr(settings, f"{name}_target") for name in SERVICES} | {"dataset": dataset.target}
        health = StackHealth(behind)
        stack.push_async_callback(health.close)
        bodies = JsonCheck(http_rules(REFLECTED), max_bytes=settings.max_json_kb * 1024)
        console = ConsoleSessions(authorizer, sessions)
        provider = stack.enter_context(openid_provider())
        http = await stack.enter_async_context(httpx.AsyncClient())
        oidc = OidcSignIn(
            Provider(provider.issuer, Client(CLIENT, lambda: SECRET), http),
            authorizer,
            sessions,
            public_url=f"http://127.0.0.1:{public}",
            name="Example",
        )
        authorization = AuthorizationServicer(
            authorizer, internal_token=TOKEN, bodies=bodies, health=health, console=console, oidc=oidc
        )
        authz = await stack.enter_async_context(
            grpc_server.start_server(
                settings, authorization.register, service_names=[AUTHZ_NAME], reflected=REFLECTED, bare=True
            )
        )
        targets["authz_target"] = authz.target
        config = folder / "envoy.json"
        envoy_config.write(settings.model_copy(update=targets), config)
        spec = servers.envoy(config, ports={"listener": public, "admin": admin}, data_dir=folder)
        # In a thread, because the services answer Envoy's first health checks from this loop.
        await asyncio.to_thread(stack.enter_context, running(spec))
        yield Gateway(f"127.0.0.1:{public}", admin, key, expired, keys_file, servicer, signer, sessions)


def _settings(folder: Path, public: int, admin: int, absent: int) -> Settings:
    assert not [name for name in os.environ if name.startswith("GATEWAY_")]
    return Settings(
        public_listen=f"127.0.0.1:{public}",
        admin_listen=f"127.0.0.1:{admin}",
        access_log_file=str(folder / "access.log"),
        internal_token=SecretStr(TOKEN),
        jwks_file=folder / "jwks.json",
        jwt_issuer=ISSUER,
        jwt_audiences=["fiveshot"],
        tagger_target=f"127.0.0.1:{absent}",
        trainer_target=f"127.0.0.1:{absent}",
        registry_target=f"127.0.0.1:{absent}",
        notifier_target=f"127.0.0.1:{absent}",
        cors_origins=["https://app.example"],
        rate_limit_per_second=50,
        rate_limit_burst=60,
        unknown_limit_per_second=20,
        unknown_limit_burst=100,
        shutdown_grace_s=0,
    )
