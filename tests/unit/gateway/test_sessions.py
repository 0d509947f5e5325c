"""Browser sessions: codes that work once, cookies that stand for a key, and calls that no other page may make."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fiveshot.gateway.v1 import external_auth_pb2 as pb

from gateway import api_keys
from gateway.authz import Authorizer
from gateway.console_sessions import ConsoleSessions
from gateway.roles import Role
from gateway.sessions import COOKIE, Grant, SessionFolder, cookie_of
from services.chassis.errors import FailedPrecondition, PermissionDenied, Unauthenticated

START = datetime(2026, 6, 1, tzinfo=UTC)
OWN = {"x-fiveshot-console": "1", ":authority": "127.0.0.1:7437", "origin": "http://127.0.0.1:7437"}
KEY = "fs_good"


class Desk:
    """A folder of sessions, a file of keys, and a clock."""

    def __init__(self, place: Path) -> None:
        self.time = START
        self.keys = place / "keys.yaml"
        self.hold(api_keys.ApiKey("local", api_keys.digest(KEY), ("acme",), role=Role.ADMIN))
        self.sessions = SessionFolder(place / "sessions", hours=24, now=self.now)
        file = api_keys.ApiKeyFile(self.keys)
        self.authorizer = Authorizer(file, projects_claim="projects", sessions=self.sessions, now=self.now)
        self.console = ConsoleSessions(self.authorizer, self.sessions)

    def now(self) -> datetime:
        return self.time

    def hold(self, *keys: api_keys.ApiKey) -> None:
        api_keys.save(self.keys, keys)

    def ask(self, method: str, headers: dict[str, str]) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Status, document and headers of a call of /console/session."""
        http = pb.AttributeContext.HttpRequest(method=method, path="/console/session", headers=headers)
        answer = self.console.answer(http).denied_response
        found = {option.header.key: option.header.value for option in answer.headers}
        return answer.status.code, json.loads(answer.body), found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_code_becomes_a_cookie_that_scripts_cannot_read(desk: Desk) -> None:
    code, _ = desk.sessions.new_code("local")
    status, document, headers = desk.ask("POST", OWN | {"x-fiveshot-code": code, "x-forwarded-proto": "https"})
    assert (status, document["projects"], document["role"]) == (200, ["acme"], "admin")
    pair, *attributes = headers["set-cookie"].split("; ")
    assert set(attributes) == {"Path=/", "Max-Age=86400", "HttpOnly", "SameSite=Strict", "Secure"}
    caller = desk.authorizer.identify(OWN | {"cookie": pair}, {}, "POST")
    assert (caller.principal, caller.projects, caller.role) == ("session:local", ("acme",), Role.ADMIN)
    status, document, _ = desk.ask("GET", {"cookie": f"other=1; {pair}"})
    assert (status, document["key"], document["expireTime"]) == (200, "local", "2026-06-02T00:00:00+00:00")


def test_nothing_that_is_stored_signs_anybody_in(desk: Desk, tmp_path: Path) -> None:
    code, _ = desk.sessions.new_code("local")
    token, _ = desk.sessions.open("local")
    files = [path for path in (tmp_path / "sessions").rglob("*") if path.is_file()]
    assert len(files) == 2
    for path in files:
        assert code not in path.name + path.read_text()
        assert token not in path.name + path.read_text()
        assert path.stat().st_mode & 0o077 == 0


def test_a_code_works_once_for_a_while(desk: Desk) -> None:
    once, _ = desk.sessions.new_code("local")
    late, _ = desk.sessions.new_code("local")
    assert desk.ask("POST", OWN | {"x-fiveshot-code": once})[0] == 200
    reasons = []
    desk.time += timedelta(minutes=16)
    for code in (once, late, "no-such-code", "../../keys"):
        status, document, headers = desk.ask("POST", OWN | {"x-fiveshot-code": code})
        assert (status, "set-cookie" in headers) == (401, False)
        detail = document["details"][0]
        assert "fiveshot console" in detail["metadata"]["remedy"]
        reasons.append(detail["reason"])
    assert reasons == ["CODE_USED", "CODE_EXPIRED", "CODE_INVALID", "CODE_INVALID"]


def test_a_session_ends_with_its_time_with_its_key_and_by_hand(desk: Desk) -> None:
    pair = f"{COOKIE}={desk.sessions.open('local')[0]}"
    calls = OWN | {"cookie": pair}
    assert desk.authorizer.identify(calls, {}).projects == ("acme",)
    desk.hold()
    with pytest.raises(Unauthenticated) as refused:
        desk.authorizer.identify(calls, {})
    assert refused.value.reason == "SESSION_ENDED"
    desk.hold(api_keys.ApiKey("local", api_keys.digest("fs_other"), ("beta",), role=Role.READER))
    assert desk.authorizer.identify(calls, {}).role == Role.READER
    assert desk.ask("DELETE", {"cookie": pair})[0] == 403
    status, _, headers = desk.ask("DELETE", calls)
    assert (status, "Max-Age=0" in headers["set-cookie"]) == (200, True)
    assert desk.ask("GET", {"cookie": pair})[1]["details"][0]["reason"] == "SESSION_ENDED"
    again = desk.sessions.open("local")[0]
    desk.time += timedelta(hours=25)
    assert desk.sessions.find(again) is None


@pytest.mark.parametrize(
    "headers",
    [
        {"x-fiveshot-console": ""},
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:9000"},
        {"origin": "null"},
    ],
)
def test_a_page_of_another_origin_changes_nothing(desk: Desk, headers: dict[str, str]) -> None:
    calls = OWN | {"cookie": f"{COOKIE}={desk.sessions.open('local')[0]}"} | headers
    with pytest.raises(PermissionDenied) as refused:
        desk.authorizer.identify(calls, {}, "POST")
    assert refused.value.reason == "CROSS_SITE_CALL"
    code, _ = desk.sessions.new_code("local")
    assert desk.ask("POST", calls | {"x-fiveshot-code": code})[0] == 403
    # The code is not spent by that.
    assert desk.ask("POST", OWN | {"x-fiveshot-code": code})[0] == 200


def test_an_api_key_opens_a_session_of_its_own_role(desk: Desk) -> None:
    assert desk.ask("POST", OWN | {"x-api-key": KEY})[1]["key"] == "local"
    assert desk.ask("POST", OWN | {"x-api-key": "fs_bad"})[1]["details"][0]["reason"] == "API_KEY_INVALID"
    assert desk.ask("POST", OWN)[1]["details"][0]["reason"] == "CREDENTIALS_MISSING"
    assert desk.ask("PUT", OWN)[0] == 400
    assert desk.ask("GET", {"x-api-key": KEY})[1]["details"][0]["reason"] == "SESSION_MISSING"


def test_a_deployment_without_a_folder_says_what_to_set(tmp_path: Path) -> None:
    nowhere = SessionFolder(None)
    with pytest.raises(FailedPrecondition, match="GATEWAY_SESSIONS_DIR"):
        nowhere.open("local")
    assert nowhere.find("anything") is None
    nowhere.close("anything")


def test_what_nobody_can_use_is_swept_away(desk: Desk, tmp_path: Path) -> None:
    desk.sessions.new_code("local")
    desk.sessions.open("local")
    desk.time += timedelta(days=3)
    code, _ = desk.sessions.new_code("local")
    desk.sessions.sign_in(code)
    assert len(list((tmp_path / "sessions" / "codes").iterdir())) == 1
    assert len(list((tmp_path / "sessions" / "sessions").iterdir())) == 1


@pytest.mark.parametrize(
    ("header", "token"),
    [("", ""), (f"{COOKIE}=a", "a"), (f"x=1; {COOKIE}=a; y=2", "a"), (f"x{COOKIE}=a", ""), (f"{COOKIE}", "")],
)
def test_the_cookie_is_found_among_others(header: str, token: str) -> None:
    assert cookie_of(header) == token


def test_a_damaged_file_is_no_session(desk: Desk, tmp_path: Path) -> None:
    token, session = desk.sessions.open("local")
    assert desk.sessions.find(token) == session == Grant("local", START + timedelta(hours=24))
    (path,) = (tmp_path / "sessions" / "sessions").iterdir()
    path.write_text("{}")
    assert desk.sessions.find(token) is None
