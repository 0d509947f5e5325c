"""What a watch says of a job."""

from __future__ import annotations

from fiveshot.trainer.v1 import training_event_pb2, training_job_pb2, training_service_pb2
from fiveshot.updates import Update


def test_a_notice_is_an_update_with_its_sentence_and_leaves_the_rest_as_it_was() -> None:
    job = training_job_pb2.TrainingJob(state=training_job_pb2.TrainingJob.STATE_RUNNING, step=7, total_steps=20)
    before = Update().then(training_service_pb2.WatchTrainingJobResponse(job=job))
    event = training_event_pb2.TrainingJobEvent(
        state=training_job_pb2.TrainingJob.STATE_RUNNING, notice=training_event_pb2.JobNotice(text="It goes on.")
    )
    after = before.then(training_service_pb2.WatchTrainingJobResponse(event=event))
    assert (after.kind, after.text) == ("notice", "It goes on.")
    assert (after.state, after.step, after.total_steps) == (before.state, 7, 20)


def test_an_epoch_that_is_told_late_takes_no_step_back() -> None:
    def at(step: int, told: Update) -> Update:
        progress = training_event_pb2.JobProgress(step=step, total_steps=20, epoch=2)
        return told.then(_told(training_event_pb2.TrainingJobEvent(progress=progress)))

    epoch = training_job_pb2.Epoch(name="projects/p/trainingJobs/j/epochs/1", step=10)
    event = training_event_pb2.TrainingJobEvent(epoch_completed=training_event_pb2.EpochCompleted(epoch=epoch))
    assert [told.then(_told(event)).step for told in (at(9, Update()), at(12, Update()))] == [10, 12]


def _told(event: training_event_pb2.TrainingJobEvent) -> training_service_pb2.WatchTrainingJobResponse:
    return training_service_pb2.WatchTrainingJobResponse(event=event)
