"""Jobs that callers of the fleet start and watch."""

from __future__ import annotations

import asyncio

from fiveshot.aio.client import AsyncClient
from fiveshot.aio.training import updates
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as tr

from tests.chaos.callers import DATASET, MODEL, PARENT

Job = training_job_pb2.TrainingJob
Attempt = training_job_pb2.Attempt


async def followed_jobs(client: AsyncClient, over: asyncio.Event) -> list[tuple[list[str], list[int]]]:
    """One job after the other, watched from its first event: outcomes of its attempts, and the events' numbers."""
    followed = []
    while not over.is_set():
        wanted = Job(
            base_model=MODEL,
            dataset_version=DATASET,
            parameters=training_job_pb2.TrainingParameters(num_epochs=3, num_repeats=4),
        )
        job = await client.stubs.trainer.CreateTrainingJob(
            tr.CreateTrainingJobRequest(parent=PARENT, training_job=wanted, ignore_audit=True)
        )
        heard = [
            message.event.sequence
            async for message in updates(client.stubs, job.name, from_start=True)
            if message.WhichOneof("update") == "event"
        ]
        ended = await client.stubs.trainer.GetTrainingJob(tr.GetTrainingJobRequest(name=job.name))
        followed.append(
            ([Attempt.Outcome.Name(each.outcome).removeprefix("OUTCOME_") for each in ended.attempts], heard)
        )
    return followed
