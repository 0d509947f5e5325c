"""Two replicas of a service behind the gateway: one ends, and no call fails."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from pydantic import SecretStr

from gateway import api_keys, envoy_config
from gateway.authz import SERVICE_NAME as AUTHZ_NAME
from gateway.authz import AuthorizationServicer, Authorizer
from gateway.settings import Settings
from gateway.supervisor import servers
from services.chassis import grpc_server
from tests.fakes import recording_dataset
from tests.fixtures.processes import running
from tests.integration.gateway.conftest import TOKEN
from tests.integration.gateway.test_edge import call

CALLERS, CALLS = 16, 20


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    public, admin, absent = servers.free_ports(3)
    return Settings(
        public_listen=f"127.0.0.1:{public}",
        admin_listen=f"127.0.0.1:{admin}",
        access_log_file=str(tmp_path / "access.log"),
        internal_token=SecretStr(TOKEN),
        tagger_target=f"127.0.0.1:{absent}",
        trainer_target=f"127.0.0.1:{absent}",
        registry_target=f"127.0.0.1:{absent}",
        rate_limit_per_second=0,
        address_limit_per_second=0,
        shutdown_grace_s=10,
        shutdown_notice_s=2,
    )


@pytest.mark.parametrize("again", [False, True], ids=["one ends", "one is restarted"])
async def test_no_call_fails_when_one_of_two_replicas_ends(settings: Settings, tmp_path: Path, again: bool) -> None:
    key = api_keys.new_secret()
    api_keys.save(tmp_path / "keys.yaml", [api_keys.ApiKey("good", api_keys.digest(key), ("acme",))])
    async with AsyncExitStack() as stack:
        replicas = [recording_dataset.RecordingDatasetServicer() for _ in range(2)]
        ending = AsyncExitStack()
        kept = await stack.enter_async_context(_serve(settings, replicas[0]))
        ends = await ending.enter_async_context(_serve(settings, replicas[1]))
        authorizer = Authorizer(api_keys.ApiKeyFile(tmp_path / "keys.yaml"), projects_claim="projects")
        authorization = AuthorizationServicer(authorizer, internal_token=TOKEN)
        authz = await stack.enter_async_context(
            grpc_server.start_server(settings, authorization.register, service_names=[AUTHZ_NAME], bare=True)
        )
        targets = {"dataset_target": f"{kept.target},{ends.target}", "authz_target": authz.target}
        envoy_config.write(settings.model_copy(update=targets), tmp_path / "envoy.json")
        ports = {name: int(value.rpartition(":")[2]) for name, value in _doors(settings).items()}
        spec = servers.envoy(tmp_path / "envoy.json", ports=ports, data_dir=tmp_path)
        await asyncio.to_thread(stack.enter_context, running(spec))
        half, gone = asyncio.Event(), asyncio.Event()
        outcomes: Counter[str] = Counter()
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(settings.public_listen))

        async def caller() -> None:
            for _ in range(CALLS):
                outcomes[await call(channel, key)] += 1
                if outcomes.total() > CALLERS * CALLS / 4:
                    half.set()
            # And on, until the one is gone.
            while not gone.is_set():
                outcomes[await call(channel, key)] += 1

        callers = [asyncio.create_task(caller()) for _ in range(CALLERS)]
        await half.wait()
        assert replicas[1].metadata, "the second replica has had no call"
        await ending.aclose()
        gone.set()
        if again:
            same = settings.model_copy(update={"listen": ends.target})
            await stack.enter_async_context(_serve(same, replicas[1]))
        await asyncio.gather(*callers)
        # What comes afterwards knows the dead one only by its absence.
        for _ in range(5):
            outcomes.update(await asyncio.gather(*(call(channel, key) for _ in range(CALLERS))))
        assert set(outcomes) == {"OK"}, outcomes
        assert outcomes.total() >= CALLERS * (CALLS + 5)


def _serve(settings: Settings, servicer: recording_dataset.RecordingDatasetServicer):  # type: ignore[no-untyped-def]
    return grpc_server.start_server(settings, servicer.register, service_names=[recording_dataset.SERVICE_NAME])


def _doors(settings: Settings) -> dict[str, str]:
    return {"listener": settings.public_listen, "admin": settings.admin_listen}
