"""The commands of who runs a deployment, against a real trainer: what would be cleaned up, and what workers have."""

from __future__ import annotations

import asyncio
import json
import re

from fiveshot.trainer.v1 import worker_service_pb2, worker_service_pb2_grpc
from typer.testing import CliRunner

from gateway.cli import output
from gateway.cli.main import app
from tests.fixtures.trainer import StartTrainer, Trainer


async def _run(trainer: Trainer, project: str, *arguments: str) -> str:
    """What a command that goes well prints."""
    whole = ["--server", trainer.target, "--project", project, *arguments]
    done = await asyncio.to_thread(CliRunner().invoke, app, whole, prog_name="fiveshot", env={"COLUMNS": "200"})
    assert done.exit_code == output.OK, done.output
    # The server runs in this process, and logs to the same place.
    return "\n".join(line for line in done.stdout.splitlines() if not re.match(r"\d{4}-\d\d-\d\d ", line))


async def test_a_clean_up_is_a_report_until_it_is_confirmed(
    start_trainer: StartTrainer, sqlite_url: str, project: str
) -> None:
    async with start_trainer(sqlite_url) as trainer:
        await trainer.create(project, parameters={"num_epochs": 3})
        held = await trainer.worker().acquire()
        assert held is not None
        await trainer.worker().work(held)
        clean_up = ("project", "clean-up", "--older-than", "0")
        assert "epochs                 0" in await _run(trainer, project, "project", "clean-up")
        for yes in (False, False, True):
            told = await _run(trainer, project, *clean_up, *(["--yes"] if yes else []))
            assert told.startswith(f"{'Deleted' if yes else 'This would delete'} of projects/{project}:")
            assert "epochs                 2" in told
            assert "365 days" in told
        left = json.loads(await _run(trainer, project, *clean_up, "--json"))
        assert (left["deleted"], [kind.get("count", 0) for kind in left["kinds"]]) == (False, [0, 0, 0])


async def test_workers_are_shown_with_what_they_can_compute(
    start_trainer: StartTrainer, sqlite_url: str, project: str
) -> None:
    async with start_trainer(sqlite_url) as trainer:
        request = worker_service_pb2.AcquireJobRequest(
            worker_id="w-1", device="NVIDIA L4", device_memory_bytes=24_000_000_000, mixed_precisions=["no", "bf16"]
        )
        await worker_service_pb2_grpc.WorkerServiceStub(trainer.channel).AcquireJob(request)
        shown = await _run(trainer, project, "workers")
        assert "bf16" in shown
        (worker,) = json.loads(await _run(trainer, project, "workers", "--json"))["workers"]
        assert (worker["mixedPrecisions"], worker["device"]) == (["no", "bf16"], "NVIDIA L4")
