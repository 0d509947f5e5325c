"""Follows a training job live: its place in the queue, steps with loss and time left, each epoch as it is finished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fiveshot.sync.training import updates
from fiveshot.trainer.v1 import training_event_pb2, training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from gateway.cli import labels, mixes, output, verdicts
from gateway.cli.session import Session

Job = training_job_pb2.TrainingJob
ENDED = (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)
# Below so many characters a line has no room for the speed.
_WIDE = 100

OnEpoch = Callable[[training_job_pb2.Epoch], None]


def follow(session: Session, name: str, *, on_epoch: OnEpoch | None = None) -> Job:
    """Shows a job until it ends and returns it. `on_epoch` is called with every epoch that is finished meanwhile."""
    if session.json:
        for update in updates(session.stubs, name):
            output.print_json_line(update)
            _tell_epoch(update, on_epoch)
    else:
        with View() as view:
            for update in updates(session.stubs, name):
                view.show(update)
                _tell_epoch(update, on_epoch)
    return session.trainer.GetTrainingJob(pb.GetTrainingJobRequest(name=name))


def exit_code(job: Job) -> int:
    """0 for a job that succeeded."""
    return output.OK if job.state == Job.STATE_SUCCEEDED else output.FAILED


def _tell_epoch(update: pb.WatchTrainingJobResponse, on_epoch: OnEpoch | None) -> None:
    if on_epoch and update.event.WhichOneof("payload") == "epoch_completed":
        on_epoch(update.event.epoch_completed.epoch)


class View:
    """A bar at a terminal; elsewhere a line now and then."""

    def __init__(self, console: Console | None = None) -> None:
        # The bar takes what the words leave, so that a line fits the terminal whatever it says.
        columns = (
            TextColumn("{task.description}", table_column=_words()), BarColumn(bar_width=None, table_column=_bar()),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", table_column=_words()),
            TextColumn("{task.fields[facts]}", table_column=_words()),
        )  # fmt: skip
        self._console = console or output.err
        self._live = self._console.is_terminal
        self._progress = Progress(*columns, console=self._console, transient=True, disable=not self._live, expand=True)
        self._bar: TaskID = self._progress.add_task("waiting", total=1, facts="")
        self._last = ""
        self._tenths = -1

    def __enter__(self) -> View:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, update: pb.WatchTrainingJobResponse) -> None:
        """Shows one update."""
        if update.WhichOneof("update") == "job":
            self._job(update.job)
            return
        event = update.event
        kind = event.WhichOneof("payload")
        if kind == "progress":
            self._advance(event.progress)
        elif kind == "epoch_completed":
            self._line(_epoch_line(event.epoch_completed.epoch))
        elif kind == "base_previews_completed":
            self._line("previews of the base model are there")
        elif kind == "notice":
            self._line(event.notice.text)
        elif kind == "state_changed":
            self._state(event.state_changed)
        elif kind == "created":
            self._job(event.created.job)

    def _job(self, job: Job) -> None:
        state = output.enum_name(job, "state")
        waiting = f", {job.queue_position - 1} before it" if job.queue_position > 1 else ""
        self._line(f"{output.short(job.name)}: {state}{waiting}")
        for text in (*job.notices, job.held_back):
            if text:
                self._line(text)
        self._progress.update(self._bar, description=state, total=max(1, job.total_steps), completed=job.step)

    def _state(self, change: training_event_pb2.JobStateChanged) -> None:
        state = output.enum_name(change, "state")
        self._progress.update(self._bar, description=state)
        self._line(f"{state}: {change.message}" if change.message else state)
        if change.error.message:
            self._line(f"{change.error.message} {change.error.remedy} [{change.error.reason}]")

    def _advance(self, progress: training_event_pb2.JobProgress) -> None:
        speed = f"{progress.images_per_second:.1f} images/s" if progress.images_per_second else ""
        facts = [f"loss {progress.loss:.4f}"] if progress.loss else []
        facts += [speed] if speed and (not self._live or self._console.width >= _WIDE) else []
        facts += [f"{output.duration(progress.eta_seconds)} left"] if progress.eta_seconds else []
        description = f"epoch {progress.epoch}: {progress.phase}" if progress.epoch else progress.phase
        self._progress.update(
            self._bar, description=description, total=max(1, progress.total_steps), completed=progress.step,
            facts=", ".join(facts),
        )  # fmt: skip
        tenths = 10 * progress.step // max(1, progress.total_steps)
        if not self._live and tenths != self._tenths:
            self._tenths = tenths
            self._line(f"{description} {progress.step}/{progress.total_steps} {', '.join(facts)}".rstrip())

    def _line(self, text: str) -> None:
        if text != self._last:
            self._last = text
            self._progress.console.print(text, markup=False)


def _words() -> Column:
    return Column(no_wrap=True, overflow="ellipsis")


def _bar() -> Column:
    return Column(ratio=1, min_width=4)


def _epoch_line(epoch: training_job_pb2.Epoch) -> str:
    mark = ", recommended so far" if epoch.recommended else ""
    found = verdicts.in_words(epoch)
    left = f", {found}" if found else ""
    number, previews = output.short(epoch.name), len(epoch.previews)
    mark += ", pretended" if epoch.pretended else ""
    return f"epoch {number} finished: loss {epoch.loss:.4f}{left}, {previews} previews{mark}"


def describe(job: Job) -> list[tuple[str, Any]]:
    """The facts of a job, for `output.facts`."""
    left = output.seconds_until(job.estimated_end_time)
    error = f"{job.error.message} {job.error.remedy} [{job.error.reason}]" if job.error.reason else ""
    place = f"place {job.queue_position}, {job.queue_position_in_project} in the project" if job.queue_position else ""
    best = f"{job.recommended_epoch}: {job.recommendation_reason}" if job.recommended_epoch else ""
    return [
        ("name", job.name), ("display name", job.display_name), ("base model", output.short(job.base_model)),
        ("dataset version", f"{job.dataset_version} ({job.image_count} images)"), ("trigger word", job.trigger_word),
        ("datasets", mixes.shown(job.datasets)), ("goes on from", job.initial_lora),
        ("state", output.enum_name(job, "state") + (f", {job.phase}" if job.phase else "")),
        ("pretended", "yes: nothing is trained, for tests of programs" if job.pretended else ""),
        ("queue", place), ("held back", job.held_back), ("labels", labels.shown(job.labels)),
        ("steps", f"{job.step} of {job.total_steps}"),
        ("epochs", f"{job.epochs_completed} of {job.parameters.num_epochs}"),
        ("loss", f"{job.loss:.4f}" if job.loss else ""), ("left", output.duration(left) if left else ""),
        ("recommended epoch", best), ("attempts", len(job.attempts)), ("notices", " ".join(job.notices)),
        ("error", error),
        ("created", output.when(job.create_time)), ("started", output.when(job.start_time)),
        ("ended", output.when(job.end_time)),
    ]  # fmt: skip
