"""What the authorization answers Envoy: a caller let through, a refusal, or a whole answer of its own."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fiveshot.gateway.v1 import external_auth_pb2 as pb
from google.protobuf import json_format
from google.rpc import code_pb2, status_pb2

from gateway.envoy_replies import COMPLETE
from gateway.roles import Role
from services.chassis import grpc_errors
from services.chassis.errors import (
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)
from services.chassis.request_context import INTERNAL_TOKEN_KEY, PRINCIPAL_KEY, PROJECTS_KEY, ROLE_KEY

_HTTP_STATUS = {
    InvalidArgument: 400,
    FailedPrecondition: 400,
    Unauthenticated: 401,
    PermissionDenied: 403,
    NotFound: 404,
    Unavailable: 503,
}
_CREDENTIAL_HEADERS = ("x-api-key", "authorization", "cookie")


@dataclass(frozen=True)
class Caller:
    """Who it is. principal: for logs and rate limits. projects: ids, or `*` for all. role: what it may do in them."""

    principal: str
    projects: tuple[str, ...]
    role: Role = Role.EDITOR


def allowed(caller: Caller, internal_token: str) -> pb.CheckResponse:
    """Lets the call pass with who it is; the credential itself stays here."""
    added = {
        PROJECTS_KEY: ",".join(sorted(caller.projects)),
        PRINCIPAL_KEY: caller.principal,
        ROLE_KEY: str(caller.role),
    }
    if internal_token:
        added[INTERNAL_TOKEN_KEY] = internal_token
    answer = pb.OkResponse(headers=_headers(added), headers_to_remove=_CREDENTIAL_HEADERS)
    return pb.CheckResponse(status=pb.CheckStatus(code=code_pb2.OK), ok_response=answer)


def kept(answer: pb.CheckResponse) -> pb.CheckResponse:
    """The permission with what edge.lua needs to give it again by itself: the headers that it sets and removes."""
    permission = answer.ok_response
    answer.dynamic_metadata.update(
        {
            "set": {option.header.key: option.header.value for option in permission.headers},
            "remove": list(permission.headers_to_remove),
        }
    )
    return answer


def wants_grpc(headers: Mapping[str, str]) -> bool:
    """Whether the caller speaks gRPC."""
    return headers.get("content-type", "").startswith("application/grpc")


def denied(error: DomainError, *, wants_grpc: bool) -> pb.CheckResponse:
    """Refuses: as google.rpc.Status in the trailer for gRPC callers, as its JSON for the others."""
    status = grpc_errors.to_proto(error)
    if wants_grpc:
        details = base64.b64encode(status.SerializeToString()).decode("ascii").rstrip("=")
        # Envoy would make the code of the status of HTTP: INTERNAL of 400.
        said = {"grpc-status": str(status.code), "grpc-message": grpc_errors.message_header(error.message)}
        headers, body = {"grpc-status-details-bin": details, **said}, error.message
    else:
        headers, body = {"content-type": "application/json"}, _status_json(status)
        if isinstance(error, Unauthenticated):
            headers["www-authenticate"] = 'Bearer realm="fiveshot"'
    http = pb.HttpStatus(code=http_status(error))
    refusal = pb.DeniedResponse(status=http, headers=_headers(headers), body=body)
    answer = pb.CheckResponse(status=pb.CheckStatus(code=status.code, message=error.message), denied_response=refusal)
    # Without this Envoy would put its own words in place of the body.
    answer.dynamic_metadata.update({COMPLETE: True})
    return answer


def told(
    status: int, body: str, more: Mapping[str, str] = MappingProxyType({}), cookies: Sequence[str] = ()
) -> pb.CheckResponse:
    """An answer of this process in a refusal's form: Envoy passes it on to whoever asked.

    more: headers. cookies: to set, one after the other.
    """
    headers = _headers({"content-type": "application/json", "cache-control": "no-store", **more})
    headers += [pb.HeaderValueOption(header=pb.HeaderValue(key="set-cookie", value=value)) for value in cookies]
    refusal = pb.DeniedResponse(status=pb.HttpStatus(code=status), headers=headers, body=body)
    answer = pb.CheckResponse(status=pb.CheckStatus(code=code_pb2.UNAVAILABLE), denied_response=refusal)
    answer.dynamic_metadata.update({COMPLETE: True})
    return answer


def http_status(error: DomainError) -> int:
    """The HTTP status of a refusal."""
    return _HTTP_STATUS.get(type(error), 403)


def _status_json(status: status_pb2.Status) -> str:
    return json_format.MessageToJson(status, preserving_proto_field_name=False, indent=None)


def _headers(values: Mapping[str, str]) -> list[pb.HeaderValueOption]:
    overwrite = pb.HeaderValueOption.APPEND_ACTION_OVERWRITE_IF_EXISTS_OR_ADD
    return [
        pb.HeaderValueOption(header=pb.HeaderValue(key=key, value=value), append_action=overwrite)
        for key, value in values.items()
    ]
