"""Signing in to the console at an OpenID provider: what gets a session, and everything that must not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
import pytest
from fiveshot.gateway.v1 import external_auth_pb2 as pb

from gateway.api_keys import ApiKeyFile
from gateway.authz import Authorizer
from gateway.oidc.provider import Client, Provider
from gateway.oidc.sign_in import COOKIE, OidcSignIn
from gateway.roles import Role
from gateway.sessions import SessionFolder, cookie_of
from services.chassis.errors import Unauthenticated
from tests.fixtures.openid_provider import CLIENT, SECRET, OpenIdProvider, openid_provider

PUBLIC = "https://fiveshot.example.com"


class Answer:
    """What the gateway told a browser."""

    def __init__(self, answer: pb.CheckResponse) -> None:
        refusal = answer.denied_response
        self.status, self.text = refusal.status.code, refusal.body
        pairs = [(option.header.key, option.header.value) for option in refusal.headers]
        self.headers = dict(pairs)
        self.cookies = [value for name, value in pairs if name == "set-cookie"]


class Desk:
    """A gateway's sign-in at a provider, with a browser's cookies."""

    def __init__(self, place: Path, provider: OpenIdProvider, http: httpx.AsyncClient) -> None:
        self.place = place
        self.time = 1_800_000_000.0
        self.ticks = 0.0
        self.secret = place / "secret"
        self.secret.write_text(SECRET + "\n", encoding="utf-8")
        self.provider = provider
        self.sessions = SessionFolder(place / "sessions")
        keys = ApiKeyFile(place / "none.yaml")
        self.authorizer = Authorizer(keys, projects_claim="projects", sessions=self.sessions)
        client = Client(CLIENT, lambda: self.secret.read_text(encoding="utf-8").strip())
        self.sign_in = OidcSignIn(
            Provider(provider.issuer, client, http, clock=lambda: self.ticks),
            self.authorizer,
            self.sessions,
            public_url=PUBLIC,
            scopes="openid email",
            name="Example",
            hours=2,
            clock=lambda: self.time,
        )
        self.http = http
        self.jar: dict[str, str] = {}

    async def get(self, path: str) -> Answer:
        """A call of this browser, which keeps what it is told to."""
        request = pb.AttributeContext.HttpRequest(method="GET", path=path)
        if self.jar:
            request.headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        answer = Answer(await self.sign_in.answer(request))
        for each in answer.cookies:
            pair, *attributes = each.split("; ")
            name, _, value = pair.partition("=")
            self.jar = {**self.jar, name: value}
            if "Max-Age=0" in attributes:
                del self.jar[name]
        return answer

    async def at_the_provider(self, to: str = "") -> str:
        """Starts, and has the provider sign in; the path by which the browser would come back."""
        query = f"?{urlencode({'to': to})}" if to else ""
        started = await self.get(f"/console/oidc/start{query}")
        assert started.status == 302, started.text
        there = await self.http.get(started.headers["location"])
        back = there.headers["location"]
        assert back.startswith(f"{PUBLIC}/console/oidc/callback?")
        return back.removeprefix(PUBLIC)

    async def refused(self, back: str, reason: str) -> None:
        """The answer does not sign in, and nothing that would is stored."""
        answer = await self.get(back)
        assert (answer.status, "fiveshot_session" in self.jar) == (401, False), answer.text
        assert answer.headers["content-type"].startswith("text/plain")
        assert "Signing in failed" in answer.text
        assert "Traceback" not in answer.text
        assert f"({reason})" in answer.text
        assert not list(self.place.rglob("sessions/sessions/*"))


@pytest.fixture
def provider() -> Iterator[OpenIdProvider]:
    with openid_provider() as running:
        yield running


@pytest.fixture
async def desk(tmp_path: Path, provider: OpenIdProvider) -> AsyncIterator[Desk]:
    async with httpx.AsyncClient() as http:
        yield Desk(tmp_path, provider, http)


async def test_a_browser_comes_back_with_a_session_of_its_claims(desk: Desk) -> None:
    answer = await desk.get(await desk.at_the_provider("/acme/datasets/dogs/photos"))
    assert (answer.status, answer.headers["location"]) == (302, "/#/acme/datasets/dogs/photos")
    session, gone = answer.cookies
    assert {"HttpOnly", "SameSite=Strict", "Secure", "Path=/", "Max-Age=7200"} <= set(session.split("; "))
    assert gone.startswith(f"{COOKIE}=;")
    found = desk.sessions.find(cookie_of(session))
    assert found is not None
    caller = desk.authorizer.of_session(found)
    assert (caller.principal, caller.projects, caller.role) == ("session:ada", ("acme",), Role.EDITOR)
    # What leads back is short-lived, out of scripts' reach, and goes to the callback alone.
    desk.jar.clear()
    started = await desk.get("/console/oidc/start")
    assert {"HttpOnly", "SameSite=Lax", "Secure", "Path=/console/oidc"} <= set(started.cookies[0].split("; "))
    asked = dict(parse_qsl(urlsplit(started.headers["location"]).query))
    assert (asked["scope"], asked["redirect_uri"]) == ("openid email", f"{PUBLIC}/console/oidc/callback")
    assert desk.jar[COOKIE] not in started.headers["location"]
    assert json.loads((await desk.get("/console/oidc")).text) == {"name": "Example"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"nonce": "of another"},
        {"nonce": None},
        {"iss": "https://elsewhere.example"},
        {"aud": "another-client"},
        {"aud": [CLIENT, "another"]},
        {"azp": "another-client"},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
        {"sub": None},
    ],
)
async def test_a_token_that_is_not_for_this_sign_in_is_refused(desk: Desk, wrong: dict[str, object]) -> None:
    desk.provider.wrong = wrong
    await desk.refused(await desk.at_the_provider(), "OIDC_TOKEN_WRONG")


async def test_a_token_that_another_key_signed_is_refused(desk: Desk) -> None:
    desk.provider.sign_with_a_strange_key()
    await desk.refused(await desk.at_the_provider(), "OIDC_TOKEN_WRONG")


async def test_a_clock_that_is_a_little_wrong_does_no_harm(desk: Desk) -> None:
    desk.provider.wrong = {"iat": datetime.now(UTC).timestamp() + 30}
    assert (await desk.get(await desk.at_the_provider())).status == 302


async def test_another_browsers_answer_is_refused(desk: Desk) -> None:
    back = await desk.at_the_provider()
    mine = desk.jar.pop(COOKIE)
    await desk.refused(back, "OIDC_STATE_WRONG")
    await desk.at_the_provider()
    await desk.refused(back, "OIDC_STATE_WRONG")
    desk.jar[COOKIE] = mine
    await desk.refused(back.replace("state=", "state=x"), "OIDC_STATE_WRONG")
    await desk.refused(f"{back}&state=y", "OIDC_STATE_WRONG")
    await desk.refused(back.replace("iss=", "iss=https://elsewhere.example/"), "OIDC_ISSUER_WRONG")
    assert "/token" not in desk.provider.asked
    assert (await desk.get(back)).status == 302


async def test_an_answer_that_comes_late_or_twice_is_refused(desk: Desk) -> None:
    back = await desk.at_the_provider()
    desk.time += 601
    await desk.refused(back, "OIDC_STATE_WRONG")
    back = await desk.at_the_provider()
    kept = desk.jar[COOKIE]
    assert (await desk.get(back)).status == 302
    desk.jar[COOKIE] = kept
    again = await desk.get(back)
    assert (again.status, again.cookies) == (401, [])


async def test_an_answer_is_used_once_even_if_the_provider_forgets_that_it_was(desk: Desk) -> None:
    assert desk.sessions.use_answer("state", minutes=10)
    assert not desk.sessions.use_answer("state", minutes=10)
    assert desk.sessions.use_answer("another", minutes=10)


async def test_a_code_without_its_verifier_or_secret_is_worth_nothing(desk: Desk) -> None:
    desk.secret.write_text("wrong", encoding="utf-8")
    await desk.refused(await desk.at_the_provider(), "OIDC_CODE_REFUSED")
    await desk.refused((await desk.at_the_provider()).replace("code=", "code=x"), "OIDC_CODE_REFUSED")
    # The secret is read at each sign-in, so it is replaced without a restart.
    desk.secret.write_text(SECRET, encoding="utf-8")
    assert (await desk.get(await desk.at_the_provider())).status == 302


@pytest.mark.parametrize(
    "to", ["https://evil.example", "//evil.example", "/\\evil", "javascript:x", "/a b", "/x\r\nset-cookie: a=b"]
)
async def test_nobody_is_sent_elsewhere(desk: Desk, to: str) -> None:
    """Whatever is asked for, the place is only ever put behind `/#`."""
    answer = await desk.get(f"/console/oidc/start?{urlencode({'to': to})}")
    if answer.status == 302:
        back = await desk.http.get(answer.headers["location"])
        ended = await desk.get(back.headers["location"].removeprefix(PUBLIC))
        assert ended.headers["location"].startswith("/#/")
    else:
        assert (answer.status, answer.cookies) == (400, [])


async def test_the_providers_keys_may_change(desk: Desk) -> None:
    assert (await desk.get(await desk.at_the_provider())).status == 302
    desk.provider.rotate()
    desk.ticks += 11
    assert (await desk.get(await desk.at_the_provider())).status == 302
    assert desk.provider.asked.count("/keys") == 2
    # Unknown keys do not make us ask each time.
    desk.provider.rotate()
    desk.provider.sign_with_a_strange_key()
    desk.jar.clear()
    before = desk.provider.asked.count("/keys")
    for _ in range(3):
        assert (await desk.get(await desk.at_the_provider())).status == 401
    assert desk.provider.asked.count("/keys") == before


async def test_a_provider_that_calls_itself_otherwise_is_none(desk: Desk) -> None:
    desk.provider.calls_itself = "https://elsewhere.example"
    answer = await desk.get("/console/oidc/start")
    assert (answer.status, answer.cookies) == (503, [])
    desk.provider.calls_itself = ""
    assert (await desk.get("/console/oidc/start")).status == 302


async def test_somebody_without_a_project_has_no_session(desk: Desk) -> None:
    desk.provider.claims = {"sub": "eve"}
    answer = await desk.get(await desk.at_the_provider())
    assert (answer.status, "fiveshot_session" in desk.jar) == (403, False)
    assert "opens no project" in answer.text


async def test_somebody_who_says_no_comes_back_without_a_session(desk: Desk) -> None:
    back = await desk.at_the_provider()
    state = dict(parse_qsl(urlsplit(back).query))["state"]
    await desk.refused(f"/console/oidc/callback?error=access_denied&state={state}", "OIDC_SIGN_IN_REFUSED")


async def test_without_a_provider_there_is_nothing(tmp_path: Path, desk: Desk) -> None:
    desk.sign_in = OidcSignIn(None, desk.authorizer, desk.sessions)
    for path in ("/console/oidc", "/console/oidc/start", "/console/oidc/callback"):
        assert (await desk.get(path)).status == 404


def test_a_session_of_a_provider_ends(tmp_path: Path) -> None:
    now = datetime(2026, 6, 1, tzinfo=UTC)
    times = [now]
    sessions = SessionFolder(tmp_path / "sessions", now=lambda: times[0])
    authorizer = Authorizer(ApiKeyFile(None), projects_claim="projects", sessions=sessions, now=lambda: times[0])
    token, _ = sessions.open_as("ada", ["acme"], "reader", hours=2)
    own = {"cookie": f"fiveshot_session={token}"}
    assert authorizer.identify(own, {}).role == Role.READER
    times[0] += timedelta(hours=2)
    with pytest.raises(Unauthenticated):
        authorizer.identify(own, {})
