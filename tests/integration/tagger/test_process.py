"""The tagger as its own process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.tagger.v1.tagger_service_pb2_grpc import TaggerServiceStub

from services.chassis.grpc_client import channel
from tests.integration.tagger.conftest import DATASET, Suite

LEASE_S = 1


async def start(folder: Path, dataset_target: str, **more: str) -> tuple[asyncio.subprocess.Process, str]:
    """A process and where it listens."""
    port_file = folder / "port"
    port_file.unlink(missing_ok=True)
    given = {
        "TAGGER_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'process.db'}",
        "TAGGER_DATASET_TARGET": dataset_target,
        "TAGGER_PORT_FILE": str(port_file),
        "TAGGER_LEASE_S": str(LEASE_S),
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.tagger.app", env={**os.environ, **given}, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        while not port_file.exists():
            assert process.returncode is None, await process.communicate()
            await asyncio.sleep(0.05)
    return process, f"127.0.0.1:{port_file.read_text().strip()}"


async def test_a_killed_process_is_survived_by_its_jobs(suite: Suite, tmp_path: Path) -> None:
    colours = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "teal")
    images = [await suite.upload(colour, f"{colour}.png") for colour in colours]
    process, target = await start(tmp_path, suite.dataset_target, TAGGER_PARALLEL_IMAGES="1")
    connection = channel(target)
    stub = TaggerServiceStub(connection)
    try:
        job = await stub.TagImages(tagger_service_pb2.TagImagesRequest(parent="projects/pets", dataset=DATASET))
        async with asyncio.timeout(60):
            while not 1 <= job.tagged_images < len(images):
                assert job.state in (tagger_pb2.TagJob.STATE_QUEUED, tagger_pb2.TagJob.STATE_RUNNING)
                await asyncio.sleep(0.005)
                job = await stub.GetTagJob(tagger_service_pb2.GetTagJobRequest(name=job.name))
    finally:
        process.kill()
        await process.communicate()
        await connection.close(None)
    process, target = await start(tmp_path, suite.dataset_target)
    connection = channel(target)
    try:
        request = tagger_service_pb2.WatchTagJobRequest(name=job.name)
        async with asyncio.timeout(60):
            states = [state async for state in TaggerServiceStub(connection).WatchTagJob(request)]
        assert states[0].tagged_images >= job.tagged_images, "what was done was not forgotten"
        assert states[-1].state == tagger_pb2.TagJob.STATE_SUCCEEDED
        assert states[-1].tagged_images + states[-1].skipped_images == len(images)
        for image in images:
            assert (await suite.image(image.name)).tags
        await connection.close(None)
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate()
    assert process.returncode == 0, errors


async def test_a_model_folder_that_is_wrong_ends_the_start_with_a_clear_line(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.tagger.app",
        env={**os.environ, "TAGGER_WD_MODEL_DIR": str(tmp_path)}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert "TAGGER_WD_MODEL_DIR" in errors.decode()


async def test_it_loads_neither_torch_nor_a_model_runtime_at_start() -> None:
    modules = "('torch', 'diffusers', 'transformers', 'onnxruntime')"
    check = f"import sys, services.tagger.app; print([m for m in {modules} if m in sys.modules])"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", check, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert output.decode().strip() == "[]"
