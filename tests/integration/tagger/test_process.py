"""The tagger as its own process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2, tagger_service_pb2_grpc

from services.chassis.grpc_client import channel
from tests.fixtures.patience import within
from tests.fixtures.processes import async_child, finished_async, listening
from tests.integration.tagger.conftest import DATASET, Suite

LEASE_S = 1


@asynccontextmanager
async def started(
    folder: Path, dataset_target: str, **more: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, tagger_service_pb2_grpc.TaggerServiceAsyncStub]]:
    """A process, and a caller of it."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    given = {
        "TAGGER_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'process.db'}",
        "TAGGER_DATASET_TARGET": dataset_target,
        "TAGGER_PORT_FILE": str(port_file),
        "TAGGER_LEASE_S": str(LEASE_S),
        **more,
    }
    async with async_child([sys.executable, "-m", "services.tagger.app"], env={**os.environ, **given}) as process:
        await listening(process, port_file)
        connection = channel(f"127.0.0.1:{port_file.read_text().strip()}")
        try:
            yield process, tagger_service_pb2_grpc.TaggerServiceStub(connection)
        finally:
            await connection.close(None)


async def test_a_killed_process_is_survived_by_its_jobs(suite: Suite, tmp_path: Path) -> None:
    colours = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "teal")
    images = [await suite.upload(colour, f"{colour}.png") for colour in colours]
    # Leaving the block kills the process.
    async with started(tmp_path, suite.dataset_target, TAGGER_PARALLEL_IMAGES="1") as (_, stub):
        job = await stub.TagImages(tagger_service_pb2.TagImagesRequest(parent="projects/pets", dataset=DATASET))
        async with within():
            while not 1 <= job.tagged_images < len(images):
                assert job.state in (tagger_pb2.TagJob.STATE_QUEUED, tagger_pb2.TagJob.STATE_RUNNING)
                job = await stub.GetTagJob(tagger_service_pb2.GetTagJobRequest(name=job.name))
    async with started(tmp_path, suite.dataset_target) as (process, stub):
        request = tagger_service_pb2.WatchTagJobRequest(name=job.name)
        async with within():
            states = [state async for state in stub.WatchTagJob(request)]
        assert states[0].tagged_images >= job.tagged_images, "what was done was not forgotten"
        assert states[-1].state == tagger_pb2.TagJob.STATE_SUCCEEDED
        assert states[-1].tagged_images + states[-1].skipped_images == len(images)
        for image in images:
            assert (await suite.image(image.name)).tags
        process.send_signal(signal.SIGTERM)
        async with within():
            _, errors = await process.communicate()
    assert process.returncode == 0, errors


async def test_a_model_folder_that_is_wrong_ends_the_start_with_a_clear_line(tmp_path: Path) -> None:
    environment = {**os.environ, "TAGGER_WD_MODEL_DIR": str(tmp_path)}
    done = await finished_async([sys.executable, "-m", "services.tagger.app"], env=environment)
    assert done.returncode == 2
    assert "TAGGER_WD_MODEL_DIR" in done.stderr


async def test_it_loads_neither_torch_nor_a_model_runtime_at_start() -> None:
    modules = "('torch', 'diffusers', 'transformers', 'onnxruntime')"
    check = f"import sys, services.tagger.app; print([m for m in {modules} if m in sys.modules])"
    assert (await finished_async([sys.executable, "-c", check])).stdout.strip() == "[]"
