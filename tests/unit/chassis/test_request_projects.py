"""Whose project a request touches, and who may."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.registry.v1 import model_pb2, registry_service_pb2
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.trainer.v1 import (
    training_job_pb2,
    training_service_pb2,
    worker_service_pb2,
)
from google.protobuf import any_pb2, struct_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from services.chassis import request_context
from services.chassis.errors import PermissionDenied
from services.chassis.request_checks import (
    check_projects,
    field_naming,
    is_resource_name,
    named_projects,
)
from services.chassis.request_context import RequestContext

NOUNS = {"name", "parent", "dataset", "dataset_version", "image", "training_job", "epoch", "model_version", "tag_job"}


def caller(*projects: str) -> RequestContext:
    return RequestContext(request_id="r", projects=frozenset(projects))


@pytest.mark.parametrize(
    ("request_", "found"),
    [
        (dataset_service_pb2.ListImagesRequest(parent="projects/p/datasets/d"), [("parent", "p")]),
        (
            dataset_service_pb2.UpdateDatasetRequest(dataset=dataset_pb2.Dataset(name="projects/p/datasets/d")),
            [("dataset.name", "p")],
        ),
        (
            dataset_service_pb2.UploadImageRequest(
                header=dataset_service_pb2.UploadImageHeader(parent="projects/p/datasets/d")
            ),
            [("header.parent", "p")],
        ),
        (
            tagger_service_pb2.TagImagesRequest(parent="projects/p", dataset="projects/q/datasets/d"),
            [("parent", "p"), ("dataset", "q")],
        ),
        (
            training_service_pb2.CreateTrainingJobRequest(
                training_job=training_job_pb2.TrainingJob(dataset_version="projects/p/datasets/d/versions/1")
            ),
            [("training_job.dataset_version", "p")],
        ),
        (worker_service_pb2.HeartbeatRequest(training_job="projects/p/trainingJobs/j"), [("training_job", "p")]),
        (worker_service_pb2.ReportEpochRequest(training_job="projects/p/trainingJobs/j"), [("training_job", "p")]),
        (worker_service_pb2.CompleteAttemptRequest(training_job="projects/p/trainingJobs/j"), [("training_job", "p")]),
        (registry_service_pb2.SaveEpochRequest(epoch="projects/p/trainingJobs/j/epochs/1"), [("epoch", "p")]),
        (training_service_pb2.GetBaseModelRequest(name="baseModels/b"), []),
    ],
)
def test_projects_are_found_wherever_a_resource_is_named(request_: Message, found: list[tuple[str, str]]) -> None:
    assert list(named_projects(request_)) == found


@pytest.mark.parametrize(
    "request_",
    [
        dataset_service_pb2.CreateDatasetRequest(
            parent="projects/mine",
            request_id="projects/alpha",
            dataset=dataset_pb2.Dataset(
                display_name="projects/alpha", description="projects/alpha", trigger_word="projects/alpha"
            ),
        ),
        dataset_service_pb2.ListImagesRequest(filter="projects/alpha", page_token="projects/alpha"),
        dataset_service_pb2.EditTagsRequest(edits=[dataset_service_pb2.TagEdit(add="projects/alpha")]),
        dataset_service_pb2.UpdateImageRequest(
            image=dataset_pb2.Image(caption="projects/alpha/x", tags=[dataset_pb2.Tag(label="projects/alpha")])
        ),
        tagger_service_pb2.TagImagesRequest(
            options=tagger_pb2.TagOptions(prepend=["projects/alpha"], category_thresholds={"projects/alpha": 1})
        ),
        training_service_pb2.CreateTrainingJobRequest(
            training_job=training_job_pb2.TrainingJob(
                display_name="projects/alpha",
                parameters=training_job_pb2.TrainingParameters(preview_prompts=["projects/alpha/x"]),
            )
        ),
        registry_service_pb2.CreateModelRequest(model=model_pb2.Model(tags=["projects/alpha"])),
        struct_pb2.Value(string_value="projects/alpha"),
        any_pb2.Any(value=b"projects/alpha/x"),
    ],
)
def test_free_text_is_no_resource_name(request_: Message) -> None:
    check_projects(request_, caller("mine"))
    assert field_naming(request_, "projects/alpha") == ""


def test_no_field_of_a_request_names_a_resource_unsaid() -> None:
    """What is not marked is not checked, so a new field that takes a name must not be forgotten."""
    seen: set[str] = set()

    def fields(message: Descriptor) -> Iterator[FieldDescriptor]:
        if message.full_name not in seen:
            seen.add(message.full_name)
            for field in message.fields:
                yield field
                if field.message_type is not None:
                    yield from fields(field.message_type)

    modules = (
        dataset_service_pb2, registry_service_pb2, tagger_service_pb2, training_service_pb2, worker_service_pb2
    )  # fmt: skip
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    inputs = [method.input_type for service in services for method in service.methods]
    texts = [field for message in inputs for field in fields(message) if field.type == field.TYPE_STRING]
    named = {field.full_name for field in texts if is_resource_name(field)}
    assert {field.full_name for field in texts if field.name in NOUNS} <= named
    assert len(named) > 40
    assert not any(name.endswith((".display_name", ".caption", ".label", ".description")) for name in named)


@pytest.mark.parametrize("text", ["my projects/other/x", "projects/other and more", "projects", "baseModels/b"])
def test_prose_is_no_resource_name(text: str) -> None:
    assert list(named_projects(dataset_pb2.Dataset(name=text))) == []


def test_a_request_for_a_foreign_project_is_refused() -> None:
    request = dataset_service_pb2.GetDatasetRequest(name="projects/theirs/datasets/d")
    with request_context.use(caller("mine")), pytest.raises(PermissionDenied) as caught:
        check_projects(request, request_context.current())
    assert (caught.value.reason, caught.value.field) == ("PROJECT_FORBIDDEN", "name")
    assert caught.value.metadata == {"project": "theirs"}


@pytest.mark.parametrize("projects", [frozenset({"*"}), frozenset({"mine", "theirs"}), None])
def test_callers_who_may(projects: frozenset[str] | None) -> None:
    context = RequestContext(projects=projects)
    with request_context.use(context):
        check_projects(dataset_service_pb2.GetDatasetRequest(name="projects/theirs/datasets/d"), context)
        request_context.require_project("theirs")


def test_a_caller_without_projects_may_touch_none() -> None:
    with request_context.use(caller()), pytest.raises(PermissionDenied):
        request_context.require_project("p")


def test_the_context_ends_with_its_block() -> None:
    with request_context.use(caller("p")):
        assert request_context.current().request_id == "r"
    assert request_context.current().request_id == ""
    assert request_context.current().allows("anything")


@pytest.mark.parametrize(
    ("header", "projects"), [("", set()), ("*", {"*"}), ("a", {"a"}), (" a , b,", {"a", "b"}), (",,", set())]
)
def test_the_projects_header(header: str, projects: set[str]) -> None:
    parsed = request_context.parse_projects(header)
    assert parsed == projects
    assert request_context.parse_projects(request_context.format_projects(parsed)) == parsed


def test_the_field_that_names_a_resource() -> None:
    request = dataset_service_pb2.UploadImageRequest(
        header=dataset_service_pb2.UploadImageHeader(parent="projects/p/datasets/d", file_name="a.png")
    )
    assert field_naming(request, "projects/p/datasets/d") == "header.parent"
    assert field_naming(request, "projects/p/datasets/other") == ""
    image = dataset_service_pb2.GetImageRequest(name="projects/p/datasets/d/images/i")
    assert field_naming(image, "projects/p/datasets/d") == "name"
