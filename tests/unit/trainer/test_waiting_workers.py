"""Workers that wait: many cost no more looks at the queue than one, and none misses a job."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from typing import Any

import pytest

from services.chassis.signals import Signals
from services.trainer.models.job import TrainingJob
from services.trainer.models.pulse import Pulse
from services.trainer.ports import QUEUE, Move, WorkerAsk
from services.trainer.use_cases import working
from services.trainer.use_cases.checking_base_models import BaseModelCheck
from services.trainer.use_cases.drawing import PreviewAssignment
from services.trainer.use_cases.placing import Placing
from services.trainer.use_cases.working import Assignment, JobWork
from tests.fixtures.patience import turns, until
from tests.unit.trainer.jobs import NOW, make_job

WORKERS = 200


class _Store:
    """A queue that counts who looks at it."""

    def __init__(self) -> None:
        self.queue: deque[TrainingJob] = deque()
        self.looks = 0

    async def acquire(self, ask: WorkerAsk, move: Move, starting: object) -> TrainingJob | None:
        self.looks += 1
        await turns(1)
        return move(self.queue.popleft()).job if self.queue else None

    async def seen(self, ask: WorkerAsk, now: Any) -> None:
        await turns(1)

    async def kinds(self, since: Any) -> tuple[()]:
        return ()


class _Scene:
    def __init__(self) -> None:
        self.store = _Store()
        self.signals = Signals()
        store: Any = self.store
        artifacts: Any = None
        self.work = JobWork(
            store,
            self.signals,
            artifacts,
            clock=lambda: NOW,
            new_token=lambda: "t",
            lease=timedelta(seconds=30),
            max_failures=3,
            placing=Placing(store, clock=lambda: NOW),
            pulse=Pulse(timedelta(seconds=30), most_per_second=200),
        )

    def wait(self, number: int, wait_s: float) -> asyncio.Task[Assignment | PreviewAssignment | BaseModelCheck | None]:
        ask = WorkerAsk(f"w-{number}", ("baseModels/tiny",), "", "cpu")
        return asyncio.create_task(self.work.acquire(ask, timedelta(seconds=wait_s)))

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.store.queue.append(make_job(f"projects/acme/trainingJobs/j{number}"))
            self.signals.notify(QUEUE)


async def test_each_job_goes_to_one_waiting_worker_and_the_others_hardly_look() -> None:
    scene = _Scene()
    waiting = [scene.wait(number, 20) for number in range(WORKERS)]
    await until(lambda: scene.store.looks > WORKERS)
    for numbers in ((1,), (2, 3, 4)):
        before = scene.store.looks
        due = sum(task.done() for task in waiting) + len(numbers)
        scene.put(*numbers)
        await until(lambda due=due: sum(task.done() for task in waiting) == due)  # type: ignore[misc]
        await turns(3 * WORKERS)
        assert scene.store.looks - before <= len(numbers) + 3
    taken = [task.result() for task in waiting if task.done()]
    assert sorted(item.job.job_id for item in taken if isinstance(item, Assignment)) == ["j1", "j2", "j3", "j4"]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_job_that_nobody_told_of_is_found_by_looking_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "LOOK_AGAIN_S", 0.1)
    scene = _Scene()
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = [scene.wait(number, 20) for number in range(WORKERS)]
    await until(lambda: scene.store.looks >= WORKERS + 5)
    # The first look of each, and then one for all in every pause.
    assert scene.store.looks <= WORKERS + 2 + (loop.time() - began) / 0.1
    scene.store.queue.append(make_job())
    await until(lambda: any(task.done() for task in waiting))
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_nothing_is_answered_when_the_time_is_over() -> None:
    scene = _Scene()
    assert await scene.wait(1, 0.05) is None
    scene.put(1)
    assert await scene.wait(1, 0) is not None
