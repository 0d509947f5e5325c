"""The dataset service as its own process, and its migrations."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.dataset.v1.dataset_service_pb2_grpc import DatasetServiceStub

from services.chassis.grpc_client import channel
from services.chassis.store_settings import S3Settings
from tests.fixtures.patience import within
from tests.fixtures.processes import async_child, finished_async, listening

PROGRAM = [sys.executable, "-m", "services.dataset.app"]


async def test_it_starts_from_its_environment_serves_and_ends_on_sigterm(
    s3_settings: S3Settings, tmp_path: Path
) -> None:
    given = {
        "DATASET_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path / 'dataset.db'}",
        "DATASET_S3_ENDPOINT": s3_settings.s3_endpoint,
        "DATASET_S3_ACCESS_KEY": s3_settings.s3_access_key,
        "DATASET_S3_SECRET_KEY": s3_settings.s3_secret_key.get_secret_value(),
        "DATASET_S3_BUCKET": s3_settings.s3_bucket,
        "DATASET_PORT_FILE": str(tmp_path / "port"),
    }
    async with async_child(PROGRAM, env={**os.environ, **given}) as process:
        await listening(process, tmp_path / "port")
        connection = channel(f"127.0.0.1:{(tmp_path / 'port').read_text().strip()}")
        stub = DatasetServiceStub(connection)
        made = await stub.CreateDataset(pb.CreateDatasetRequest(parent="projects/acme", dataset_id="dogs"))
        assert made.name == "projects/acme/datasets/dogs"
        await connection.close(None)
        process.send_signal(signal.SIGTERM)
        async with within():
            output, problems = await process.communicate()
    assert process.returncode == 0, (output, problems)


async def test_a_wrong_setting_is_one_line_and_exit_code_2() -> None:
    wrong = {"DATASET_MAX_IMAGE_BYTES": "0", "DATASET_ALLOWED_EXTENSIONS": "png,gif", "DATASET_TYPO": "1"}
    done = await finished_async(PROGRAM, env={**os.environ, **wrong})
    lines = done.stderr.splitlines()
    assert done.returncode == 2
    for name in wrong:
        assert sum(name in line for line in lines) == 1, lines


async def test_it_does_not_load_what_it_does_not_need() -> None:
    heavy = ("torch", "diffusers", "transformers", "simplejpeg", "onnxruntime")
    check = f"import sys, services.dataset.app; print([m for m in {heavy} if m in sys.modules])"
    assert (await finished_async([sys.executable, "-c", check])).stdout.strip() == "[]"
