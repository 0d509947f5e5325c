"""Errors of the Python client: the same kinds, reasons and facts as the server's, whatever the call broke on."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from fiveshot import errors
from fiveshot.records import JobFailed
from fiveshot.transfers import PicturesRefused, Refusal, Upload
from google.rpc import status_pb2

from services.chassis import errors as domain
from services.chassis import grpc_errors


@pytest.mark.parametrize("kind", grpc_errors.STATUS_CODES)
def test_every_error_of_a_server_arrives_whole_and_could_go_back(kind: type[domain.DomainError]) -> None:
    sent = kind(
        "It is wrong", field="dataset.name", reason="WRONG", remedy="Mend it.", metadata={"limit": "3"},
        retry_after_s=1.5, quotas=[domain.QuotaViolation("projects/a", "used up")],
    )  # fmt: skip
    status = grpc_errors.to_proto(sent)
    got = errors.from_status(status, request_id="r-1")
    assert type(got).__name__ == kind.__name__
    assert got.code == grpc_errors.status_code(sent).name
    assert (got.message, got.reason, got.field, got.remedy, got.metadata, got.retry_after_s, got.request_id) == (
        "It is wrong", "WRONG", "dataset.name", "Mend it.", {"limit": "3"}, 1.5, "r-1",
    )  # fmt: skip
    assert got.status() == status


def _failed(code: grpc.StatusCode, details: str, *trailers: tuple[str, str | bytes]) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailers), details, "")


_LAST = "failed to connect to all addresses; last error: UNKNOWN: "


@pytest.mark.parametrize(
    ("details", "message"),
    [
        ("failed to connect to all addresses", "The server does not answer"),
        ("errors resolving nonsense: [x]", "The server does not answer"),
        (f"{_LAST}ipv4:127.0.0.1:1: Failed to connect", "The server at 127.0.0.1, port 1, does not answer"),
        (f"{_LAST}ipv6:%5B::1%5D:7437: Failed to connect", "The server at ::1, port 7437, does not answer"),
    ],
)
def test_a_server_that_cannot_be_reached_is_said_in_our_words(details: str, message: str) -> None:
    error = errors.from_rpc_error(_failed(grpc.StatusCode.UNAVAILABLE, details))
    assert (error.reason, error.message) == ("NO_CONNECTION", message)


@pytest.mark.parametrize("details", ["Deadline Exceeded", "Stream removed (Deadline Exceeded)"])
def test_an_answer_that_did_not_come_in_time_is_said_in_our_words(details: str) -> None:
    error = errors.from_rpc_error(_failed(grpc.StatusCode.DEADLINE_EXCEEDED, details))
    assert (type(error), error.message) == (errors.DeadlineExceeded, "No answer came in the time that the call had")
    assert "/healthz" in error.remedy


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_failure_of_the_connection_is_the_class_of_its_code(code: grpc.StatusCode) -> None:
    error = errors.from_rpc_error(_failed(code, "", ("x-request-id", "r-2")))
    assert error.message == f"The call failed with {code.name}"
    assert error.request_id == "r-2"
    assert error.code == code.name or type(error) is errors.Internal


def test_a_call_that_broke_off_while_it_was_sent_can_be_made_again_whoever_made_it() -> None:
    failed = _failed(grpc.StatusCode.INTERNAL, errors.BROKEN_OFF, ("x-request-id", "r-3"))
    error, ours = errors.from_rpc_error(failed), grpc_errors.from_rpc_error(failed)
    assert (type(error), error.reason, error.request_id) == (errors.Unavailable, "CONNECTION_LOST", "r-3")
    assert (type(ours), ours.reason, ours.message) == (domain.Unavailable, error.reason, error.message)


def test_details_that_are_not_ours_do_not_hide_what_happened() -> None:
    strange = _failed(grpc.StatusCode.NOT_FOUND, "no such page", ("grpc-status-details-bin", b"\xff\xff"))
    error = errors.from_rpc_error(strange)
    assert (type(error), error.message) == (errors.NotFound, "no such page")
    assert isinstance(grpc_errors.from_rpc_error(strange), domain.NotFound)
    assert type(errors.from_status(status_pb2.Status(code=999, message="x"))) is errors.Internal


def test_an_upload_with_refused_pictures_is_an_invalid_argument_that_knows_the_rest() -> None:
    damaged = errors.InvalidArgument("It is damaged", reason="IMAGE_UNREADABLE", remedy="Save it again.")
    upload = Upload(present=[Path("a.png")], refused=[Refusal(Path("b.png"), damaged)])
    error: errors.FiveshotError = PicturesRefused.of(upload)
    assert isinstance(error, errors.InvalidArgument)
    assert str(error) == (
        "1 picture was refused, 1 are stored; b.png: It is damaged. Save it again. [IMAGE_UNREADABLE; field file_name]"
    )
    assert isinstance(JobFailed("x"), errors.FailedPrecondition)
