"""The AIP annotations of the API: they agree with the comments, with each other, and with what the services do."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as ds
from fiveshot.registry.v1 import model_pb2
from fiveshot.registry.v1 import registry_service_pb2 as rs
from fiveshot.trainer.v1 import training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as tr
from google.api import client_pb2, field_behavior_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldOptions, FileOptions, MessageOptions, MethodOptions
from google.protobuf.message import Message

from gateway.envoy_routes import PUBLIC_SERVICES
from gateway.http_rules import http_rules
from services.dataset.proto_mapping import resources
from services.registry.proto_mapping import messages as registry_mapping
from services.trainer.proto_mapping import jobs as trainer_mapping
from tools.protos import PROTOS, sources

OUTPUT_ONLY = field_behavior_pb2.OUTPUT_ONLY
RESOURCES = (dataset_pb2.Dataset, dataset_pb2.Image, training_job_pb2.TrainingJob, model_pb2.Model)


def _output_only(message: Message) -> list[Any]:
    return [
        field
        for field in message.DESCRIPTOR.fields
        if OUTPUT_ONLY in field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    ]


def test_a_comment_says_output_only_where_the_annotation_does() -> None:
    for source in sources():
        fields = re.findall(r"((?:[ ]*//[^\n]*\n)+)[ ]*([\w.<>, ]+ = \d+[^;]*);", (PROTOS / source).read_text())
        assert not [
            declared for comment, declared in fields if ("Output only" in comment) != ("OUTPUT_ONLY" in declared)
        ], source


def _filled(message: Message) -> Message:
    """Every output-only field set to something."""
    for field in _output_only(message):
        if field.is_repeated:
            values = getattr(message, field.name)
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                values["forged"] = "forged"
                continue
            values.add() if field.message_type else values.append("forged")
        elif field.message_type is not None:
            getattr(message, field.name).SetInParent()
        elif field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
            setattr(message, field.name, "forged")
        else:
            setattr(message, field.name, 1)
    return message


def _new_dataset(dataset: Any) -> object:
    return resources.new_dataset(ds.CreateDatasetRequest(parent="projects/acme", dataset=dataset))


def _new_job(job: Any) -> object:
    return trainer_mapping.request_from_proto(tr.CreateTrainingJobRequest(parent="projects/acme", training_job=job))


def _edited_job(job: Any) -> object:
    return trainer_mapping.edit_from_proto(tr.UpdateTrainingJobRequest(training_job=job))


def _new_model(model: Any) -> object:
    return registry_mapping.new_model(rs.CreateModelRequest(parent="projects/acme", model=model))


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (dataset_pb2.Dataset(display_name="A", trigger_word="sks"), _new_dataset),
        (dataset_pb2.Dataset(name="projects/acme/datasets/d", display_name="A"), resources.dataset_fields),
        (dataset_pb2.Image(caption="a cat"), resources.image_fields),
        (training_job_pb2.TrainingJob(base_model="baseModels/tiny", display_name="A"), _new_job),
        (training_job_pb2.TrainingJob(name="projects/acme/trainingJobs/j", priority=1), _edited_job),
        (model_pb2.Model(display_name="A", tags=["dog"]), _new_model),
        (model_pb2.Model(name="projects/acme/models/m", description="x"), registry_mapping.given_model),
    ],
)
def test_what_a_caller_says_of_an_output_only_field_is_ignored(message: Message, read: Callable[[Any], object]) -> None:
    assert _output_only(message)
    bare, forged = type(message)(), type(message)()
    bare.CopyFrom(message)
    forged.CopyFrom(message)
    assert _filled(forged) != bare
    assert read(forged) == read(bare)


def _messages() -> Iterator[Descriptor]:
    for rule in http_rules(PUBLIC_SERVICES):
        yield from (rule.method.input_type, rule.method.output_type)


def _extension(options: Any, kind: Any, extension: Any) -> Any:
    # The pool of http_rules has options classes of its own; the bytes are the same.
    return kind.FromString(options.SerializeToString()).Extensions[extension]


def test_a_reference_names_a_resource_of_the_api() -> None:

    known, named = set(), set()
    for message in _messages():
        for one in (message, *(field.message_type for field in message.fields if field.message_type)):
            resource = _extension(one.GetOptions(), MessageOptions, resource_pb2.resource)
            known |= {resource.type} - {""}
            files = _extension(one.file.GetOptions(), FileOptions, resource_pb2.resource_definition)
            known |= {defined.type for defined in files}
            for field in one.fields:
                named |= {_extension(field.GetOptions(), FieldOptions, resource_pb2.resource_reference).type} - {""}
    assert {f"fiveshot.dev/{kind}" for kind in ("Dataset", "Image", "Model", "TrainingJob", "Epoch")} <= known
    assert named
    # `*` stands for a resource of any type.
    assert named - {"*"} <= known


def test_a_resource_says_how_it_is_named() -> None:
    for message in RESOURCES:
        resource = message.DESCRIPTOR.GetOptions().Extensions[resource_pb2.resource]
        assert resource.type == f"fiveshot.dev/{message.DESCRIPTOR.name}"
        assert list(resource.pattern)


def test_a_signature_is_made_of_fields_of_its_request() -> None:

    signed = 0
    for rule in http_rules(PUBLIC_SERVICES):
        for signature in _extension(rule.method.GetOptions(), MethodOptions, client_pb2.method_signature):
            signed += 1
            missing = set(signature.split(",")) - set(rule.method.input_type.fields_by_name)
            assert not missing, (rule.method.full_name, missing)
    assert signed > 40
