"""What is checked of a request."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from importlib import resources
from typing import Any

import pytest
import structlog
from buf.validate import validate_pb2
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.registry.v1 import model_pb2
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.trainer.v1 import (
    base_model_pb2,
    preview_request_pb2,
    training_job_pb2,
    training_service_pb2,
    worker_service_pb2,
)
from google.protobuf import struct_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from services.chassis import logging, request_context
from services.chassis.cloud_events import event_subject
from services.chassis.errors import InvalidArgument
from services.chassis.names import ID_RULE
from services.chassis.request_checks import (
    MOST_NAMED,
    MOST_PARTS,
    broken_rules,
    check_parts,
    check_rules,
    check_text,
    faults,
    is_long,
    readable,
    unfit_texts,
)
from services.chassis.s3 import ObjectStore
from services.chassis.settings import BaseServiceSettings
from services.chassis.store_settings import S3Settings
from services.chassis.texts import shown


def test_broken_field_rules_become_violations_with_field_paths() -> None:
    request = dataset_service_pb2.ListImagesRequest(parent="nonsense", page_size=-1)
    with pytest.raises(InvalidArgument) as caught:
        check_rules(request)
    assert caught.value.reason == "REQUEST_INVALID"
    assert [violation.field for violation in caught.value.violations] == ["parent", "page_size"]
    check_rules(dataset_service_pb2.ListImagesRequest(parent="projects/p/datasets/d"))


@pytest.mark.parametrize(
    ("seconds", "nanos", "valid"),
    [
        (0, 0, True), (-62_135_596_800, 999_999_999, True), (253_402_300_799, 0, True),
        (1, -1, False), (1, 10**9, False), (1, 2**31 - 1, False), (-62_135_596_801, 0, False),
        (253_402_300_800, 0, False), (2**63 - 1, 0, False),
    ],
)  # fmt: skip
def test_a_time_that_is_none_is_refused_by_its_path(seconds: int, nanos: int, valid: bool) -> None:
    request = worker_service_pb2.HeartbeatRequest(training_job="projects/p/trainingJobs/j", lease_token="t")
    request.metrics.add(key="loss")
    request.metrics.add(key="loss").create_time.MergeFrom(Timestamp(seconds=seconds, nanos=nanos))
    faults = broken_rules(request)
    assert [fault.violations[0].field for fault in faults] == ([] if valid else ["metrics[1].create_time"])
    assert valid or "years 1 to 9999" in str(faults[0])


@pytest.mark.parametrize(
    ("seconds", "nanos", "valid"),
    [
        (0, 0, True), (5, 999_999_999, True), (-1, 5, False), (5, -1, False), (5, 2**31 - 1, False),
        (2**63 - 1, 0, False), (-(2**63), -(2**31), False),
    ],
)  # fmt: skip
def test_a_duration_that_is_none_is_refused_once_beside_what_else_is_wrong(
    seconds: int, nanos: int, valid: bool
) -> None:
    request = training_service_pb2.CleanUpTrainingJobsRequest(parent="nonsense")
    request.older_than.MergeFrom(Duration(seconds=seconds, nanos=nanos))
    fields = sorted(fault.violations[0].field for fault in broken_rules(request))
    assert fields == (["parent"] if valid else ["older_than", "parent"])


@pytest.mark.parametrize(
    ("request_", "description"),
    [
        (
            dataset_service_pb2.CreateDatasetRequest(parent="projects/p", dataset_id="My Dogs"),
            f"must be an id of {ID_RULE}",
        ),
        (
            dataset_service_pb2.GetImageRequest(name="dogs"),
            f"must have the form projects/{{id}}/datasets/{{id}}/images/{{id}}; an id holds {ID_RULE}",
        ),
        (
            training_service_pb2.RequestPreviewsRequest(
                parent="projects/p", preview_request=preview_request_pb2.PreviewRequest(sources=["x"], prompts=["a"])
            ),
            "must have the form projects/{id}/{trainingJobs/{id}[/epochs/{number}] or "
            f"models/{{id}}/versions/{{number or alias}}}}; an id holds {ID_RULE}",
        ),
    ],
)
def test_a_broken_pattern_is_described_by_its_form(request_: Message, description: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_rules(request_)
    assert caught.value.violations[0].description == description


def test_no_pattern_of_the_api_is_shown_as_a_regular_expression() -> None:
    source = resources.files("fiveshot").joinpath("fiveshot_descriptor.binpb").read_bytes()
    files = FileDescriptorSet.FromString(source).file
    patterns = set()
    for file in files:
        for message in file.message_type if file.package.startswith("fiveshot.") else ():
            for field in message.field:
                rules = field.options.Extensions[validate_pb2.field]
                patterns |= {rules.string.pattern, rules.repeated.items.string.pattern, rules.map.keys.string.pattern}
    patterns.discard("")
    assert len(patterns) > 10
    for pattern in patterns:
        assert "regex" not in readable(f"does not match regex pattern `{pattern}`"), pattern


def test_text_that_nobody_sees_and_something_obeys_is_named_wherever_it_is() -> None:
    struct = struct_pb2.Struct()
    struct["a"] = ["fine", "not\0fine"]
    with pytest.raises(InvalidArgument) as caught:
        check_text(struct)
    assert (caught.value.reason, caught.value.field) == ("TEXT_INVALID", "fields.list_value.values[1].string_value")
    with pytest.raises(InvalidArgument, match="parent contains"):
        check_text(dataset_service_pb2.ListImagesRequest(parent="projects/p\0"))
    for hidden in ("\x1b[31m", "\x9b31m", "\x7f", "a\u202eb", "\u2066a"):
        with pytest.raises(InvalidArgument, match=r"labels contains the invisible character U\+") as caught:
            check_text(dataset_pb2.Dataset(labels={"team": hidden}))
    # A process of the suite reports what was taken before.
    check_text(dataset_pb2.Dataset(labels={"team": "a\u202eb"}), directions=False)
    for plain in ("tab\tand newline\r\n", "👩\u200d🚀", "نمی\u200cخواهم", "\u200fשלום", "e\u0301"):
        check_text(dataset_service_pb2.ListImagesRequest(parent="projects/p", filter=plain))


@pytest.mark.parametrize("count", [1_000, 30_000])
def test_of_thousands_of_faults_a_few_are_described(count: int) -> None:
    request = dataset_service_pb2.BatchUpdateImagesRequest(parent="projects/p/datasets/d")
    request.requests.extend([dataset_service_pb2.UpdateImageRequest()] * count)
    assert 1 <= len(broken_rules(request)) <= MOST_NAMED
    # What else a service finds wrong is asked of short requests alone.
    assert is_long(request) is (count > 2_000)
    labels = dataset_pb2.Dataset(labels={str(number): "\0" for number in range(count)})
    assert len(unfit_texts(labels)) == MOST_NAMED


def test_a_request_of_endless_lists_is_refused_by_the_list_that_is_too_long() -> None:
    request = dataset_service_pb2.BatchUpdateImagesRequest(parent="projects/p/datasets/d")
    for _ in range(100):
        request.requests.add().image.tags.extend([dataset_pb2.Tag(label="a")] * 200)
    check_parts(request)
    request.requests[99].image.labels.update({str(number): "" for number in range(MOST_PARTS - 20_100)})
    check_parts(request)
    request.requests[99].image.labels["one more"] = ""
    with pytest.raises(InvalidArgument) as caught:
        check_parts(request)
    # In the order of the fields: the tags of the last image come after its labels.
    assert caught.value.violations[0].field.startswith("requests[99].image.")
    assert str(MOST_PARTS) in str(caught.value)


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\tb", "a\rb"])
def test_names_and_labels_are_one_line_and_other_texts_may_have_several(text: str) -> None:
    found = [
        *unfit_texts(dataset_pb2.Dataset(display_name=text)),
        *unfit_texts(dataset_pb2.Dataset(labels={"a": text})),
    ]
    assert [error.field for error in found] == ["display_name", "labels"]
    assert [error.reason for error in found] == ["TEXT_INVALID"] * 2
    # A carriage return by itself lets the end of a line cover its beginning.
    assert bool(unfit_texts(dataset_pb2.Dataset(description=text))) is (text == "a\rb")
    assert not unfit_texts(dataset_pb2.Dataset(display_name=text, description=text), directions=False)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (training_job_pb2.TrainingParameters(preview_prompts=["fine", "a\nb"]), "preview_prompts[1]"),
        (training_job_pb2.TrainingParameters(preview_negative_prompt="a\nb"), "preview_negative_prompt"),
        (preview_request_pb2.PreviewRequest(prompts=["a\tb"]), "prompts[0]"),
        (preview_request_pb2.PreviewRequest(negative_prompt="a\r\nb"), "negative_prompt"),
        (model_pb2.Model(tags=["fine", "a\nb"]), "tags[1]"),
        (base_model_pb2.BaseModel(license="MIT\nno"), "license"),
    ],
)
def test_prompts_and_a_models_tags_are_one_line(message: Message, field: str) -> None:
    [fault] = unfit_texts(message)
    assert (fault.field, fault.reason) == (field, "TEXT_INVALID")
    assert re.fullmatch(rf"{re.escape(field)} is not one line: it holds U\+000[9AD]", str(fault.message))
    # Jobs of an earlier release come back in the reports of workers.
    assert not unfit_texts(message, directions=False)


def test_what_breaks_a_rule_of_its_own_is_told_once() -> None:
    twice = dataset_service_pb2.CreateDatasetRequest(
        parent="projects/p", dataset=dataset_pb2.Dataset(trigger_word="a\nb", display_name="a\nb")
    )
    assert sorted(error.violations[0].field if error.violations else error.field for error in faults(twice)) == [
        "dataset.display_name", "dataset.trigger_word",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a\u2028b", "U+2028"), ("a\u206eb", "U+206E"), ("a\ufffab", "U+FFFA"), ("cat\U000e0061\U000e0062", "U+E0061"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f", ""), ("\U0001f468\u200d\U0001f469", ""), ("\u05d0\u200f", ""),
    ],
)  # fmt: skip
def test_what_is_read_and_never_seen_is_refused_and_emoji_are_not(text: str, named: str) -> None:
    found = unfit_texts(dataset_pb2.Dataset(description=text))
    assert [named in str(error) for error in found] == [True] * bool(named)
    assert (shown(text) == text) is not bool(named)


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "../a", "a/./b", "a/../b"])
async def test_object_keys_that_servers_read_differently_are_refused(key: str) -> None:
    store = ObjectStore(S3Settings())
    with pytest.raises(ValueError, match="not an object key"):
        await store.get(key)
    store.close()


async def test_presigned_urls_name_the_public_server_and_need_no_connection() -> None:
    settings = S3Settings(s3_public_endpoint="files.example:8443", s3_public_secure=True, s3_access_key="k",
                          s3_secret_key=SecretStr("s"))  # fmt: skip
    store = ObjectStore(settings)
    url = await store.presign_get("a/b", expires=timedelta(minutes=5), filename='x"\r\n.png')
    assert url.startswith("https://files.example:8443/fiveshot/a/b?")
    assert "X-Amz-Signature=" in url
    assert "%0D" not in url
    store.close()


@pytest.mark.parametrize("part", ["", "a.b", "a b", "*", ">", "a>"])
def test_subjects_that_would_split_are_refused(part: str) -> None:
    with pytest.raises(ValueError, match="not a subject token"):
        event_subject("p", "things", part, "created")
    assert event_subject("p", "things", "t-1", "created") == "fiveshot.events.v1.p.things.t-1.created"


def test_a_log_line_is_json_with_the_request_id_and_no_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure(BaseServiceSettings(), service="paint")
    try:
        with request_context.use(request_context.RequestContext(request_id="r")):
            fail_with_a_secret()
    finally:
        structlog.reset_defaults()
    line = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (line["event"], line["service"], line["request_id"], line["level"]) == ("it_failed", "paint", "r", "error")
    assert line["exception"][0]["exc_type"] == "RuntimeError"
    assert "password-in-a-local" not in json.dumps(line)


def fail_with_a_secret() -> None:
    secret = "password-in-a-local"
    try:
        raise RuntimeError(f"length {len(secret)}")
    except RuntimeError as error:
        logging.get_logger("test").error("it_failed", exc_info=error)


def test_a_number_that_an_enum_does_not_have_is_told_which_values_there_are() -> None:
    text_from: Any = 99
    purpose: Any = 77
    dataset = dataset_service_pb2.CreateDatasetRequest(
        parent="projects/p", dataset=dataset_pb2.Dataset(text_from=text_from)
    )
    options = tagger_pb2.TagOptions(caption=tagger_pb2.CaptionOptions(purpose=purpose))
    tags = tagger_service_pb2.TagImagesRequest(parent="projects/p", dataset="projects/p/datasets/d", options=options)
    for request, field, known in (
        (dataset, "dataset.text_from", "TEXT_FROM_TAGS"),
        (tags, "options.caption.purpose", "PURPOSE_PERSON"),
    ):
        (fault,) = [each.violations[0] for each in broken_rules(request) if each.violations[0].field == field]
        assert fault.description.startswith("must be one of ")
        assert known in fault.description
