"""The audit over gRPC: what callers of the registry leave behind, who may read it, and how it is told on NATS."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from fiveshot.audit.v1 import audit_pb2
from fiveshot.audit.v1 import audit_service_pb2 as pb
from fiveshot.audit.v1.audit_service_pb2_grpc import AuditIntakeServiceStub, AuditServiceStub
from fiveshot.registry.v1 import model_pb2
from fiveshot.registry.v1 import registry_service_pb2 as service_pb
from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceStub

from services.chassis.errors import AlreadyExists, InvalidArgument, NotFound, PermissionDenied
from services.chassis.names import AUDIT_STREAM, AUDIT_SUBJECTS
from services.chassis.nats_events import EventBus
from services.chassis.store_settings import S3Settings
from services.registry.settings import Settings
from tests.fixtures.patience import until, within
from tests.integration.registry.running import serving


class Suite:
    """A registry with its event bus, and a project of the test's own."""

    def __init__(self, connection: grpc.aio.Channel, bus: EventBus) -> None:
        self.models: Any = RegistryServiceStub(connection)
        self.audit: Any = AuditServiceStub(connection)
        self.intake: Any = AuditIntakeServiceStub(connection)
        self.bus = bus
        self.project = f"p-{uuid.uuid4().hex[:12]}"
        self.parent = f"projects/{self.project}"

    def by(self, principal: str = "key:backend", projects: str = "") -> tuple[tuple[str, str], ...]:
        """The headers that the gateway adds."""
        return (
            ("x-fiveshot-projects", projects or self.project),
            ("x-fiveshot-principal", principal),
            ("x-fiveshot-role", "editor"),
            ("x-fiveshot-address", "192.0.2.7"),
            ("x-request-id", f"r-{principal}"),
        )

    async def create(self, model_id: str, **called: str) -> None:
        request = service_pb.CreateModelRequest(parent=self.parent, model_id=model_id, model=model_pb2.Model())
        await self.models.CreateModel(request, metadata=self.by(**called))

    async def records(self, *, parent: str = "", projects: str = "", **asked: object) -> list[audit_pb2.AuditRecord]:
        request = pb.ListAuditRecordsRequest(parent=parent or self.parent, **asked)  # type: ignore[arg-type]
        answer = await self.audit.ListAuditRecords(request, metadata=self.by("key:boss", projects))
        return list(answer.audit_records)

    async def settled(self, count: int) -> list[audit_pb2.AuditRecord]:
        """The records of the project, the oldest first, once there are so many and each names what was made."""

        async def there() -> list[audit_pb2.AuditRecord]:
            found = await self.records(order_by="time")
            named = all(each.resource != self.parent or each.code != "OK" for each in found)
            return found if len(found) >= count and named else []

        return list(await until(there))


@pytest.fixture
async def suite(s3_settings: S3Settings, sqlite_url: str, nats_url: str) -> AsyncIterator[Suite]:
    settings = Settings(
        **s3_settings.model_dump(),
        database_url=sqlite_url,
        nats_url=nats_url,
    )
    bus = EventBus.of(settings, name="test", stream=AUDIT_STREAM, subject_root=AUDIT_SUBJECTS)
    async with serving(settings) as connection:
        yield Suite(connection, bus)
    await bus.close()


async def test_changes_and_refusals_leave_one_record_each(suite: Suite) -> None:
    await suite.create("rex")
    with pytest.raises(AlreadyExists):
        await suite.create("rex")
    with pytest.raises(NotFound):
        await suite.models.GetModel(service_pb.GetModelRequest(name=f"{suite.parent}/models/tom"), metadata=suite.by())
    name = f"{suite.parent}/models/rex"
    await suite.models.DeleteModel(service_pb.DeleteModelRequest(name=name), metadata=suite.by("jwt:ada"))
    made, refused, deleted = await suite.settled(3)
    assert (made.principal, made.role, made.code, made.reason) == ("key:backend", "editor", "OK", "")
    assert (made.method, made.resource) == ("fiveshot.registry.v1.RegistryService.CreateModel", name)
    assert (made.request_id, made.address, made.count) == ("r-key:backend", "192.0.2.7", 1)
    assert (refused.code, refused.reason, refused.resource) == ("ALREADY_EXISTS", "MODEL_EXISTS", suite.parent)
    assert (deleted.principal, deleted.resource, deleted.code) == ("jwt:ada", name, "OK")
    assert made.name.startswith(f"{suite.parent}/auditRecords/")
    assert await suite.records(filter="code != OK") == [refused]


async def test_who_asks_for_another_project_is_known_to_operators_only(suite: Suite) -> None:
    name = f"{suite.parent}/models/rex"
    principal = f"key:{uuid.uuid4().hex}"
    with pytest.raises(PermissionDenied):
        await suite.models.GetModel(
            service_pb.GetModelRequest(name=name), metadata=suite.by(principal, projects="elsewhere")
        )

    async def there() -> list[audit_pb2.AuditRecord]:
        return await suite.records(parent="projects/-", projects="*", filter=f'principal = "{principal}"')

    (record,) = await until(there)
    assert (record.code, record.reason, record.resource) == ("PERMISSION_DENIED", "PROJECT_FORBIDDEN", name)
    assert record.name.startswith("projects/-/")
    assert await suite.records() == []


async def test_only_callers_of_all_projects_read_those_of_all(suite: Suite) -> None:
    for parent in ("projects/-", "projects/elsewhere"):
        with pytest.raises(PermissionDenied):
            await suite.records(parent=parent)
    with pytest.raises(InvalidArgument) as refused:
        await suite.records(filter="body = x")
    assert refused.value.field == "filter"


async def test_another_process_hands_its_records_over_as_often_as_it_likes(suite: Suite) -> None:
    record = pb.CallRecord(
        id=str(uuid.uuid4()), revision=1, project=suite.project, principal="key:a", count=1,
        method="fiveshot.dataset.v1.DatasetService.DeleteDataset", code="OK",
    )  # fmt: skip
    record.time.GetCurrentTime()
    corrected = pb.CallRecord()
    corrected.CopyFrom(record)
    corrected.revision, corrected.code = 2, "ABORTED"
    inside = {"metadata": (("x-fiveshot-projects", "*"),)}
    for records in ([record], [record, corrected], [record]):
        await suite.intake.RecordCalls(pb.RecordCallsRequest(records=records), **inside)
    (found,) = await suite.records()
    assert (found.code, found.time) == ("ABORTED", record.time)
    with pytest.raises(InvalidArgument):
        await suite.intake.RecordCalls(pb.RecordCallsRequest(records=[pb.CallRecord(id="x")]), **inside)


async def test_the_stream_tells_each_record_as_a_cloud_event(suite: Suite) -> None:
    await suite.create("rex")
    told = []
    async with within(30):
        async for event in suite.bus.subscribe(f"{AUDIT_SUBJECTS}.{suite.project}.>", after_sequence=0):
            told.append(event)
            if json.loads(event.data)["resource"].endswith("/rex"):
                break
    (record,) = await suite.settled(1)
    last = told[-1]
    assert last.subject == f"{AUDIT_SUBJECTS}.{suite.project}.registry.CreateModel"
    assert (last.type, last.source) == ("fiveshot.audit.call", record.name)
    assert last.id.startswith(record.name.rpartition("/")[2] + "/")
    body = json.loads(last.data)
    assert (body["name"], body["principal"], body["code"], body["requestId"], body["count"]) == (
        record.name, "key:backend", "OK", "r-key:backend", "1",
    )  # fmt: skip
    # A record that was corrected is told again under another id, never twice under one.
    assert len({event.id for event in told}) == len(told)
