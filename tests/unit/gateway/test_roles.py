"""Every public method has its least role, and a call is recognised by verb and path."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool

from gateway.app import REFLECTED
from gateway.envoy_routes import PUBLIC_SERVICES
from gateway.http_rules import http_rules
from gateway.roles import LEAST_ROLE, SERVICES, Role, RoleCheck, parse
from services.chassis.errors import PermissionDenied

CHECK = RoleCheck(http_rules(SERVICES))
DATASETS = "/v1/projects/acme/datasets"
JOBS = "/v1/projects/acme/trainingJobs"


def test_the_table_has_a_row_for_every_public_method_and_no_other() -> None:
    assert set(SERVICES) == set(PUBLIC_SERVICES) == set(REFLECTED)
    pool = descriptor_pool.Default()
    methods = {method.full_name for service in SERVICES for method in pool.FindServiceByName(service).methods}
    assert set(LEAST_ROLE) == methods


def test_what_only_looks_is_a_readers_and_what_changes_is_not() -> None:
    """By the names of standard methods, which say what they do."""
    looks = ("Get", "List", "Watch", "Download")
    changes = ("Create", "Update", "Delete", "Upload", "Cancel", "Save", "Set", "Edit")
    admins = ("ListAuditRecords",)
    for method, role in LEAST_ROLE.items():
        name = method.rpartition(".")[2]
        assert role == (Role.ADMIN if name in admins else Role.READER) or not name.startswith(looks), method
        assert role != Role.READER or not name.startswith(changes), method


def test_every_json_call_needs_what_its_method_needs() -> None:
    for rule in http_rules(SERVICES):
        path = rule.template
        for variable in rule.variables:
            path = path.replace("{" + variable + "}", "some-id").replace("{" + variable + "=", "{")
        path = path.replace("{", "").replace("}", "").replace("*", "some-id")
        assert CHECK.needed(rule.verb, path) == LEAST_ROLE[rule.method.full_name], f"{rule.verb} {path}"


@pytest.mark.parametrize(
    ("verb", "path", "needed"),
    [
        ("POST", "/fiveshot.dataset.v1.DatasetService/ListDatasets", Role.READER),
        ("POST", "/fiveshot.dataset.v1.DatasetService/DeleteDataset", Role.EDITOR),
        ("GET", f"{DATASETS}?pageSize=3", Role.READER),
        ("POST", f"{DATASETS}?datasetId=dogs", Role.EDITOR),
        ("DELETE", f"{DATASETS}/dogs", Role.EDITOR),
        ("GET", f"{JOBS}/one:watch", Role.READER),
        ("POST", f"{JOBS}/one:cancel", Role.EDITOR),
        ("POST", f"{JOBS}/one%3Acancel", Role.EDITOR),
        ("POST", f"{JOBS}%3Aestimate", Role.EDITOR),
        ("POST", "/fiveshot.dataset.v1.DatasetService/NoSuchMethod", Role.EDITOR),
        ("POST", "/nothing/here", Role.EDITOR),
        ("GET", "/nothing/here", Role.READER),
        ("GET", "/v1/projects/acme/auditRecords", Role.ADMIN),
        ("GET", "/v1/projects/acme/auditRecords?filter=x", Role.ADMIN),
        ("GET", "/v1/projects/acme/%61uditRecords", Role.ADMIN),
        ("GET", "/v1/projects/acme/%2561uditRecords", Role.ADMIN),
        ("GET", f"{JOBS}/one%3Awatch", Role.READER),
        ("POST", "/fiveshot.audit.v1.AuditService/ListAuditRecords", Role.ADMIN),
        ("POST", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Role.READER),
    ],
)
def test_what_a_call_needs(verb: str, path: str, needed: Role) -> None:
    assert CHECK.needed(verb, path) == needed


def test_a_role_includes_those_below() -> None:
    path = f"{DATASETS}/dogs"
    for role in (Role.EDITOR, Role.ADMIN):
        CHECK.require(role, "DELETE", path)
    with pytest.raises(PermissionDenied) as refused:
        CHECK.require(Role.READER, "DELETE", path)
    assert (refused.value.reason, refused.value.metadata["needed"]) == ("ROLE_TOO_LOW", "editor")
    assert "editor" in refused.value.remedy


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(ValueError, match="'owner' is none of reader, editor, admin"):
        parse("owner")
