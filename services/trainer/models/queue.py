"""Who goes next, at which place a job waits, and when it should end.

Projects take turns: the project with the fewest jobs at work goes first, and among equals the one that was served
longest ago. Within a project the higher priority goes first, then the older job. A worker that holds a base model in
memory may take a younger job of the same priority for it, but only one that is at most `WARM_HEAD_START` younger, so
that nobody starves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WARM_HEAD_START = timedelta(seconds=60)
_NEVER = datetime.min


@dataclass(frozen=True, slots=True)
class ProjectQueue:
    """One project's share of the queue: jobs waiting, jobs at work, when it was served last (None: never)."""

    project: str
    waiting: int
    active: int
    served_at: datetime | None


@dataclass(frozen=True, slots=True)
class StartLimits:
    """What a project may have at work at once, and how many GPU seconds it may have used of late; 0 for no limit."""

    running_jobs: int = 0
    gpu_seconds: int = 0

    def allow(self, *, active: int, gpu_seconds: float) -> bool:
        """Whether another of its jobs may begin; else it waits. What has begun goes on."""
        return not (0 < self.running_jobs <= active or 0 < self.gpu_seconds <= gpu_seconds)


@dataclass(frozen=True, slots=True)
class Starting:
    """When a job may begin. limits: of a project, as they are now. since: where the window of GPU seconds begins."""

    limits: Callable[[str], StartLimits]
    since: datetime
    now: datetime


@dataclass(frozen=True, slots=True)
class ProjectUse:
    """What a project uses: jobs that wait, jobs that a worker holds, GPU seconds of its attempts within the window,
    preview requests that have not ended, bytes of its own base models."""

    waiting: int
    running: int
    gpu_seconds: float
    previews: int = 0
    base_model_bytes: int = 0


@dataclass(frozen=True, slots=True)
class QueueLoad:
    """The queue as a whole: each project's share, and the samples that workers have still to train on average."""

    projects: tuple[ProjectQueue, ...]
    mean_samples: float

    @property
    def workers(self) -> int:
        """Workers that hold a job."""
        return sum(queue.active for queue in self.projects)


def turn(queue: ProjectQueue) -> tuple[int, datetime, str]:
    """Sort key of a project: the least goes next."""
    served = queue.served_at.replace(tzinfo=None) if queue.served_at else _NEVER
    return queue.active, served, queue.project


def overall_position(projects: Sequence[ProjectQueue], project: str, position_in_project: int) -> int:
    """Jobs of all projects that go before this one, plus one, if nothing ends or comes meanwhile.

    A project is served at the level of its active jobs: the k-th waiting job of a project with `a` active ones goes at
    level a + k - 1, after all jobs of lower levels. Within a level the projects keep the order of the level before, and
    those that enter at it, having waited longest, go first.
    """
    own = next(queue for queue in projects if queue.project == project)
    level = own.active + position_in_project - 1
    ahead = position_in_project - 1
    for other in projects:
        if other.project == project:
            continue
        at_lower_levels = min(other.waiting, max(0, level - other.active))
        has_one_at_this_level = other.active <= level and other.waiting > at_lower_levels
        goes_first = (-other.active, turn(other)[1:]) < (-own.active, turn(own)[1:])
        ahead += at_lower_levels + (1 if has_one_at_this_level and goes_first else 0)
    return ahead + 1


def expected_end(
    now: datetime,
    *,
    jobs_ahead: int,
    samples_left: int,
    mean_samples: float,
    workers: int,
    seconds_per_sample: float,
) -> datetime | None:
    """When a waiting job should end; None when nothing is known of the workers' speed.

    samples_left: pictures that the job has still to train on. mean_samples: of the jobs ahead. workers: at work now,
    taken as at least one, because somebody has to do it.
    """
    if seconds_per_sample <= 0:
        return None
    waiting_s = jobs_ahead * mean_samples * seconds_per_sample / max(1, workers)
    return now + timedelta(seconds=waiting_s + samples_left * seconds_per_sample)
