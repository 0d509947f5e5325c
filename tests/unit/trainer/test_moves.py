"""The state machine of a job: every rule that must hold whatever users, workers and the clock do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.chassis.errors import Aborted, DomainError, FailedPrecondition, InvalidArgument
from services.trainer.models import moves, worker_moves
from services.trainer.models.change import Change
from services.trainer.models.events import Noticed, Progressed, StateChanged
from services.trainer.models.job import (
    LEASED,
    TERMINAL,
    Directive,
    JobError,
    JobState,
    Outcome,
    Progress,
    TrainingJob,
)
from tests.unit.trainer.jobs import NOW, make_epoch, make_job

LEASE = timedelta(seconds=30)
MAX_FAILURES = 3
MAX_LOSSES = 4
USER_MOVES: dict[str, Callable[[TrainingJob, datetime], Change]] = {
    "cancel": moves.cancel,
    "pause": moves.pause,
    "resume": moves.resume,
    "stop": moves.stop,
    "retry": moves.retry,
    "extend": lambda job, now: moves.extend(job, replace(job.parameters, num_epochs=job.epochs_completed + 2), now),
}


class JobMachine(RuleBasedStateMachine):
    """Users, several workers and the clock act on one job in any order."""

    @initialize(num_epochs=st.integers(1, 3))
    def start(self, num_epochs: int) -> None:
        self.now = NOW
        self.job = make_job(num_epochs=num_epochs)
        self.tokens: list[str] = []
        self.best_epochs = 0

    def _apply(self, move: Callable[[], Change]) -> bool:
        before = self.job
        try:
            change = move()
        except DomainError:
            return False
        self.job = change.job
        self._check_events(before, change)
        return True

    def _check_events(self, before: TrainingJob, change: Change) -> None:
        told = [event for event in change.events if isinstance(event, StateChanged)]
        if before.state is not change.job.state:
            assert [(event.previous, event.state) for event in told] == [(before.state, change.job.state)]
            assert change.job.revision == before.revision + 1
            assert told[0].message
        else:
            assert not told

    @rule(seconds=st.integers(0, 40))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(verb=st.sampled_from(sorted(USER_MOVES)))
    def user(self, verb: str) -> None:
        allowed = verb in moves.allowed_verbs(self.job)
        state = self.job.state
        done = self._apply(lambda: USER_MOVES[verb](self.job, self.now))
        assert done == allowed, (verb, state)

    @rule()
    def acquire(self) -> None:
        token = f"token-{len(self.tokens)}"
        waiting = self.job.state is JobState.QUEUED
        done = self._apply(
            lambda: worker_moves.acquire(self.job, worker_id="w", token=token, now=self.now, lease=LEASE)
        )
        assert done == waiting
        if done:
            self.tokens.append(token)

    @precondition(lambda self: self.tokens)
    @rule(which=st.integers(0, 5), running=st.booleans())
    def heartbeat(self, which: int, running: bool) -> None:
        token = self.tokens[-1 - which % len(self.tokens)]
        holds = self.job.lease is not None and self.job.lease.token == token
        done = self._apply(
            lambda: worker_moves.heartbeat(
                self.job,
                token=token,
                progress=Progress(step=self.job.steps_saved + 1),
                running=running,
                metrics=(),
                now=self.now,
                lease=LEASE,
            )
        )
        assert done == holds
        if done:
            assert self.job.lease is not None
            assert self.job.lease.expires_at == self.now + LEASE

    @precondition(lambda self: self.tokens)
    @rule(which=st.integers(0, 5), ahead=st.integers(0, 2))
    def report_epoch(self, which: int, ahead: int) -> None:
        token = self.tokens[-1 - which % len(self.tokens)]
        before = self.job
        holds = before.lease is not None and before.lease.token == token
        number = before.epochs_completed + ahead
        done = self._apply(
            lambda: worker_moves.report_epoch(
                self.job,
                make_epoch(number),
                token=token,
                recommended_epoch=number,
                recommendation_reason="r",
                now=self.now,
                lease=LEASE,
            )
        )
        in_order = ahead < 2 and number <= before.parameters.num_epochs
        assert done == (holds and in_order)
        if done and number:
            assert self.job.epochs_completed == max(before.epochs_completed, number)

    @precondition(lambda self: self.tokens)
    @rule(which=st.integers(0, 5), outcome=st.sampled_from(Outcome), retryable=st.booleans())
    def complete(self, which: int, outcome: Outcome, retryable: bool) -> None:
        token = self.tokens[-1 - which % len(self.tokens)]
        before = self.job
        error = JobError("BROKEN", "It broke.", "Mend it.", retryable) if outcome is Outcome.FAILED else None
        done = self._apply(
            lambda: worker_moves.complete(
                self.job, token=token, outcome=outcome, error=error, now=self.now, max_failures=MAX_FAILURES
            )
        )
        holds = before.lease is not None and before.lease.token == token
        if done and not holds:
            # Only the repeat of the report that ended that very attempt passes, and it changes nothing.
            assert self.job == before
            assert any(a.token == token and a.outcome is outcome for a in before.attempts)
        if done and holds and outcome is Outcome.FAILED and not retryable and before.state is not JobState.CANCELLING:
            assert self.job.state is JobState.FAILED

    @rule()
    def reap(self) -> None:
        before = self.job
        self._apply(lambda: moves.expire(self.job, self.now, max_losses=MAX_LOSSES))
        over = before.lease is not None and before.lease.expires_at <= self.now
        assert (self.job != before) == over
        assert self.job.failures == before.failures

    @invariant()
    def a_lease_exactly_while_a_worker_has_it(self) -> None:
        assert (self.job.lease is not None) == (self.job.state in LEASED)
        running = [attempt for attempt in self.job.attempts if attempt.outcome is None]
        assert len(running) == (1 if self.job.state in LEASED else 0)
        assert [attempt.number for attempt in self.job.attempts] == list(range(1, len(self.job.attempts) + 1))

    @invariant()
    def terminal_states_are_whole(self) -> None:
        job = self.job
        assert (job.end_time is not None) == (job.state in TERMINAL)
        assert (job.error is not None) == (job.state is JobState.FAILED)
        if job.state is JobState.SUCCEEDED:
            assert job.epochs_completed >= 1
        assert not (job.stop_requested and job.state in TERMINAL)

    @invariant()
    def epochs_are_never_lost(self) -> None:
        assert self.job.epochs_completed >= self.best_epochs
        self.best_epochs = self.job.epochs_completed
        assert self.job.epochs_completed <= self.job.parameters.num_epochs

    @invariant()
    def budgets_hold(self) -> None:
        assert self.job.failures <= MAX_FAILURES
        if self.job.state is JobState.QUEUED:
            assert self.job.failures < MAX_FAILURES


TestJobMachine = JobMachine.TestCase
TestJobMachine.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


def _running() -> TrainingJob:
    job = worker_moves.acquire(make_job(), worker_id="w", token="t", now=NOW, lease=LEASE).job
    return worker_moves.heartbeat(
        job, token="t", progress=Progress(step=1), running=True, metrics=(), now=NOW, lease=LEASE
    ).job


def test_an_illegal_move_names_the_state_and_what_is_allowed() -> None:
    with pytest.raises(FailedPrecondition) as refused:
        moves.resume(_running(), NOW)
    assert refused.value.reason == "JOB_STATE"
    assert refused.value.metadata == {"state": "RUNNING", "allowed": "pause, cancel, stop"}
    assert "pause, cancel, stop" in refused.value.remedy


@pytest.mark.parametrize(
    ("verb", "directive"),
    [("pause", Directive.PAUSE), ("stop", Directive.STOP), ("cancel", Directive.CANCEL)],
)
def test_the_worker_is_told_what_the_user_asked(verb: str, directive: Directive) -> None:
    assert worker_moves.directive_of(_running()) is Directive.CONTINUE
    assert worker_moves.directive_of(USER_MOVES[verb](_running(), NOW).job) is directive


@pytest.mark.parametrize(
    ("verb", "state"),
    [("pause", JobState.PAUSED), ("cancel", JobState.CANCELLED), ("stop", JobState.QUEUED)],
)
def test_what_was_asked_holds_when_the_worker_dies(verb: str, state: JobState) -> None:
    asked = USER_MOVES[verb](_running(), NOW).job
    lost = moves.expire(asked, NOW + LEASE, max_losses=MAX_LOSSES).job
    assert lost.state is state
    if verb == "stop":
        assert lost.stop_requested
        again = worker_moves.acquire(lost, worker_id="w", token="t2", now=NOW, lease=LEASE).job
        assert worker_moves.directive_of(again) is Directive.STOP


def test_a_lost_job_keeps_its_place_in_the_queue_and_a_resumed_one_does_not() -> None:
    later = NOW + timedelta(hours=1)
    assert moves.expire(_running(), later, max_losses=MAX_LOSSES).job.queued_at == NOW
    paused = moves.pause(make_job(), NOW).job
    assert moves.resume(paused, later).job.queued_at == later


def test_a_finished_epoch_forgives_the_workers_lost_before_it() -> None:
    job = moves.expire(_running(), NOW + LEASE, max_losses=MAX_LOSSES).job
    assert job.losses == 1
    job = worker_moves.acquire(job, worker_id="w", token="t2", now=NOW, lease=LEASE).job
    report = {"token": "t2", "recommended_epoch": 1, "recommendation_reason": "", "now": NOW, "lease": LEASE}
    assert worker_moves.report_epoch(job, make_epoch(1), **report).job.losses == 0  # type: ignore[arg-type]


def test_progress_is_told_twice_a_second_at_most() -> None:
    job, told = _running(), 0
    for tenth in range(1, 21):
        change = worker_moves.heartbeat(
            job,
            token="t",
            progress=Progress(step=tenth),
            running=True,
            metrics=(),
            now=NOW + timedelta(milliseconds=100 * tenth),
            lease=LEASE,
        )
        told += len(change.events)
        job = change.job
    assert told == 4


def test_only_progress_that_is_news_is_told_and_none_of_it_is_lost() -> None:
    def beat(job: TrainingJob, step: int, tenths: int) -> Change:
        moment = NOW + timedelta(milliseconds=100 * tenths)
        progress = Progress(step=step, phase="training")
        return worker_moves.heartbeat(
            job, token="t", progress=progress, running=True, metrics=(), now=moment, lease=LEASE
        )

    told, job = [], _running()
    # The last goes on to step 4 and back, both before anybody could be told of it.
    for step, tenths in [(2, 1), (2, 4), (2, 6), (2, 12), (2, 18), (3, 24), (4, 26), (3, 30), (3, 36)]:
        change = beat(job, step, tenths)
        told += [(event.progress.step, tenths) for event in change.events if isinstance(event, Progressed)]
        job = change.job
    # Step 2 came too soon after the last event, so it is told when that is due; then nothing until step 3.
    assert told == [(2, 6), (3, 24)]
    assert job.progress.told == job.progress.sign


def test_a_move_says_how_long_the_job_was_in_the_state_that_it_leaves() -> None:
    later = NOW + timedelta(seconds=90)
    job = replace(make_job(), state_time=NOW)
    taken = worker_moves.acquire(job, worker_id="w", token="t", now=later, lease=LEASE)
    (event,) = taken.events
    assert isinstance(event, StateChanged)
    assert (event.seconds, taken.job.state_time) == (90.0, later)
    assert moves.cancel(replace(job, state_time=None), later).events[0].seconds is None  # type: ignore[union-attr]


def test_an_epoch_without_a_lora_is_refused() -> None:
    empty = replace(make_epoch(1), files=())
    with pytest.raises(InvalidArgument) as refused:
        worker_moves.report_epoch(
            _running(),
            empty,
            token="t",
            recommended_epoch=1,
            recommendation_reason="",
            now=NOW,
            lease=LEASE,
        )
    assert refused.value.field == "epoch.files"


def test_an_old_token_is_refused_with_the_reason_that_workers_look_for() -> None:
    with pytest.raises(Aborted) as refused:
        worker_moves.complete(
            _running(), token="old", outcome=Outcome.SUCCEEDED, error=None, now=NOW, max_failures=MAX_FAILURES
        )
    assert refused.value.reason == "LEASE_LOST"


def test_a_notice_is_told_once_whoever_brings_it_and_a_job_keeps_so_many() -> None:
    def beat(job: TrainingJob, *notices: str) -> Change:
        return worker_moves.heartbeat(
            job, token="t", progress=job.progress, running=True, metrics=(), now=NOW, lease=LEASE, notices=notices
        )

    first = beat(_running(), "One.", "Two.", "One.")
    assert [event.text for event in first.events if isinstance(event, Noticed)] == ["One.", "Two."]
    again = beat(first.job, "Two.", "Three.")
    assert [event.text for event in again.events if isinstance(event, Noticed)] == ["Three."]
    assert again.job.notices == ("One.", "Two.", "Three.")
    many = beat(again.job, *(f"{number}." for number in range(30)))
    assert len(many.job.notices) == worker_moves.MOST_NOTICES
    assert not [event for event in beat(many.job, "More.").events if isinstance(event, Noticed)]


def test_an_attempt_that_goes_back_has_the_points_of_later_steps_forgotten() -> None:
    def beat(back_to_step: int | None) -> Change:
        return worker_moves.heartbeat(
            _running(),
            token="t",
            progress=Progress(step=4),
            running=True,
            metrics=(),
            now=NOW,
            lease=LEASE,
            back_to_step=back_to_step,
        )

    assert [beat(back).forget_metrics_after for back in (None, 0, 3)] == [None, 0, 3]


def test_what_a_pretending_worker_does_is_marked_and_teaches_no_pace() -> None:
    real = worker_moves.acquire(make_job(num_epochs=1), worker_id="w", token="t", now=NOW, lease=LEASE).job
    assert not real.pretended
    lost = moves.left(real, NOW + 2 * LEASE, Outcome.RELEASED, "").job
    later = NOW + 3 * LEASE
    job = worker_moves.acquire(lost, worker_id="p", token="u", now=later, lease=LEASE, pretends=True).job
    assert ([each.pretended for each in job.attempts], job.pretended) == ([False, True], True)
    change = worker_moves.report_epoch(
        job, make_epoch(1), token="u", recommended_epoch=1, recommendation_reason="", now=later, lease=LEASE
    )
    assert change.epoch is not None
    assert change.epoch.pretended
    done = worker_moves.complete(
        change.job, token="u", outcome=Outcome.SUCCEEDED, error=None, now=later + LEASE, max_failures=3
    ).job
    assert (done.state, done.seconds_per_sample) == (JobState.SUCCEEDED, 0.0)
