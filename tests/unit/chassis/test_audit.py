"""Which calls leave an audit record, and what stands in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from services.chassis.audit.calls import Auditing
from services.chassis.audit.outbox import record_columns
from services.chassis.audit.records import BOUNDS, AuditRecord, CallEntry, only_looks
from services.chassis.request_context import RequestContext

CALLER = RequestContext("r-1", frozenset({"pets"}), "key:backend", "", "editor", "192.0.2.7")


@pytest.mark.parametrize(
    ("method", "looks"),
    [
        ("GetModel", True),
        ("ListModels", True),
        ("BatchGetImages", True),
        ("DownloadEpochFile", True),
        ("AuditDataset", True),
        ("DeleteModel", False),
        ("BatchDeleteImages", False),
        ("Getaway", False),
        ("TagImage", False),
        ("SomethingNew", False),
    ],
)
def test_a_method_changes_something_unless_its_verb_says_otherwise(method: str, looks: bool) -> None:
    assert only_looks(method) is looks
    assert only_looks(method, frozenset({method}))


def test_a_record_says_who_called_and_for_which_project() -> None:
    entry = CallEntry("fiveshot.registry.v1.RegistryService.DeleteModel", CALLER, changes=True)
    entry.about("projects/pets/models/rex")
    record = entry.record
    assert (record.principal, record.role, record.request_id, record.address) == (
        "key:backend", "editor", "r-1", "192.0.2.7",
    )  # fmt: skip
    assert (record.project, record.resource) == ("pets", "projects/pets/models/rex")


def test_another_projects_admins_do_not_see_who_named_it() -> None:
    entry = CallEntry("a.b.C.GetModel", CALLER, changes=False)
    entry.about("projects/secret/models/x")
    assert (entry.record.project, entry.record.resource) == ("", "projects/secret/models/x")


def test_a_name_that_no_database_keeps_is_cut() -> None:
    entry = CallEntry("a.b.C.GetModel", CALLER, changes=False)
    entry.about("projects/pets/" + "\0x\x1b\u202e" * 600)
    assert len(entry.record.resource) == 512
    assert entry.record.resource.isascii()
    assert entry.record.resource.isprintable()


@pytest.mark.parametrize(
    "resource", [f"projects/{'x' * 64}", "projects/UPPER/x", "projects/", "projects", "", "x/pets"]
)
def test_what_is_no_project_is_nobodys(resource: str) -> None:
    entry = CallEntry("a.b.C.GetModel", RequestContext("", frozenset({"*"}), "key:boss"), changes=True)
    entry.about(resource)
    assert (entry.record.project, entry.record.resource) == ("", resource)


def test_no_text_is_longer_than_its_column() -> None:
    texts: dict[str, Any] = dict.fromkeys(BOUNDS, "\0y" * 1000)
    record = AuditRecord(**texts)
    typed: list[tuple[str, Any]] = [(column.name, column.type) for column in record_columns()]
    columns = {name: kind.length for name, kind in typed if name in BOUNDS}
    assert columns == BOUNDS == {name: len(getattr(record, name)) for name in BOUNDS}


def test_what_a_service_does_by_itself_bears_its_name() -> None:
    entry = CallEntry("a.b.C.UpdateImage", RequestContext("", frozenset({"*"})), changes=True, process="tagger")
    assert entry.record.principal == "process:tagger"
    assert not entry.known


def test_what_a_process_does_to_a_project_of_its_own_accord_is_recorded_for_its_admins() -> None:
    added: list[AuditRecord] = []
    outbox: Any = SimpleNamespace(add=added.append)
    Auditing(outbox, ["a.b.C"]).note("a.b.C.CleanUpThings", project="pets", count=3)
    (record,) = added
    assert (record.method, record.principal, record.code) == ("a.b.C.CleanUpThings", "process:upkeep", "OK")
    assert (record.project, record.resource, record.count) == ("pets", "projects/pets", 3)
