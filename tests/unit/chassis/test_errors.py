"""The error tree and its wire form: what goes out is what comes back."""

from __future__ import annotations

import pickle
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from services.chassis import errors, grpc_errors
from services.chassis.errors import DomainError, FieldViolation, InvalidArgument, NotFound

KINDS = sorted(grpc_errors.STATUS_CODES, key=lambda kind: kind.__name__)


def test_every_class_of_the_tree_has_a_status_code_of_its_own() -> None:
    assert set(DomainError.__subclasses__()) == set(grpc_errors.STATUS_CODES)
    assert len(set(grpc_errors.STATUS_CODES.values())) == len(grpc_errors.STATUS_CODES)
    assert grpc.StatusCode.OK not in grpc_errors.STATUS_CODES.values()


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_crosses_the_wire_intact(kind: type[DomainError]) -> None:
    sent = kind(
        "The größte Bild fehlt",
        field="dataset.images[2]",
        reason="SOME_REASON",
        remedy="Look for it.",
        metadata={"limit": "5"},
        violations=[FieldViolation("other", "is wrong too")],
    )
    came = grpc_errors.from_proto(grpc_errors.to_proto(sent))
    assert type(came) is kind
    assert (came.message, came.reason, came.remedy) == (sent.message, sent.reason, sent.remedy)
    assert (came.metadata, came.violations) == (sent.metadata, sent.violations)


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_reason_is_the_name_of_the_code(kind: type[DomainError]) -> None:
    assert kind("x").reason == grpc_errors.STATUS_CODES[kind].name


def test_details_follow_aip_193() -> None:
    status = grpc_errors.to_proto(InvalidArgument("It is wrong", field="rank", remedy="Use 8.", reason="RANK_WRONG"))
    info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(request)
    assert (info.reason, info.domain, info.metadata["remedy"]) == ("RANK_WRONG", "fiveshot", "Use 8.")
    assert [(item.field, item.description) for item in request.field_violations] == [("rank", "It is wrong")]


def test_a_subclass_of_a_service_has_the_code_of_its_parent() -> None:
    class DatasetNotFound(NotFound):
        pass

    assert grpc_errors.status_code(DatasetNotFound("gone")) == grpc.StatusCode.NOT_FOUND
    assert type(grpc_errors.from_proto(grpc_errors.to_proto(DatasetNotFound("gone")))) is NotFound


def test_a_huge_error_still_fits_into_the_trailers() -> None:
    many = [FieldViolation(f"images[{index}].caption", "too long " * 100) for index in range(500)]
    status = grpc_errors.to_status(InvalidArgument("wrong " * 2000, remedy="shorten " * 2000, violations=many))
    size = sum(len(key) + len(value) for key, value in status.trailing_metadata) + len(status.details)
    assert size < 8 * 1024


@pytest.mark.parametrize("letter", ["x", "é", "雪", "🐈"])
def test_an_error_about_much_of_a_request_fits_whatever_its_letters(letter: str) -> None:
    text = letter * 3000
    error = InvalidArgument(
        text,
        remedy=text,
        violations=[FieldViolation(f"labels[{text}]", text)] * 300,
        metadata={"name": text, "x": text},
    )
    status = grpc_errors.to_status(error)
    size = len(quote(status.details or "")) + sum(len(value) * 4 / 3 for _, value in status.trailing_metadata)
    assert size < 7 * 1024
    kept = grpc_errors.from_proto(grpc_errors.to_proto(error))
    assert (type(kept), kept.reason, kept.field[:7]) == (InvalidArgument, error.reason, "labels[")


def test_what_an_error_quotes_moves_no_terminal_and_can_be_sent() -> None:
    text = "no '\x1b[31m\u202eabc\ud800\0'"
    error = InvalidArgument(text, field=f"labels[{text}]", remedy=text, metadata={text: text})
    kept = grpc_errors.from_proto(grpc_errors.to_proto(error))
    spelt = "no '\\u001b[31m\\u202eabc\\ud800\\u0000'"
    assert (kept.message, kept.remedy, kept.field) == (spelt, spelt, f"labels[{spelt}]")
    assert kept.metadata == {spelt: spelt}


def test_a_status_without_details_keeps_its_class() -> None:
    came = grpc_errors.from_proto(status_pb2.Status(code=5, message="gone"))
    assert type(came) is NotFound
    assert came.reason == "NOT_FOUND"


def test_an_unknown_code_is_an_internal_error() -> None:
    assert type(grpc_errors.from_proto(status_pb2.Status(code=2, message="?"))) is errors.Internal
    assert type(grpc_errors.from_proto(status_pb2.Status(code=99, message="?"))) is errors.Internal


@pytest.mark.parametrize(
    ("message", "remedy", "text"),
    [
        ("It failed", "", "It failed"),
        ("It failed", "Try again.", "It failed. Try again."),
        ("It failed.", "Try again.", "It failed. Try again."),
        ("Did it fail?", "Try again.", "Did it fail? Try again."),
    ],
)
def test_the_text_reads_as_sentences(message: str, remedy: str, text: str) -> None:
    assert str(NotFound(message, remedy=remedy)) == text


def test_an_error_survives_a_process_pool() -> None:
    sent = InvalidArgument("wrong", field="image", reason="IMAGE_EMPTY", remedy="Send it.", metadata={"a": "b"})
    came = pickle.loads(pickle.dumps(sent))
    assert type(came) is InvalidArgument
    assert vars(came) == vars(sent)
