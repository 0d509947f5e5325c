"""What a worker writes is what the control plane reads, and the other way round."""

from __future__ import annotations

from dataclasses import astuple

from fiveshot.trainer.v1 import training_job_pb2, worker_service_pb2

from services.trainer.models import job as model
from services.trainer.proto_mapping import epochs, jobs, measurements
from services.trainer.proto_mapping.parameters import parameters_to_proto
from services.trainer.recipe.parameters import DEFAULT_SPECS, resolve
from services.trainer.worker import wire
from tests.unit.trainer.measured import NOW, measurement, parameters


def test_every_directive_reaches_the_worker() -> None:
    told = {wire.directive_from_proto(jobs.directive_to_proto(directive)) for directive in model.Directive}
    assert told == set(wire.Directive)
    assert wire.directive_from_proto(worker_service_pb2.DIRECTIVE_UNSPECIFIED) is wire.Directive.CONTINUE


def test_every_outcome_and_error_reaches_the_trainer() -> None:
    told = {jobs.outcome_from_proto(wire.outcome_to_proto(outcome)) for outcome in wire.Outcome}
    assert told == set(model.Outcome)
    error = wire.JobError("DISK_FULL", "The disk is full.", "Free space.", True)
    assert astuple(jobs.error_from_proto(wire.error_to_proto(error))) == astuple(error)


def test_points_and_measurements_arrive_whole() -> None:
    point = wire.Metric(3, 1, "loss", 0.25, NOW)
    assert astuple(epochs.metric_from_proto(wire.metric_to_proto(point), NOW)) == astuple(point)
    measured = measurement(parameters())
    arrived = measurements.measurement_from_proto(wire.measurement_to_proto(measured), measured.measured_at)
    assert [part.seconds for part in arrived.parts.values()] == [measured.parts[name].seconds for name in arrived.parts]
    assert arrived.parts.keys() == measured.parts.keys()
    assert (arrived.device, arrived.peak_bytes, arrived.weight_bytes, arrived.cost_version) == (
        measured.device,
        measured.peak_bytes,
        measured.weight_bytes,
        measured.cost_version,
    )


def test_a_worker_trains_with_the_parameters_that_the_trainer_resolved() -> None:
    given = {"rank": 8, "flip": False, "preview_prompts": ("one", "two"), "trigger_word": "sks"}
    chosen = resolve(DEFAULT_SPECS, given)
    job = training_job_pb2.TrainingJob(parameters=parameters_to_proto(chosen), trigger_word="sks")
    assert resolve(DEFAULT_SPECS, wire.given_parameters(job)) == chosen


def test_an_answer_without_a_job_is_no_assignment() -> None:
    assert wire.assignment_from_proto(worker_service_pb2.AcquireJobResponse()) is None
    answer = worker_service_pb2.AcquireJobResponse(
        job=training_job_pb2.TrainingJob(name="projects/acme/trainingJobs/one"), lease_token="t", attempt=2
    )
    found = wire.assignment_from_proto(answer)
    assert found is not None
    assert (found.job.name, found.token, found.attempt, found.checkpoint) == (answer.job.name, "t", 2, ())
