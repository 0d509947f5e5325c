"""What the gateway records by itself, and that every method which changes something leaves a record."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fiveshot.gateway.v1 import external_auth_pb2 as pb

from gateway import api_keys
from gateway import audit as gateway_audit
from gateway.audit import GatewayAudit
from gateway.authz import AuthorizationServicer, Authorizer
from gateway.check_answers import Caller
from gateway.console_sessions import ConsoleSessions
from gateway.roles import LEAST_ROLE, Role
from gateway.sessions import CONSOLE_HEADER, SessionFolder
from services.chassis.audit.records import AuditRecord
from services.chassis.errors import PermissionDenied, Unauthenticated, Unavailable
from services.chassis.request_context import RequestContext
from services.chassis.service import Service
from services.dataset import app as dataset_app
from services.dataset.settings import Settings as DatasetSettings
from services.notifier import app as notifier_app
from services.notifier.settings import Settings as NotifierSettings
from services.registry import app as registry_app
from services.registry.settings import Settings as RegistrySettings
from services.tagger import app as tagger_app
from services.tagger.settings import Settings as TaggerSettings
from services.trainer import app as trainer_app
from services.trainer.settings import Settings as TrainerSettings

RPC = "/fiveshot.dataset.v1.DatasetService/DeleteDataset"
MINUTE = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
STRANGER = Unauthenticated("No", reason="API_KEY_INVALID")


class Kept:
    """Takes records; away: says that nobody answers."""

    def __init__(self) -> None:
        self.records: list[AuditRecord] = []
        self.away = False

    async def __call__(self, records: Sequence[AuditRecord]) -> None:
        if self.away:
            raise Unavailable("away", reason="AWAY")
        self.records += records


class Clock:
    """A time that a test sets."""

    def __init__(self) -> None:
        self.now = MINUTE

    def __call__(self) -> datetime:
        return self.now


def call(path: str, method: str = "GET", address: str = "192.0.2.1", **headers: str) -> pb.AttributeContext.HttpRequest:
    http = pb.AttributeContext.HttpRequest(method=method, path=path)
    http.headers.update({"x-fiveshot-address": address, "x-request-id": "r-1"})
    http.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return http


@pytest.fixture
async def services(tmp_path: Path) -> list[Service]:
    """Every service as its process builds it; nobody is contacted."""
    common: dict[str, Any] = {"database_url": f"sqlite+aiosqlite:///{tmp_path}/x.db"}
    far: dict[str, Any] = {**common, "audit_target": "127.0.0.1:1"}
    return [
        dataset_app.build(DatasetSettings(**far)),
        tagger_app.build(TaggerSettings(**far)),
        trainer_app.build(TrainerSettings(**far)),
        registry_app.build(RegistrySettings(**common)),
        notifier_app.build(NotifierSettings(**far)),
    ]


async def test_every_method_that_changes_something_leaves_a_record_and_no_other(services: list[Service]) -> None:
    """A method that a reader may call changes nothing; the table of roles and the audit say so alike."""
    caller, recorded = RequestContext("", frozenset({"*"}), "key:x"), set()
    for method in LEAST_ROLE:
        path = "/{}/{}".format(*method.rsplit(".", 1))
        opened = [found for each in services if each.audit and (found := each.audit.open(path, caller, ""))]
        assert len(opened) == 1, f"{method} is audited by {len(opened)} services"
        if opened[0].changes:
            recorded.add(method)
    assert recorded == {method for method, role in LEAST_ROLE.items() if role == Role.EDITOR}


async def test_without_a_keeper_no_service_pretends_to_audit(tmp_path: Path) -> None:
    settings = TaggerSettings(database_url=f"sqlite+aiosqlite:///{tmp_path}/x.db")
    assert tagger_app.build(settings).audit is None


async def test_a_known_caller_is_recorded_by_name_and_a_stranger_counted() -> None:
    kept, clock = Kept(), Clock()
    audit = GatewayAudit(kept, clock)
    caller = Caller("key:look", ("acme",), Role.READER)
    audit.refused(
        call("/v1/projects/acme/datasets/dogs?x=1", "DELETE"), PermissionDenied("", reason="ROLE_TOO_LOW"), caller
    )
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        audit.refused(call("/v1/projects/acme/datasets", address=address), STRANGER, None)
    clock.now += timedelta(seconds=59)
    audit.refused(call("/v1/projects/acme/datasets"), STRANGER, None)
    clock.now += timedelta(seconds=1)
    audit.refused(call("/v1/projects/acme/datasets"), STRANGER, None)
    await audit.close()

    known, *strangers = kept.records
    assert (known.principal, known.role, known.method, known.resource, known.project, known.code, known.reason) == (
        "key:look", "reader", "DELETE", "projects/acme/datasets/dogs", "acme", "PERMISSION_DENIED", "ROLE_TOO_LOW",
    )  # fmt: skip
    assert (known.request_id, known.address, known.count) == ("r-1", "192.0.2.1", 1)
    assert [(each.time, each.address, each.count) for each in strangers] == [
        (MINUTE, "192.0.2.1", 3),
        (MINUTE, "192.0.2.2", 1),
        (MINUTE + timedelta(minutes=1), "192.0.2.1", 1),
    ]
    assert {(each.principal, each.project, each.code, each.reason) for each in strangers} == {
        ("", "", "UNAUTHENTICATED", "API_KEY_INVALID")
    }


@pytest.mark.parametrize(
    ("path", "projects", "method", "project"),
    [
        (RPC, ("acme",), RPC[1:].replace("/", "."), "acme"),
        (RPC, ("acme", "beta"), RPC[1:].replace("/", "."), ""),
        ("/v1/projects/beta/datasets", ("acme",), "POST", "acme"),
        ("/v1/projects/beta/datasets", ("*",), "POST", "beta"),
        ("/v1/projects/beta/datasets", ("acme", "beta"), "POST", "beta"),
        ("/elsewhere", ("*",), "POST", ""),
    ],
)  # fmt: skip
async def test_whose_admins_see_a_refusal(path: str, projects: tuple[str, ...], method: str, project: str) -> None:
    """Never those of a project that the caller merely named."""
    kept = Kept()
    audit = GatewayAudit(kept)
    audit.refused(call(path, "POST"), PermissionDenied("", reason="ROLE_TOO_LOW"), Caller("key:a", projects))
    await audit.close()
    assert [(each.method, each.project) for each in kept.records] == [(method, project)]


async def test_strangers_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_audit, "MAX_STRANGERS", 3)
    kept = Kept()
    audit = GatewayAudit(kept, Clock())
    for number in range(10):
        audit.refused(call("/", address=f"192.0.2.{number}"), STRANGER, None)
    await audit.close()
    assert [(each.address, each.count) for each in kept.records] == [
        ("192.0.2.0", 1), ("192.0.2.1", 1), ("192.0.2.2", 1), (gateway_audit.OTHERS, 7),
    ]  # fmt: skip


async def test_what_nobody_takes_waits_and_is_then_delivered_once() -> None:
    kept = Kept()
    kept.away = True
    audit = GatewayAudit(kept)
    audit.refused(call("/x"), PermissionDenied("", reason="ROLE_TOO_LOW"), Caller("key:a", ("acme",)))
    await audit.close()
    assert kept.records == []
    kept.away = False
    running = asyncio.create_task(audit.run())
    await audit.idle()
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert len(kept.records) == 1


async def test_the_authorization_knows_whom_it_refuses(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    api_keys.save(
        path,
        [
            api_keys.ApiKey("look", api_keys.digest("fs_look"), ("acme",), role=Role.READER),
            api_keys.ApiKey("old", api_keys.digest("fs_old"), ("acme",), datetime(2020, 1, 1, tzinfo=UTC)),
        ],
    )
    kept, sessions = Kept(), SessionFolder(tmp_path / "sessions")
    audit = GatewayAudit(kept)
    authorizer = Authorizer(api_keys.ApiKeyFile(path), projects_claim="projects", sessions=sessions)
    servicer = AuthorizationServicer(authorizer, internal_token="", audit=audit)
    cookie, _ = sessions.open("look")

    async def ask(**headers: str) -> int:
        request = pb.CheckRequest()
        request.attributes.request.http.CopyFrom(call("/v1/projects/acme/datasets", "POST", **headers))
        return int((await servicer.check(request, None)).status.code)

    assert await ask(x_api_key="fs_look") != 0
    assert await ask(x_api_key="fs_old") != 0
    assert await ask(cookie=f"fiveshot_session={cookie}") != 0
    assert await ask(x_api_key="fs_unknown") != 0
    assert await ask() != 0
    await audit.close()
    assert [(each.principal, each.reason) for each in kept.records] == [
        ("key:look", "ROLE_TOO_LOW"),
        ("key:old", "API_KEY_EXPIRED"),
        ("session:look", "CROSS_SITE_CALL"),
        ("", "API_KEY_INVALID"),
        ("", "CREDENTIALS_MISSING"),
    ]
    everything = repr(kept.records)
    assert "fs_" not in everything
    assert cookie not in everything


async def test_signing_in_and_out_leaves_records(tmp_path: Path) -> None:
    path = tmp_path / "keys.yaml"
    api_keys.save(path, [api_keys.ApiKey("local", api_keys.digest("fs_good"), ("acme",))])
    kept, sessions = Kept(), SessionFolder(tmp_path / "sessions")
    audit = GatewayAudit(kept)
    authorizer = Authorizer(api_keys.ApiKeyFile(path), projects_claim="projects", sessions=sessions)
    console = ConsoleSessions(authorizer, sessions, audit=audit)
    own = {CONSOLE_HEADER: "1"}
    code, _ = sessions.new_code("local")
    answer = console.answer(call("/console/session", "POST", **own, **{"x-fiveshot-code": code}))
    (cookie,) = [each.header.value for each in answer.denied_response.headers if each.header.key == "set-cookie"]
    console.answer(call("/console/session", "POST", **own, **{"x-fiveshot-code": code}))
    console.answer(call("/console/session", "DELETE", **own, cookie=cookie.partition(";")[0]))
    await audit.close()
    assert [(each.method, each.principal, each.code, each.reason) for each in kept.records] == [
        ("console.SignIn", "session:local", "OK", ""),
        ("console.SignOut", "session:local", "OK", ""),
        ("*", "", "UNAUTHENTICATED", "CODE_USED"),
    ]
    assert code not in repr(kept.records)
