"""Where the Python client finds its server, what it calls things, and what it makes again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fiveshot import errors
from fiveshot.connection import Endpoint, Patience, endpoint, local_stack, trace_metadata, with_request_id
from fiveshot.trainer.v1 import training_service_pb2
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from gateway.supervisor.folder import DataFolder, StackState

PATIENCE = Patience(attempts=3, first_pause_s=1, longest_pause_s=4)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SERVER", "API_KEY", "PROJECT", "CA_FILE"):
        monkeypatch.delenv(f"FIVESHOT_{name}", raising=False)
    monkeypatch.setenv("FIVESHOT_DATA", str(tmp_path / "data"))


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIVESHOT_SERVER", "https://fiveshot.example:443")
    monkeypatch.setenv("FIVESHOT_API_KEY", "fs_a")
    monkeypatch.setenv("FIVESHOT_PROJECT", "acme")
    found = endpoint()
    assert (found.address, found.secure, found.parent, found.metadata) == (
        "fiveshot.example:443", True, "projects/acme", (("x-api-key", "fs_a"),),
    )  # fmt: skip
    assert "fs_a" not in repr(found)
    given = endpoint("localhost:1", api_key="fs_b", project="own")
    assert (given.address, given.secure, given.parent) == ("localhost:1", False, "projects/own")
    assert given.metadata == (("x-api-key", "fs_b"),)
    assert endpoint("localhost:1", token="a.b.c").metadata == (("authorization", "Bearer a.b.c"),)


def test_the_stack_of_this_machine_is_found_while_it_lives(tmp_path: Path) -> None:
    with pytest.raises(errors.Unavailable) as nothing:
        endpoint()
    assert (nothing.value.reason, "fiveshot up" in nothing.value.remedy) == ("NO_SERVER", True)
    folder = DataFolder(tmp_path / "data")
    folder.write_state(StackState(pid=1, server="127.0.0.1:7437", state="ready"))
    key = folder.credentials().api_key
    assert local_stack(folder.path) is None
    with folder.held():
        found = endpoint()
        assert (found.address, found.metadata) == ("127.0.0.1:7437", (("x-api-key", key),))
        assert endpoint(api_key="fs_other").metadata == (("x-api-key", "fs_other"),)
        (folder.path / "state.json").write_text("{")
        assert local_stack(folder.path) is None


@pytest.mark.parametrize("server", ["ftp://x:1", "https://", "http://x y", "https://me:pw@x:1", "x:65536", "x:99999/"])
def test_an_address_that_is_none_is_refused(server: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        endpoint(server)
    assert refused.value.field == "server"


@pytest.mark.parametrize("key", ["fs_é", "fs_a b", "fs_a\nb", "\u200bfs_a"])
def test_a_key_that_no_header_can_hold_is_refused_in_our_words(key: str) -> None:
    for field in ("api_key", "token"):
        given: dict[str, Any] = {field: key}
        with pytest.raises(errors.InvalidArgument) as caught:
            endpoint("x:1", **given)
        assert (caught.value.reason, caught.value.field) == ("API_KEY_INVALID", field)
        assert key not in str(caught.value)


def test_the_line_break_of_a_file_is_no_part_of_what_came_out_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("SERVER", "x:65535\n"), ("API_KEY", " fs_a\r\n"), ("PROJECT", "p\n")):
        monkeypatch.setenv(f"FIVESHOT_{name}", value)
    found = endpoint()
    assert (found.address, found.project, found.metadata[:1]) == ("x:65535", "p", (("x-api-key", "fs_a"),))


@pytest.mark.parametrize("project", ["Bad Name", "a_b", "x/y"])
def test_a_project_that_is_none_is_refused_before_anything_is_sent(project: str) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        endpoint("127.0.0.1:1", project=project)
    assert (refused.value.field, refused.value.reason) == ("project", "NAME_INVALID")


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        endpoint("https://x:1", ca_file=tmp_path / "ca.pem")
    assert (refused.value.field, refused.value.reason) == ("ca_file", "CA_FILE_UNREADABLE")
    (tmp_path / "ca.pem").write_bytes(b"PEM")
    assert endpoint("https://x:1", ca_file=tmp_path / "ca.pem").authorities == b"PEM"


def test_ids_are_put_below_the_project_and_full_names_stay() -> None:
    of = Endpoint("x:1", "acme").resource
    assert of("datasets", "cat") == "projects/acme/datasets/cat"
    assert of("datasets", "projects/b/datasets/d") == "projects/b/datasets/d"
    assert of("baseModels", "sd-1.5") == of("baseModels", "baseModels/sd-1.5") == "baseModels/sd-1.5"
    for wrong in ("", "../x", "a b", "projects/", "projects/a//b"):
        with pytest.raises(errors.InvalidArgument) as refused:
            of("datasets", wrong)
        assert refused.value.reason == "NAME_INVALID"


def test_every_request_that_can_be_repeated_gets_an_id_of_its_own() -> None:
    move = training_service_pb2.CancelTrainingJobRequest(name="projects/p/trainingJobs/j")
    first, second = with_request_id(move), with_request_id(move)
    assert (move.request_id, first.name) == ("", move.name)
    assert first.request_id != second.request_id
    assert with_request_id(first) is first
    reading = training_service_pb2.GetTrainingJobRequest(name=move.name)
    assert with_request_id(reading) is reading


def test_only_what_may_help_is_made_again() -> None:
    away = errors.Unavailable("gone")
    assert [0.5 <= (PATIENCE.pause(away, n, None) or 0) / 2 ** (n - 1) <= 1 for n in (1, 2)] == [True, True]
    assert PATIENCE.pause(away, 3, None) is None
    assert PATIENCE.pause(errors.NotFound("no"), 1, None) is None
    assert PATIENCE.pause(errors.ResourceExhausted("full"), 1, None) is None
    assert PATIENCE.pause(errors.ResourceExhausted("full", retry_after_s=7), 1, None) == 7
    assert PATIENCE.pause(errors.Unavailable("busy", retry_after_s=7), 1, 6) is None


def test_a_watch_is_patient_for_a_time_whatever_broke_its_line() -> None:
    reset = errors.Internal("Received RST_STREAM with error code 2")
    for lost in (errors.Unavailable("gone"), reset):
        assert 2 <= (PATIENCE.reconnect(lost, 9, 59) or 0) <= 4
        assert PATIENCE.reconnect(lost, 9, 61) is None
    assert PATIENCE.reconnect(errors.Internal("fault"), 1, 0) is None
    assert PATIENCE.reconnect(errors.ResourceExhausted("full", retry_after_s=7), 1, 0) == 7


def test_calls_belong_to_the_trace_of_the_argument_the_program_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, other = f"00-{'ab' * 16}-{'cd' * 8}-01", f"00-{'12' * 16}-{'34' * 8}-00"
    monkeypatch.delenv("TRACEPARENT", raising=False)
    assert trace_metadata() == ()
    monkeypatch.setenv("TRACEPARENT", "no traceparent")
    assert trace_metadata() == ()
    monkeypatch.setenv("TRACEPARENT", other)
    assert trace_metadata() == (("traceparent", other),)
    span = SpanContext(int("ab" * 16, 16), int("cd" * 8, 16), False, TraceFlags(1))
    with use_span(NonRecordingSpan(span)):
        assert trace_metadata() == (("traceparent", given),)
    assert ("traceparent", given) in endpoint("127.0.0.1:1", traceparent=given).metadata
    with pytest.raises(errors.InvalidArgument) as caught:
        endpoint("127.0.0.1:1", traceparent="mine")
    assert (caught.value.reason, caught.value.field) == ("TRACEPARENT_INVALID", "traceparent")
