"""What the comments of the API promise: numbers that callers meet, and which fields of a resource are theirs to set."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import pytest
from google.api import field_behavior_pb2, resource_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pb2 import FieldOptions, MessageOptions

from gateway.envoy_routes import PUBLIC_SERVICES
from gateway.http_rules import http_rules
from services.chassis.listing.pages import Listing, ListRequest, PageTokens
from services.dataset import ports as dataset
from services.dataset.models.resources import DatasetFields, ImageFields
from services.dataset.use_cases.images import IMAGES
from services.dataset.use_cases.projects import PROJECTS
from services.notifier import ports as notifier
from services.notifier.models.webhooks import EDITABLE as OF_A_WEBHOOK
from services.registry import ports as registry
from services.registry.models.checks import EDITABLE
from services.tagger import ports as tagger
from services.tagger.models.tags import DEFAULT_MAX_TAGS, MAX_TAGS_PER_IMAGE
from services.tagger.settings import Settings as TaggerSettings
from services.tagger.use_cases.subject import MOST_PICTURES
from services.trainer import ports as trainer
from services.trainer.models.own_base_model import EDITABLE as OF_A_BASE_MODEL
from services.trainer.ports.base_models import BASE_MODELS
from services.trainer.ports.previews import PREVIEW_REQUESTS
from services.trainer.use_cases.previewing import LARGEST_DRAWN
from tools.protos import PROTOS, sources

MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"((?:^ +//[^\n]*\n)+) +[\w.<>, ]*?(\w+) = \d+([^;]*);", re.MULTILINE)
# `at most 120 characters`, `0 to 1`, `-100 to 100`, `up to eight`.
BOUND = re.compile(r"at most (\d+(?: [KM]iB)?)|(?<![\w.])(-?\d+) to (-?\d+)|up to (eight|\d+)\b", re.IGNORECASE)
UNITS = {"KiB": 1024, "MiB": 1024 * 1024}
LISTINGS: dict[str, Listing[Any]] = {
    "ListProjects": PROJECTS, "ListDatasets": dataset.DATASETS, "ListImages": IMAGES,
    "ListDatasetVersions": dataset.VERSIONS,
    "ListDatasetVersionImages": dataset.VERSION_IMAGES, "ListTagJobs": tagger.TAG_JOBS, "ListModels": registry.MODELS,
    "ListAuditRecords": registry.AUDIT_RECORDS,
    "ListModelVersions": registry.VERSIONS, "ListTrainingJobs": trainer.JOBS, "ListEpochs": trainer.EPOCHS,
    "ListPreviewRequests": PREVIEW_REQUESTS, "ListOwnBaseModels": BASE_MODELS,
    "ListWebhooks": notifier.WEBHOOKS, "ListWebhookDeliveries": notifier.DELIVERIES,
}  # fmt: skip
SETTABLE = {
    "Dataset": set(DatasetFields.__dataclass_fields__),
    "Image": set(ImageFields.__dataclass_fields__),
    "Model": set(EDITABLE),
    "ModelVersion": {"labels"},
    "DatasetVersion": {"labels"},
    "Epoch": {"labels"},
    "Webhook": set(OF_A_WEBHOOK),
    # What it is made with; nothing of it changes.
    "PreviewRequest": {
        *("sources", "strengths", "prompts", "seeds", "negative_prompt", "width", "height", "steps", "guidance"),
        "attended",
    },
    # What an own one is announced with, and what may change of it.
    "BaseModel": {*OF_A_BASE_MODEL, "based_on", "file_name", "size_bytes", "sha256"},
    # What a job is made with, and what may change of it.
    "TrainingJob": {
        *("base_model", "dataset_version", "datasets", "initial_lora", "parameters", "trigger_word"),
        *("display_name", "priority", "labels"),
    },
}
# Bounds that no rule of a field holds: what the service answers with, or a limit that the operator sets.
ELSEWHERE = {
    ("TagImageRequest", "content"): TaggerSettings().max_image_bytes,
    # With one optimizer alone; the recipe refuses the rest, which tests/unit/trainer holds.
    ("TrainingParameters", "learning_rate"): None,
    ("TrainingParameters", "preview_prompts"): None,
}


def _fields() -> Iterator[tuple[str, str, str, str]]:
    """Message, field, comment and options of every field of a message that stands alone in its file."""
    for source in sources():
        if PurePosixPath(source).parts[0] != "fiveshot":
            continue
        for message, body in MESSAGE.findall((PROTOS / source).read_text(encoding="utf-8")):
            for comment, field, options in FIELD.findall(body):
                yield message, field, " ".join(line.strip(" /") for line in comment.splitlines()), options


def _behaviour(field: FieldDescriptor) -> set[int]:
    # The pool of http_rules has options classes of its own; the bytes are the same.
    options = FieldOptions.FromString(field.GetOptions().SerializeToString())
    return set(options.Extensions[field_behavior_pb2.field_behavior])


def _requests() -> set[str]:
    """Messages that a caller sends, with all that is in them and not the service's to set."""
    found: set[str] = set()

    def add(message: Descriptor) -> None:
        if message.name not in found:
            found.add(message.name)
            for field in message.fields:
                if field.message_type is not None and field_behavior_pb2.OUTPUT_ONLY not in _behaviour(field):
                    add(field.message_type)

    for rule in http_rules(PUBLIC_SERVICES):
        add(rule.method.input_type)
    return found


def _promised(comment: str) -> Iterator[int]:
    for most, low, high, up_to in BOUND.findall(comment):
        for number in filter(None, (most, low, high, {"eight": "8"}.get(up_to, up_to))):
            digits, _, unit = number.partition(" ")
            yield int(digits) * UNITS.get(unit, 1)


def _held(options: str) -> set[int]:
    return {int(number) for number in re.findall(r"-?\d+", options)}


def test_every_bound_that_a_request_promises_is_the_rule_of_its_field() -> None:
    requests, seen, broken = _requests(), 0, []
    for message, field, comment, options in _fields():
        if message not in requests or "OUTPUT_ONLY" in options:
            continue
        for number in _promised(comment):
            seen += 1
            held = ELSEWHERE.get((message, field), 0)
            if held != 0 and (held is None or held == number):
                continue
            # Zero is the least value of some fields by their kind.
            if number not in _held(options) and not (number == 0 and "gte" not in options):
                broken.append(f"{message}.{field}: {number}")
    assert seen > 15
    assert not broken


def test_every_list_gives_as_many_as_its_comment_says() -> None:
    said = {
        message.removesuffix("Request"): re.search(r"0 means (\d+), and more than (\d+) means (\d+)", comment)
        for message, field, comment, _ in _fields()
        if field == "page_size"
    }
    # Its pages are steps, each with a point of every key.
    assert said.pop("ListMetrics") is not None
    assert said.keys() == LISTINGS.keys()
    for method, promised in said.items():
        assert promised is not None, method
        for asked, answered in ((0, promised[1]), (10**6, promised[2]), (10**6, promised[3])):
            query = LISTINGS[method].open(ListRequest("projects/p", page_size=asked), PageTokens()).query
            # One more is read than is shown.
            assert query.limit - 1 == int(answered), method


@pytest.mark.parametrize(
    ("field", "words", "value"),
    [
        ("max_tags", "0 means 30", f"0 means {DEFAULT_MAX_TAGS}"),
        ("seen_images", "at most twelve", f"at most {({12: 'twelve'}).get(MOST_PICTURES)}"),
        ("picture", "at most 1024 pixels", f"at most {LARGEST_DRAWN} pixels"),
    ],
)
def test_numbers_of_the_services_stand_in_the_comments(field: str, words: str, value: str) -> None:
    assert words == value
    assert any(name == field and words in comment for _, name, comment, _ in _fields())


def test_an_image_holds_as_many_tags_as_its_field_allows() -> None:
    [options] = [options for message, field, _, options in _fields() if (message, field) == ("Image", "tags")]
    assert _held(options) == {MAX_TAGS_PER_IMAGE}


def _resources() -> Iterator[Descriptor]:
    """Resources that callers are answered with, anywhere in an answer."""
    seen: set[str] = set()

    def walk(message: Descriptor) -> Iterator[Descriptor]:
        if message.full_name in seen:
            return
        seen.add(message.full_name)
        options = MessageOptions.FromString(message.GetOptions().SerializeToString())
        if options.Extensions[resource_pb2.resource].type:
            yield message
        for field in message.fields:
            if field.message_type is not None:
                yield from walk(field.message_type)

    for rule in http_rules(PUBLIC_SERVICES):
        yield from walk(rule.method.output_type)


def test_a_field_of_a_resource_is_the_callers_to_set_or_output_only() -> None:
    found = {message.name: message for message in _resources()}
    assert found.keys() >= {*SETTABLE, "DatasetVersion", "DatasetVersionImage", "Epoch", "TagJob", "BaseModel"}
    for name, message in found.items():
        open_fields = set()
        for field in message.fields:
            if not _behaviour(field) & {field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IDENTIFIER}:
                open_fields.add(field.name)
        # An etag comes back with a change, to guard it.
        assert open_fields - {"etag"} == SETTABLE.get(name, set()), name
