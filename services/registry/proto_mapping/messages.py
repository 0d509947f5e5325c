"""Messages of the API to models, and back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict
from datetime import UTC, datetime

from fiveshot.audit.v1 import audit_pb2, audit_service_pb2
from fiveshot.registry.v1 import model_pb2 as pb
from fiveshot.registry.v1 import registry_service_pb2 as service_pb
from fiveshot.usage.v1 import usage_pb2
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.audit.records import AuditRecord
from services.chassis.budgets import BudgetUse
from services.chassis.http_bodies import received
from services.chassis.listing.pages import ListRequest
from services.chassis.requests.keys import RequestKey, digest_of_bytes
from services.registry.models.names import MODEL_NAME, PROJECT_NAME, version_name
from services.registry.models.resources import Lineage, Model, ModelFile, ModelVersion, NewModel
from services.registry.use_cases.import_version import ImportRequest
from services.registry.use_cases.save_epoch import SaveRequest

_SHOWN = ("principal", "role", "method", "resource", "code", "reason", "request_id", "address", "count")


def project_id(parent: str) -> str:
    """The id in `projects/{project}`."""
    return PROJECT_NAME.parse(parent, field="parent")["project"]


def request_key(request: service_pb.CreateModelRequest | service_pb.SaveEpochRequest) -> RequestKey:
    """What makes a repeated request recognisable: its id, and a digest of the rest of it."""
    rest: Message = type(request)()
    rest.CopyFrom(request)
    rest.ClearField("request_id")
    method = type(request).__name__.removesuffix("Request")
    body = rest.SerializeToString(deterministic=True)
    return RequestKey(project_id(request.parent), method, request.request_id, digest_of_bytes(body))


def list_request(
    request: service_pb.ListModelsRequest
    | service_pb.ListModelVersionsRequest
    | audit_service_pb2.ListAuditRecordsRequest,
) -> ListRequest:
    """A list call."""
    return ListRequest(
        parent=request.parent,
        page_size=request.page_size,
        page_token=request.page_token,
        filter=getattr(request, "filter", ""),
        order_by=request.order_by,
    )


def new_model(request: service_pb.CreateModelRequest) -> NewModel:
    """The model that a create asks for."""
    given = request.model
    return _new_model(project_id(request.parent), request.model_id, given)


def given_model(message: pb.Model) -> NewModel:
    """The values of an update. Raises InvalidArgument for a wrong name."""
    ids = MODEL_NAME.parse(message.name, field="model.name")
    return _new_model(ids["project"], ids["model"], message)


def usage(name: str, uses: Iterable[BudgetUse]) -> usage_pb2.Usage:
    """The use of each budget."""
    return usage_pb2.Usage(
        name=name,
        budgets=[
            usage_pb2.BudgetUse(budget=use.budget.name, unit=use.budget.unit, used=use.used, limit=use.limit)
            for use in uses
        ],
    )


def _new_model(project: str, model_id: str, given: pb.Model) -> NewModel:
    return NewModel(
        project, model_id, given.display_name, given.description, tuple(given.tags), labels=dict(given.labels)
    )


def save_request(request: service_pb.SaveEpochRequest) -> SaveRequest:
    """What a save asks for."""
    return SaveRequest(
        project=project_id(request.parent),
        epoch=request.epoch,
        model_id=request.model_id,
        create_model=request.create_model,
        display_name=request.display_name,
        description=request.description,
        aliases=tuple(request.aliases),
        key=request_key(request),
        labels=dict(request.labels),
        validate_only=request.validate_only,
    )


def import_messages(
    requests: AsyncIterator[service_pb.ImportModelVersionRequest],
) -> AsyncIterator[ImportRequest | bytes]:
    """The pieces of a file."""

    def header(request: service_pb.ImportModelVersionRequest) -> ImportRequest:
        ids = MODEL_NAME.parse(request.parent, field="parent")
        return ImportRequest(
            project=ids["project"],
            model_id=ids["model"],
            file_name=request.file_name,
            create_model=request.create_model,
            display_name=request.display_name,
            description=request.description,
            aliases=tuple(request.aliases),
            base_model=request.base_model,
            trigger_word=request.trigger_word,
            sha256=request.sha256,
            request_id=request.request_id,
            adapter_config=request.adapter_config,
        )

    return received(requests, header)


def model(value: Model) -> pb.Model:
    """A model as callers see it; aliases and the latest version are resource names."""
    names = {alias: version_name(value.project, value.model_id, number) for alias, number in value.aliases.items()}
    return pb.Model(
        name=value.name,
        display_name=value.display_name,
        description=value.description,
        tags=value.tags,
        labels=dict(value.labels),
        aliases=names,
        latest_version=version_name(value.project, value.model_id, value.latest) if value.latest else "",
        version_count=value.version_count,
        create_time=timestamp(value.create_time),
        update_time=timestamp(value.update_time),
        etag=value.etag,
        base_models=value.base_models,
    )


def version(value: ModelVersion) -> pb.ModelVersion:
    """A version as callers see it."""
    draft = value.draft
    return pb.ModelVersion(
        name=value.name,
        description=draft.description,
        files=[file(item) for item in draft.files],
        lineage=lineage(draft.lineage),
        trigger_word=draft.trigger_word,
        loss=draft.loss,
        rank=draft.rank,
        alpha=draft.alpha,
        preview_prompts=draft.preview_prompts,
        create_time=timestamp(value.create_time),
        model_card=draft.model_card,
        aliases=sorted(value.aliases),
        labels=dict(value.labels),
        etag=value.etag,
    )


def file(value: ModelFile) -> pb.ModelFile:
    """A file as callers see it, without where it is stored."""
    return pb.ModelFile(
        file_id=value.file_id,
        file_name=value.file_name,
        content_type=value.content_type,
        size_bytes=value.size_bytes,
        sha256=value.sha256,
    )


def lineage(value: Lineage) -> pb.Lineage:
    """Where a version comes from."""
    return pb.Lineage(
        dataset_version=value.dataset_version,
        dataset_digest=value.dataset_digest,
        training_job=value.training_job,
        epoch=value.epoch,
        base_model=value.base_model,
        step=value.step,
        parameters_sha256=value.parameters_sha256,
        uploaded_file=value.uploaded_file,
        pretended=value.pretended,
        initial_lora=value.initial_lora,
        datasets=[pb.LineageDataset(**asdict(dataset)) for dataset in value.datasets],
    )


def timestamp(moment: datetime) -> Timestamp:
    """A protobuf timestamp of an aware datetime."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def audit_record(record: AuditRecord) -> audit_pb2.AuditRecord:
    """An audit record as its readers see it."""
    message = audit_pb2.AuditRecord(
        name=f"projects/{record.project or '-'}/auditRecords/{record.id}",
        **{name: getattr(record, name) for name in _SHOWN},
    )
    message.time.FromDatetime(record.time)
    return message


def call_record(message: audit_service_pb2.CallRecord) -> AuditRecord:
    """A record that another process hands over."""
    values = {name: getattr(message, name) for name in ("id", "revision", "project", *_SHOWN)}
    return AuditRecord(**values, time=message.time.ToDatetime(UTC))
