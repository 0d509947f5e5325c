"""`fiveshot audit-log`: who changed what, and who was refused."""

from __future__ import annotations

from typing import Annotated

import typer
from fiveshot.audit.v1 import audit_pb2
from fiveshot.audit.v1 import audit_service_pb2 as pb
from fiveshot.sync.calls import pages

from gateway.cli import output
from gateway.cli.session import Session


def audit_log(
    ctx: typer.Context,
    filter: Annotated[str, typer.Option(help='Filter, such as: code != "OK" AND principal = "key:backend"')] = "",
    order_by: Annotated[str, typer.Option(help="Sort order: time, or time desc")] = "",
    limit: Annotated[int, typer.Option(min=0, help="Maximum number to list; 0 lists all.")] = 50,
    all_projects: Annotated[
        bool, typer.Option("--all-projects", help="Those of all projects, for keys with access to all of them.")
    ] = False,
) -> None:
    """List who changed what and who was refused, newest first; for admins."""
    session: Session = ctx.obj
    parent = "projects/-" if all_projects else session.parent
    request = pb.ListAuditRecordsRequest(parent=parent, filter=filter, order_by=order_by)
    found = list(pages(session.audit.ListAuditRecords, request, "audit_records", limit))
    if session.json:
        output.print_list("auditRecords", found)
        return
    rows = (
        (output.when(each.time), each.principal, each.role, output.short(each.method.replace(".", "/")), _about(each),
         _outcome(each), each.count if each.count > 1 else "", each.address, each.request_id)
        for each in found
    )  # fmt: skip
    names = ("time", "who", "?role", "method", "resource", "outcome", "?>calls", "?address", "?request")
    output.table(names, rows)


def _about(record: audit_pb2.AuditRecord) -> str:
    """The resource without its project, unless it is another than the record's."""
    own = "/".join(record.name.split("/")[:2]) + "/"
    return record.resource.removeprefix(own)


def _outcome(record: audit_pb2.AuditRecord) -> str:
    return record.code if record.code == "OK" else f"{record.code} {record.reason}".strip()
