"""What waits in a worker until the trainer has heard it."""

from __future__ import annotations

from datetime import UTC, datetime

from fiveshot.trainer.v1 import training_job_pb2

from services.trainer.worker.training import Report
from services.trainer.worker.unheard import MOST_METRICS, MOST_NOTICES, Unheard
from services.trainer.worker.wire import Assignment, Metric, Progress

JOB = training_job_pb2.TrainingJob(name="projects/acme/trainingJobs/job-1", step=4, epochs_completed=1)
ASSIGNMENT = Assignment(JOB, "token", 1, "prefix/", ())


def _report(*steps: int, notices: tuple[str, ...] = (), back_to_step: int | None = None) -> Report:
    points = tuple(Metric(step, 1, "loss", 0.5, datetime(2026, 1, 1, tzinfo=UTC)) for step in steps)
    return Report(Progress(step=max(steps, default=0)), points, True, notices, back_to_step)


def test_all_is_told_again_until_it_was_heard() -> None:
    unheard = Unheard()
    unheard.add(_report(1, 2, notices=("One.",)))
    unheard.add(_report(2, 3, notices=("Two.",), back_to_step=1))
    for _ in range(2):
        request = unheard.request(ASSIGNMENT, _report(3))
        assert [metric.step for metric in request.metrics] == [1, 2, 3]
        assert list(request.notices) == ["One.", "Two."]
        assert request.back_to_step == 1
    unheard.heard()
    assert not unheard
    assert not unheard.request(ASSIGNMENT, _report(3)).HasField("back_to_step")


def test_going_back_to_the_start_is_not_the_same_as_going_on() -> None:
    unheard = Unheard()
    unheard.add(_report(back_to_step=0))
    assert unheard
    assert unheard.request(ASSIGNMENT, _report()).HasField("back_to_step")


def test_a_heartbeat_tells_what_it_may_and_the_next_one_the_rest() -> None:
    unheard = Unheard()
    unheard.add(_report(*range(MOST_METRICS + 1), notices=tuple(f"{number}." for number in range(MOST_NOTICES + 1))))
    request = unheard.request(ASSIGNMENT, _report(1))
    assert (len(request.metrics), len(request.notices)) == (MOST_METRICS, MOST_NOTICES)
    unheard.heard()
    rest = unheard.request(ASSIGNMENT, _report(1))
    assert ([metric.step for metric in rest.metrics], list(rest.notices)) == ([MOST_METRICS], [f"{MOST_NOTICES}."])


def test_the_step_is_never_before_that_of_the_assignment() -> None:
    request = Unheard().request(ASSIGNMENT, _report())
    assert (request.step, request.epoch) == (4, 1)
