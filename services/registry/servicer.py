"""RegistryService and the two services of the audit: parse, call, map.

Field rules and the project check are done before a method is reached.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from fiveshot.audit.v1 import audit_service_pb2
from fiveshot.audit.v1.audit_service_pb2_grpc import AuditIntakeServiceServicer, AuditServiceServicer
from fiveshot.registry.v1 import model_pb2 as pb
from fiveshot.registry.v1 import registry_service_pb2 as service_pb
from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceServicer
from fiveshot.usage.v1 import usage_pb2
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.empty_pb2 import Empty

from services.chassis import http_bodies
from services.chassis.names import project_of
from services.registry.proto_mapping import messages as mapping
from services.registry.use_cases.audit_log import AuditLog
from services.registry.use_cases.budgeting import UsageReading
from services.registry.use_cases.import_version import ImportVersion
from services.registry.use_cases.repositories import Repositories
from services.registry.use_cases.save_epoch import SaveEpoch
from services.registry.use_cases.versions import Versions


class RegistryServicer(RegistryServiceServicer):
    """One method a call."""

    def __init__(
        self,
        repositories: Repositories,
        versions: Versions,
        saving: SaveEpoch,
        importing: ImportVersion,
        usage: UsageReading,
    ) -> None:
        self._usage = usage
        self._repositories = repositories
        self._versions = versions
        self._saving = saving
        self._importing = importing

    async def CreateModel(self, request: service_pb.CreateModelRequest, context: Any) -> pb.Model:
        """See registry_service.proto, here and below."""
        made = await self._repositories.create(mapping.new_model(request), mapping.request_key(request))
        return mapping.model(made)

    async def GetModel(self, request: service_pb.GetModelRequest, context: Any) -> pb.Model:
        return mapping.model(await self._repositories.get(request.name))

    async def ListModels(self, request: service_pb.ListModelsRequest, context: Any) -> service_pb.ListModelsResponse:
        models, token, total = await self._repositories.list(mapping.list_request(request))
        shown = [mapping.model(model) for model in models]
        return service_pb.ListModelsResponse(models=shown, next_page_token=token, total_size=total)

    async def UpdateModel(self, request: service_pb.UpdateModelRequest, context: Any) -> pb.Model:
        given = mapping.given_model(request.model)
        updated = await self._repositories.update(given, request.update_mask.paths, request.model.etag)
        return mapping.model(updated)

    async def DeleteModel(self, request: service_pb.DeleteModelRequest, context: Any) -> Empty:
        await self._repositories.delete(request.name, etag=request.etag, force=request.force)
        return Empty()

    async def SaveEpoch(self, request: service_pb.SaveEpochRequest, context: Any) -> pb.ModelVersion:
        return mapping.version(await self._saving.save(mapping.save_request(request)))

    async def ImportModelVersion(
        self, request: AsyncIterator[service_pb.ImportModelVersionRequest], context: Any
    ) -> pb.ModelVersion:
        return mapping.version(await self._importing.run(mapping.import_messages(request)))

    async def GetModelVersion(self, request: service_pb.GetModelVersionRequest, context: Any) -> pb.ModelVersion:
        return mapping.version(await self._versions.get(request.name))

    async def ListModelVersions(
        self, request: service_pb.ListModelVersionsRequest, context: Any
    ) -> service_pb.ListModelVersionsResponse:
        versions, token, total = await self._versions.list(mapping.list_request(request))
        shown = [mapping.version(version) for version in versions]
        return service_pb.ListModelVersionsResponse(versions=shown, next_page_token=token, total_size=total)

    async def UpdateModelVersion(self, request: service_pb.UpdateModelVersionRequest, context: Any) -> pb.ModelVersion:
        given = request.model_version
        labelled = await self._versions.label(given.name, dict(given.labels), request.update_mask.paths, given.etag)
        return mapping.version(labelled)

    async def DownloadModelVersion(
        self, request: service_pb.DownloadModelVersionRequest, context: Any
    ) -> AsyncIterator[service_pb.DownloadModelVersionResponse]:
        file, chunks = await self._versions.download(request.name, request.file_id)
        opened = False
        async for chunk in chunks:
            if not opened:
                yield service_pb.DownloadModelVersionResponse(file=mapping.file(file))
                opened = True
            yield service_pb.DownloadModelVersionResponse(chunk=chunk)

    async def GetModelFileContent(
        self, request: service_pb.GetModelFileContentRequest, context: Any
    ) -> AsyncIterator[HttpBody]:
        file, chunks = await self._versions.download(request.name, request.file_id)
        # A form that is made on the way is stored nowhere.
        part = partial(self._versions.part, request.name, file) if file.object_key else None
        sent = http_bodies.File(file.file_name, file.content_type, file.size_bytes, file.sha256, chunks, part)
        async for body in http_bodies.send(sent, context):
            yield body

    async def DeleteModelVersion(self, request: service_pb.DeleteModelVersionRequest, context: Any) -> Empty:
        await self._versions.delete(request.name, etag=request.etag, force=request.force)
        return Empty()

    async def SetModelAlias(self, request: service_pb.SetModelAliasRequest, context: Any) -> pb.Model:
        return mapping.model(await self._repositories.set_alias(request.name, request.alias, request.version))

    async def DeleteModelAlias(self, request: service_pb.DeleteModelAliasRequest, context: Any) -> pb.Model:
        return mapping.model(await self._repositories.delete_alias(request.name, request.alias))

    async def GetUsage(self, request: service_pb.GetUsageRequest, context: Any) -> usage_pb2.Usage:
        return mapping.usage(request.name, await self._usage.get(project_of(request.name)))


class AuditServicer(AuditServiceServicer, AuditIntakeServiceServicer):
    """Who reads the audit records, and who hands them over."""

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    async def ListAuditRecords(
        self, request: audit_service_pb2.ListAuditRecordsRequest, context: Any
    ) -> audit_service_pb2.ListAuditRecordsResponse:
        """See audit_service.proto, here and below."""
        found, token = await self._audit.list(mapping.list_request(request))
        shown = [mapping.audit_record(record) for record in found]
        return audit_service_pb2.ListAuditRecordsResponse(audit_records=shown, next_page_token=token)

    async def RecordCalls(
        self, request: audit_service_pb2.RecordCallsRequest, context: Any
    ) -> audit_service_pb2.RecordCallsResponse:
        await self._audit.take([mapping.call_record(each) for each in request.records])
        return audit_service_pb2.RecordCallsResponse()
