"""Watching: a client that comes and goes sees every event once and in order; the bus hears the same."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sys
from pathlib import Path

import pytest
from fiveshot.trainer.v1 import training_event_pb2, training_job_pb2, training_service_pb2
from google.protobuf import json_format

from gateway import event_accounts, event_consumers
from gateway.supervisor import servers
from services.chassis.cloud_events import event_subject
from services.chassis.errors import InvalidArgument, NotFound
from services.chassis.nats_events import EventBus
from tests.fixtures.patience import within
from tests.fixtures.processes import finished_async, running
from tests.fixtures.servers import NATS_PASSWORD, nats_address
from tests.fixtures.trainer import StartTrainer, Trainer

Job = training_job_pb2.TrainingJob
Event = training_event_pb2.TrainingJobEvent
_Service = training_service_pb2
DOCUMENTATION = Path(__file__).parents[3] / "docs" / "events.md"


async def _work(trainer: Trainer, *, steps: int) -> None:
    worker = trainer.worker()
    held = await worker.acquire(wait_s=5)
    assert held is not None
    for step in range(1, steps + 1):
        await worker.heartbeat(held, step=step)
    for number in range(1, held.job.parameters.num_epochs + 1):
        await worker.report(await worker.epoch_report(held, number))
    await worker.complete(held)


async def test_a_watch_shows_the_job_and_then_every_event_until_the_end(trainer: Trainer, project: str) -> None:
    job = await trainer.create(project)
    work = asyncio.create_task(_work(trainer, steps=3))
    messages = [
        message async for message in trainer.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=job.name))
    ]
    await work
    assert messages[0].job.name == job.name
    events = [message.event for message in messages[1:]]
    assert [event.sequence for event in events] == list(range(2, len(events) + 2))
    kinds = [event.WhichOneof("payload") for event in events]
    assert kinds.count("epoch_completed") == 2
    assert "progress" in kinds
    assert events[-1].state == Job.STATE_SUCCEEDED
    assert len({event.event_id for event in events}) == len(events)

    # A watch of an ended job shows it and ends.
    again = [
        message async for message in trainer.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=job.name))
    ]
    assert [message.job.state for message in again] == [Job.STATE_SUCCEEDED]


async def test_a_client_that_reconnects_a_hundred_times_misses_nothing(trainer: Trainer, project: str) -> None:
    draw = random.Random(20)
    job = await trainer.create(project)
    seen: list[int] = []
    token = ""
    connections = 0

    async def read(most: int) -> bool:
        """Reads some messages and hangs up; False once the watch ended by itself."""
        nonlocal token, connections
        connections += 1
        call = trainer.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=job.name, resume_token=token))
        async for message in call:
            token = message.resume_token
            # The snapshot stands for the first event, the job's creation.
            seen.append(message.event.sequence if message.HasField("event") else 1)
            most -= 1
            if not most:
                call.cancel()
                return True
        return False

    async def steer_and_work() -> None:
        for _ in range(70):
            await trainer.stub.PauseTrainingJob(_Service.PauseTrainingJobRequest(name=job.name))
            await trainer.stub.ResumeTrainingJob(_Service.ResumeTrainingJobRequest(name=job.name))
        await _work(trainer, steps=3)

    assert await read(1)
    working = asyncio.create_task(steer_and_work())
    more = True
    while more:
        more = await read(draw.choice((1, 1, 1, 2)))
    await working
    assert connections >= 100
    assert len(seen) >= 140
    assert seen == list(range(1, len(seen) + 1))


async def test_a_token_of_another_job_or_a_damaged_one_is_refused(trainer: Trainer, project: str) -> None:
    one, other = await trainer.create(project), await trainer.create(project)
    call = trainer.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=one.name))
    token = (await anext(aiter(call))).resume_token
    for wrong in (token[:-2], "x", "!!!", token + "AAAA"):
        with pytest.raises(InvalidArgument) as refused:
            await anext(
                aiter(
                    trainer.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=one.name, resume_token=wrong))
                )
            )
        assert refused.value.field == "resume_token"
    with pytest.raises(InvalidArgument):
        await anext(
            aiter(trainer.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=other.name, resume_token=token)))
        )
    with pytest.raises(NotFound):
        await anext(aiter(trainer.stub.WatchTrainingJob(_Service.WatchTrainingJobRequest(name=one.name + "x"))))


async def test_the_bus_hears_every_event_of_the_log(
    start_trainer: StartTrainer, sqlite_url: str, nats_url: str, event_bus: EventBus, project: str
) -> None:
    async with start_trainer(sqlite_url, nats_url=nats_url) as trainer:
        job = await trainer.create(project)
        held = await trainer.worker().acquire()
        assert held is not None
        await trainer.worker().work(held)
        published = []
        async with within(30):
            subject = event_subject(project, "trainingJobs", job.name.rsplit("/", 1)[1], "x")[:-1] + "*"
            async for event in event_bus.subscribe(subject, after_sequence=0):
                published.append(event)
                if json.loads(event.data).get("state") == "STATE_SUCCEEDED":
                    break
    messages = [json_format.Parse(event.data, Event()) for event in published]
    assert [message.sequence for message in messages] == list(range(1, len(messages) + 1))
    assert [message.event_id for message in messages] == [event.id for event in published]
    assert {event.type for event in published} == {
        "fiveshot.training_job.created",
        "fiveshot.training_job.state_changed",
        "fiveshot.training_job.progress",
        "fiveshot.training_job.epoch_completed",
    }
    assert {event.source for event in published} == {job.name}
    assert messages[0].created.job.name == job.name


async def test_the_consumer_in_the_documentation_works(
    start_trainer: StartTrainer, sqlite_url: str, server_folder: Path, project: str
) -> None:
    seed, public_key = event_consumers.new_seed()
    consumers = [event_accounts.Consumer("my-backend", project, public_key)]
    spec = servers.nats(server_folder / f"nats-{project}", password=NATS_PASSWORD, consumers=consumers)
    address = f"nats://{servers.HOST}:{spec.ports['nats']}"
    seed_file = spec.data_dir / "my-backend.nk"
    seed_file.write_text(seed)
    code = re.search(r"```python\n(.+?)```", DOCUMENTATION.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert code
    with running(spec):
        await event_consumers.ensure_stream(address, project, NATS_PASSWORD)
        async with start_trainer(sqlite_url, nats_url=nats_address(spec)) as trainer:
            await trainer.create(project)
            held = await trainer.worker().acquire()
            assert held is not None
            await trainer.worker().work(held)
            bus = EventBus(nats_address(spec), name="test")
            async with within(30):
                async for event in bus.subscribe(f"fiveshot.events.v1.{project}.>", after_sequence=0):
                    if json.loads(event.data).get("state") == "STATE_SUCCEEDED":
                        break
            await bus.close()
        done = await finished_async(
            [sys.executable, "-c", code.group(1)],
            env={**os.environ, "NATS_URL": address, "NATS_NKEY": str(seed_file), "PROJECT": project},
        )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        f"{held.job.name}/epochs/1",
        f"{held.job.name}/epochs/2",
    ]
