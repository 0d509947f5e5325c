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
