"""The registry as its own process."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from fiveshot.registry.v1 import registry_service_pb2 as service_pb
from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceStub

from services.chassis.grpc_client import channel
from services.chassis.store_settings import S3Settings
from tests.fixtures.patience import within
from tests.fixtures.processes import async_child, finished_async, listening


async def test_it_starts_from_its_environment_serves_and_ends_on_sigterm(
    s3_settings: S3Settings, tmp_path: Path
) -> None:
    given = {
        "REGISTRY_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'registry.db'}",
        "REGISTRY_S3_ENDPOINT": s3_settings.s3_endpoint,
        "REGISTRY_S3_ACCESS_KEY": s3_settings.s3_access_key,
        "REGISTRY_S3_SECRET_KEY": s3_settings.s3_secret_key.get_secret_value(),
        "REGISTRY_S3_BUCKET": s3_settings.s3_bucket,
        "REGISTRY_TRAINER_TARGET": "127.0.0.1:1",
        "REGISTRY_PORT_FILE": str(tmp_path / "port"),
    }
    argv = [sys.executable, "-m", "services.registry.app"]
    async with async_child(argv, env={**os.environ, **given}) as process:
        await listening(process, tmp_path / "port")
        connection = channel(f"127.0.0.1:{(tmp_path / 'port').read_text().strip()}")
        stub = RegistryServiceStub(connection)
        made = await stub.CreateModel(service_pb.CreateModelRequest(parent="projects/pets", model_id="rex"))
        assert made.name == "projects/pets/models/rex"
        await connection.close(None)
        process.send_signal(signal.SIGTERM)
        async with within():
            output, errors = await process.communicate()
    assert process.returncode == 0, (output, errors)


async def test_it_does_not_load_torch() -> None:
    check = "import sys, services.registry.app; print([m for m in ('torch', 'diffusers', 'numpy') if m in sys.modules])"
    assert (await finished_async([sys.executable, "-c", check])).stdout.strip() == "[]"
