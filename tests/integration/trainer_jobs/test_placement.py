"""Workers of different sizes at one trainer, over gRPC: who gets a job, and what callers and operators see of it."""

from __future__ import annotations

from typing import Any

from fiveshot.trainer.v1 import training_service_pb2, worker_service_pb2, worker_service_pb2_grpc

from tests.fixtures.patience import until
from tests.fixtures.trainer import StartTrainer

_Worker = worker_service_pb2


def _ask(worker_id: str, memory_bytes: int, **more: Any) -> worker_service_pb2.AcquireJobRequest:
    return _Worker.AcquireJobRequest(
        worker_id=worker_id,
        base_models=["baseModels/tiny"],
        device="NVIDIA L4",
        device_memory_bytes=memory_bytes,
        families=["stable-diffusion"],
        mixed_precisions=["no", "fp16"],
        **more,
    )


async def test_a_job_waits_for_a_worker_with_room_for_it_and_says_so(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url) as trainer:
        workers = worker_service_pb2_grpc.WorkerServiceStub(trainer.channel)
        job = await trainer.create(project)
        assert job.held_back == ""
        assert not (await workers.AcquireJob(_ask("small", 1 << 20))).HasField("job")

        async def told() -> bool:
            return (await trainer.get(job.name)).held_back.startswith("It needs about ")

        await until(told)
        tried = await trainer.create(project, validate_only=True)
        assert "The largest worker that is there has 0.0 GB" in tried.held_back
        formats = await trainer.create(project, parameters={"mixed_precision": "bf16"})
        assert formats.held_back == "No worker that is there and can load its base model computes in bf16."

        taken = await workers.AcquireJob(_ask("large", 1 << 40))
        assert taken.job.name == job.name
        assert taken.heartbeat_interval.ToTimedelta().total_seconds() == 0.5
        assert not (await workers.AcquireJob(_ask("large-2", 1 << 40))).HasField("job")
        beat = _Worker.HeartbeatRequest(training_job=job.name, lease_token=taken.lease_token, step=1, running=True)
        assert (await workers.Heartbeat(beat)).heartbeat_interval == taken.heartbeat_interval
        listed = await trainer.stub.ListWorkers(training_service_pb2.ListWorkersRequest())
        found = {each.worker_id: each for each in listed.workers}
        assert found["large"].training_job == job.name
        assert list(found["small"].families) == ["stable-diffusion"]
        assert list(found["small"].mixed_precisions) == ["no", "fp16"]


async def test_a_trainer_with_many_workers_asks_for_fewer_reports(
    start_trainer: StartTrainer, database_url: str, project: str
) -> None:
    async with start_trainer(database_url, heartbeats_per_second=0.5) as trainer:
        worker = worker_service_pb2_grpc.WorkerServiceStub(trainer.channel)
        intervals = []
        for number in range(3):
            await trainer.create(project)
            taken = await worker.AcquireJob(_ask(f"w-{number}", 1 << 40))
            intervals.append(taken.heartbeat_interval.ToTimedelta().total_seconds())
    assert intervals == [2.0, 4.0, 6.0]
