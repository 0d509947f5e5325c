"""A trainer, its servers and workers as processes that can be killed one by one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fiveshot.trainer.v1 import training_service_pb2_grpc
from pydantic import SecretStr

from gateway.supervisor import servers
from gateway.supervisor.servers import ServerSpec
from services.chassis.grpc_client import channel
from services.chassis.store_settings import S3Settings
from tests.chaos.victims import Victim, python_process
from tests.fixtures.patience import scaled
from tests.fixtures.preloaded import Preloaded
from tests.fixtures.servers import NATS_PASSWORD, nats_address

TRAINER = "services.trainer.app"
SIMULATED_WORKER = "tests.chaos.worker_process"
KEYS = ("chaos-key", "chaos-secret-0123456789")


@dataclass
class World:
    """Everything that runs, and how it is reached."""

    victims: dict[str, Victim]
    stub: training_service_pb2_grpc.TrainingServiceAsyncStub
    trainer_target: str
    s3: S3Settings
    nats_url: str
    database_url: str


@asynccontextmanager
async def chaos_world(
    folder: Path,
    database_url: str,
    dataset_target: str,
    catalogue: Path,
    origin: Preloaded,
    *,
    simulated_workers: int,
    lease_s: float = scaled(3.0),
    postgres: ServerSpec | None = None,
) -> AsyncIterator[World]:
    """Starts all victims; kills them at the end. origin: has loaded what is ours of them.

    postgres: the server behind `database_url`, to be one of them.
    """
    s3_spec = servers.seaweedfs(folder / "s3", access_key=KEYS[0], secret_key=KEYS[1])
    nats_spec = servers.nats(folder / "nats", password=NATS_PASSWORD)
    trainer_port = servers.free_ports(1)[0]
    target = f"{servers.HOST}:{trainer_port}"
    s3 = S3Settings(
        s3_endpoint=f"{servers.HOST}:{s3_spec.ports['s3']}",
        s3_access_key=KEYS[0],
        s3_secret_key=SecretStr(KEYS[1]),
        s3_bucket="chaos",
    )
    nats_url = nats_address(nats_spec)
    store = {
        "S3_ENDPOINT": s3.s3_endpoint,
        "S3_ACCESS_KEY": KEYS[0],
        "S3_SECRET_KEY": KEYS[1],
        "S3_BUCKET": s3.s3_bucket,
    }
    port_file = folder / "trainer.port"
    trainer = {
        **store,
        "LISTEN": target,
        "PORT_FILE": str(port_file),
        "DATABASE_URL": database_url,
        "DATASET_TARGET": dataset_target,
        "CATALOGUE": str(catalogue),
        "NATS_URL": nats_url,
        "LEASE_SECONDS": f"{lease_s:g}",
        "MAX_LOSSES": "1000",
    }
    victims = {
        "s3": Victim(s3_spec),
        "nats": Victim(nats_spec),
        "trainer": python_process(
            origin,
            "trainer",
            TRAINER,
            folder,
            {f"TRAINER_{name}": value for name, value in trainer.items()},
            ready=port_file.exists,
            leftovers=(port_file,),
        ),
    }
    if postgres is not None:
        victims["postgres"] = Victim(postgres)
    for number in range(simulated_workers):
        own = {**store, "TARGET": target, "ID": f"worker-{number}"}
        victims[f"worker-{number}"] = python_process(
            origin,
            f"worker-{number}",
            SIMULATED_WORKER,
            folder,
            {f"CHAOS_WORKER_{name}": value for name, value in own.items()},
        )
    connection = channel(target)
    try:
        for victim in victims.values():
            victim.start()
        for victim in victims.values():
            await asyncio.to_thread(victim.wait_ready)
        stub = training_service_pb2_grpc.TrainingServiceStub(connection)
        yield World(victims, stub, target, s3, nats_url, database_url)
    finally:
        await connection.close(None)
        for victim in victims.values():
            victim.kill()
            for path in victim.spec.leftovers:
                path.unlink(missing_ok=True)
