"""`fiveshot dataset audit`: what a training would learn badly, and the call that mends it."""

from __future__ import annotations

from typing import Annotated

import typer
from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.errors import InvalidArgument
from fiveshot.parameters import DEFAULT_BASE_MODEL
from fiveshot.sync.calls import pages
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.trainer.v1 import audit_pb2, training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb

from gateway.cli import output
from gateway.cli.base_models import base_model_name
from gateway.cli.dataset import SETS, Dataset, app
from gateway.cli.faults import Faults
from gateway.cli.lookup import did_you_mean
from gateway.cli.parameters import parameters
from gateway.cli.session import Session
from gateway.cli.tagging import follow
from gateway.cli.train import BaseModel, Resolution, Set

_VERDICTS = {
    audit_pb2.DatasetAudit.VERDICT_READY: "Ready",
    audit_pb2.DatasetAudit.VERDICT_NEEDS_ATTENTION: "Needs attention",
    audit_pb2.DatasetAudit.VERDICT_BLOCKED: "Blocked",
}
_NAMED = 5


@app.command(rich_help_panel=SETS)
def audit(
    ctx: typer.Context,
    dataset: Dataset,
    base_model: BaseModel = DEFAULT_BASE_MODEL,
    resolution: Resolution = None,
    set_: Set = None,
    fix: Annotated[list[str] | None, typer.Option(help="Mend this finding, such as bars; repeatable.")] = None,
) -> None:
    """Look for what a training would learn badly; exit code 6 when it is blocked."""
    session, faults = ctx.obj, Faults()
    name = session.name("datasets", dataset)
    job = training_job_pb2.TrainingJob(
        base_model=base_model_name(session, base_model),
        dataset_version=name,
        parameters=parameters({"resolution": resolution}, set_ or [], [], faults),
    )
    request = pb.AuditDatasetRequest(parent=session.parent, training_job=job)
    faults.refuse(lambda: session.trainer.AuditDataset(request))
    found = session.trainer.AuditDataset(request)
    first = {each.kind for each in found.findings}
    for kind in fix or []:
        if kind in first and not any(each.kind == kind for each in found.findings):
            output.note(f"{kind}: gone with what was mended before.")
            continue
        _mend(session, found, kind)
        found = session.trainer.AuditDataset(request)
    if session.json:
        output.print_json(found)
    else:
        _tell(session, name, found)
    if found.verdict == audit_pb2.DatasetAudit.VERDICT_BLOCKED:
        raise typer.Exit(output.STATE)


def _mend(session: Session, found: audit_pb2.DatasetAudit, kind: str) -> None:
    """Sends the call of a finding. Raises InvalidArgument where there is no such finding, or none that a call mends."""
    findings = [each for each in found.findings if each.kind == kind]
    mendable = [each for each in findings if each.HasField("fix")]
    if not mendable:
        others = sorted({each.kind for each in found.findings if each.HasField("fix")})
        raise InvalidArgument(
            f"{'No call mends' if findings else 'The audit does not find'} '{kind}'", field="fix",
            remedy=f"{did_you_mean(kind, others)} These can be mended: {', '.join(others)}.".strip()
            if others else "Nothing here can be mended by a call.",
        )  # fmt: skip
    service, _, method = mendable[0].fix.method.rpartition("/")
    module = tagger_service_pb2 if service.startswith("fiveshot.tagger.") else dataset_service_pb2
    request = getattr(module, mendable[0].fix.request.type_url.rpartition(".")[2])()
    mendable[0].fix.request.Unpack(request)
    stub = session.tagger if module is tagger_service_pb2 else session.dataset
    sent = getattr(stub, method)(request)
    if isinstance(sent, tagger_pb2.TagJob):
        follow(session, sent)
    if not session.json:
        output.say(f"{kind}: done.")


def _tell(session: Session, dataset: str, found: audit_pb2.DatasetAudit) -> None:
    listing = dataset_service_pb2.ListImagesRequest(parent=dataset)
    files = {each.name: each.file_name for each in pages(session.dataset.ListImages, listing, "images", 0)}
    rows = []
    for each in found.findings:
        names = ", ".join(files.get(name, output.short(name)) for name in each.images[:_NAMED])
        more = f" and {len(each.images) - _NAMED} more" if len(each.images) > _NAMED else ""
        severity = output.enum_name(each, "severity").removeprefix("severity_")
        fix = f"--fix {each.kind}" if each.HasField("fix") else ""
        rows.append((each.kind, severity, f"{each.message}.", f"{names}{more}", each.remedy, fix))
    if rows:
        output.table(("finding", "severity", "what", "pictures", "what to do", "mend"), rows)
    output.say(f"{_VERDICTS[found.verdict]}.")
    short = output.short(dataset)
    if found.verdict == audit_pb2.DatasetAudit.VERDICT_READY:
        output.next_step(session, f"fiveshot train preview {short}")
    elif any(each.kind in ("bars", "crop-loss") for each in found.findings):
        output.next_step(session, f"fiveshot dataset crop {short} --auto")
