"""Proto to model and back."""

from __future__ import annotations

import json
from dataclasses import replace

from fiveshot.trainer.v1 import base_model_pb2, training_event_pb2, training_job_pb2

from services.trainer.models.base import OfferedModel
from services.trainer.models.epoch import Evaluation
from services.trainer.models.events import (
    BasePreviewsCompleted,
    Created,
    Deleted,
    EpochCompleted,
    JobEvent,
    Noticed,
    Progressed,
    StateChanged,
    Updated,
)
from services.trainer.models.job import JobError, JobState, Outcome, Progress
from services.trainer.proto_mapping.epochs import epoch_from_proto, epoch_to_proto, file_to_proto
from services.trainer.proto_mapping.events import event_from_payload, event_payload, event_type
from services.trainer.proto_mapping.jobs import outcome_from_proto, state_to_proto, stored_job_to_proto
from services.trainer.proto_mapping.parameters import (
    FIELD_NAMES,
    base_model_to_proto,
    given_parameters,
    parameters_to_proto,
)
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from tests.unit.trainer.jobs import NAME, NOW, make_epoch, make_job


def test_every_parameter_but_the_trigger_word_is_in_the_api_and_the_other_way_round() -> None:
    assert {spec.name for spec in DEFAULT_SPECS} - {"trigger_word"} == FIELD_NAMES


def test_parameters_go_to_the_wire_and_back_unchanged() -> None:
    lists = {"preview_prompts": ["a", "b", "c"], "preview_seeds": [1, 0]}
    parameters = resolve(DEFAULT_SPECS, {"learning_rate": 1.5e-3, "flip": True, "num_epochs": 3, **lists})
    given = given_parameters(parameters_to_proto(parameters))
    assert resolve(DEFAULT_SPECS, given) == parameters


def test_zero_and_false_are_given_and_unset_is_not() -> None:
    message = training_job_pb2.TrainingParameters(num_epochs=0, flip=False)
    assert given_parameters(message) == {"num_epochs": 0, "flip": False}


def test_all_states_outcomes_and_spec_types_have_their_names() -> None:
    states = {state_to_proto(state) for state in JobState}
    assert states == set(training_job_pb2.TrainingJob.State.values()) - {0}
    outcomes = training_job_pb2.Attempt.Outcome.values()
    assert {outcome_from_proto(value) for value in outcomes if value} == set(Outcome)
    offered = base_model_to_proto(OfferedModel(load_catalogue()["fiveshot-tiny"], available=True))
    assert offered.name == "baseModels/fiveshot-tiny"
    by_name = {spec.parameter: spec for spec in offered.parameter_specs}
    assert by_name["num_epochs"].type == base_model_pb2.ParameterSpec.TYPE_INTEGER
    assert (by_name["num_epochs"].minimum, by_name["num_epochs"].maximum) == (1, 50)
    assert by_name["flip"].default_value == "true"
    defaults = {spec.name: spec.default for spec in load_catalogue()["fiveshot-tiny"].specs}
    assert float(by_name["learning_rate"].default_value) == defaults["learning_rate"]
    assert not by_name["optimizer"].HasField("minimum")


def test_an_epoch_goes_to_the_wire_and_back_with_keys_for_workers_only() -> None:
    epoch = replace(make_epoch(2), evaluation=Evaluation(0.5, None, 0.1, 0.2, 0.4))
    message = epoch_to_proto(epoch, recommended=True, file_notes=("Some tool does not.",))
    assert list(message.file_notes) == ["Some tool does not."]
    assert message.name == f"{NAME}/epochs/2"
    assert message.files[0].object_key == ""
    assert not message.evaluation.HasField("held_out_loss")
    message.files[0].CopyFrom(file_to_proto(epoch.files[0], with_key=True))
    back = epoch_from_proto(message, job=NAME, number=2, checkpoint=(), now=NOW)
    assert replace(back, attempt=1) == epoch


EVENTS: tuple[JobEvent, ...] = (
    Created(),
    StateChanged(
        JobState.RUNNING,
        JobState.FAILED,
        "It failed.",
        JobError("DISK_FULL", "The disk is full.", "Free space.", retryable=False),
        2,
    ),
    Progressed(Progress(step=3, epoch=1, loss=0.25, eta_seconds=2.5), 30),
    EpochCompleted(make_epoch(1), recommended=True),
    Noticed("Batches are computed in parts."),
    BasePreviewsCompleted(()),
    Updated(),
    Deleted(0),
)


def test_every_event_is_stored_whole_and_read_back() -> None:
    job = replace(make_job(), state=JobState.FAILED)
    for number, event in enumerate(EVENTS, 1):
        payload = event_payload(event, job, event_id=f"id-{number}", sequence=number, moment=NOW)
        assert "\n" not in payload
        assert json.loads(payload)["trainingJob"] == NAME
        message = event_from_payload(payload)
        assert (message.event_id, message.sequence) == (f"id-{number}", number)
        assert message.state == training_job_pb2.TrainingJob.STATE_FAILED
        assert event_type(event) == message.WhichOneof("payload")
    assert event_from_payload('{"eventId": "x", "somethingNewer": 1}').event_id == "x"


def test_every_payload_of_the_api_has_an_event() -> None:
    fields = {field.name for field in training_event_pb2.TrainingJobEvent.DESCRIPTOR.oneofs[0].fields}
    assert fields == {event_type(event) for event in EVENTS}


def test_a_job_shows_its_error_and_hides_its_lease() -> None:
    error = JobError("LOSS_NOT_FINITE", "The loss is not a number.", "Lower the learning rate.")
    message = stored_job_to_proto(replace(make_job(), state=JobState.FAILED, error=error, end_time=NOW))
    assert message.error.remedy == "Lower the learning rate."
    assert message.end_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW
    assert not message.HasField("start_time")
    assert message.total_steps == 30


def test_a_job_shows_its_notices_in_order() -> None:
    assert list(stored_job_to_proto(replace(make_job(), notices=("First.", "Then."))).notices) == ["First.", "Then."]
