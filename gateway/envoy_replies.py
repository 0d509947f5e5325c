"""The answers that Envoy makes itself: the same google.rpc.Status as the services give, as JSON or in gRPC's trailers.

What the authorization service refuses has its own body.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from gateway.settings import SERVICES
from services.chassis.grpc_errors import ERROR_DOMAIN, REMEDY_KEY

Config = dict[str, Any]
EDGE_SPACE = "fiveshot.edge"
"""Where edge.lua leaves the reason of its refusal."""
COMPLETE = "complete"
"""By this the authorization service says that its refusal needs no words of Envoy's."""

_AUTHORIZATION = "envoy.filters.http.ext_authz"

_INVALID_ARGUMENT, _RESOURCE_EXHAUSTED, _INTERNAL, _UNAVAILABLE = 3, 8, 13, 14
_BAD_REQUEST = f"type.googleapis.com/{error_details_pb2.BadRequest.DESCRIPTOR.full_name}"
_WAIT = {_RESOURCE_EXHAUSTED, _UNAVAILABLE}
# Of these Envoy says what it could not read; of others it says nothing, or how it reaches a service.
_TELLING = {400, 404}
_DEFAULT_REMEDY = "Try again in a moment; if it persists, give the operator the request id."


@dataclass(frozen=True)
class Reply:
    """One answer.

    code: google.rpc.Code. again: whether waiting helps; then it carries RetryInfo. grpc_code: of gRPC callers, where
    their custom differs. names_fields: edge.lua has left what is wrong with which fields, and the message.
    of_service: the message where it is known which service it is about, `{}` stands for its name.
    """

    status: int
    code: int
    message: str
    remedy: str = _DEFAULT_REMEDY
    again: bool = False
    grpc_code: int = 0
    names_fields: bool = False
    says_more: bool = False
    of_service: str = ""


BY_STATUS = (
    Reply(400, _INVALID_ARGUMENT, "The gateway cannot read the request",
          "Correct the request; the message or the detail says what is wrong with it."),
    Reply(403, 7, "The gateway lets no connection go over to another protocol",
          "Call over HTTP/1.1 or HTTP/2, by gRPC, gRPC-Web or JSON, without the header upgrade."),
    Reply(404, 5, "The gateway offers no such method", "Check method and path against the API reference.",
          grpc_code=12),
    Reply(405, 12, "The gateway offers no such method", "Check method and path against the API reference."),
    Reply(408, 4, "The request did not arrive in time", "Send the whole request at once, or try again."),
    Reply(413, _RESOURCE_EXHAUSTED, "The request is larger than the gateway takes for this method",
          "Send less at once; pictures go through the upload methods."),
    Reply(415, _INVALID_ARGUMENT, "The gateway does not take this type of content", "Send JSON or gRPC."),
    Reply(426, 12, "The gateway does not speak this version of HTTP", "Use HTTP/1.1 or HTTP/2."),
    Reply(429, _RESOURCE_EXHAUSTED, "Too many calls", "Wait a moment, then try again at a lower rate.", again=True),
    Reply(431, _RESOURCE_EXHAUSTED, "The headers of the request are too large",
          "Send fewer and shorter headers; a token should carry claims, not data."),
    Reply(500, 13, "The gateway failed"),
    Reply(501, 12, "The gateway cannot undo this transfer coding of the body",
          "Send the body as it is, with content-length or transfer-encoding: chunked."),
    Reply(502, _UNAVAILABLE, "The service behind the gateway broke the call off", again=True,
          of_service="The {} service broke the call off"),
    Reply(503, _UNAVAILABLE, "The service behind the gateway is not there",
          "The service is away or starts again; try again in a moment.", again=True,
          of_service="The {} service is not there"),
    Reply(504, 4, "The service did not answer in time", "Try again, or allow the call more time.",
          of_service="The {} service did not answer in time"),
)  # fmt: skip

BY_REASON = {
    "CREDENTIALS_IN_QUERY": Reply(400, _INVALID_ARGUMENT, "A credential must not stand in the address of a call",
        "Addresses end up in logs: withdraw this key, and send its successor in the header x-api-key."),
    "QUERY_OVERRIDES_PATH": Reply(400, _INVALID_ARGUMENT, "A query parameter names a field that the path already sets",
        "Remove the parameter; the path says which resource is meant.", names_fields=True),
    "FIELD_UNKNOWN": Reply(400, _INVALID_ARGUMENT, "A query names a field that the method does not have",
        "Correct the name; the API reference lists the fields.", names_fields=True),
    "FIELD_TYPE_WRONG": Reply(400, _INVALID_ARGUMENT, "A query gives a field a value that it cannot have",
        "Correct the fields listed in the violations.", names_fields=True),
    "QUERY_DIFFERS": Reply(400, _INVALID_ARGUMENT, "A query, or if-match beside it, gives one field two values",
        "Give each field listed in the violations once.", names_fields=True),
    "METHOD_NOT_ALLOWED": Reply(405, 12, "This path takes another HTTP method",
        "Use a method that the message names; the API reference lists them.", says_more=True),
    "CALL_UNKNOWN": Reply(404, 5, "This path has no such call",
        "Use a call that the message names; the API reference lists them.", grpc_code=12, says_more=True),
    "CONTENT_ENCODING_UNSUPPORTED": Reply(415, _INVALID_ARGUMENT, "The body is packed; a call takes it as it is",
        "Send it unpacked, without the header content-encoding."),
    "CONTENT_TYPE_UNSUPPORTED": Reply(415, _INVALID_ARGUMENT,
        "The body is a form in parts; a call takes one JSON object or one file",
        "Send the file itself as the body (curl --data-binary @cat.jpg), the rest in the query: ?fileName=cat.jpg."),
    "IF_MATCH_UNSUPPORTED": Reply(400, _INVALID_ARGUMENT, "The header if-match cannot be checked by this method",
        "Send one etag, as a read has given it, with a method that has an etag; leave the header out of others."),
    "TIMEOUT_INVALID": Reply(400, _INVALID_ARGUMENT, "The header grpc-timeout is no time, such as 10S",
        "Send up to eight digits and one of the letters H, M, S, m, u and n, or leave the header out."),
    "BODY_TOO_LARGE": Reply(413, _RESOURCE_EXHAUSTED, "The body is larger than this deployment takes from any call",
        "Send less at once; the operator sets the limit (GATEWAY_MAX_UPLOAD_MB)."),
    "HEADERS_TOO_LARGE": Reply(431, _RESOURCE_EXHAUSTED, "The headers of the request are too large",
        "Send fewer and shorter headers; a token should carry claims, not data."),
}  # fmt: skip
"""What edge.lua refuses."""
PATH_INVALID = "PATH_INVALID"
_PATH_INVALID = Reply(400, _INVALID_ARGUMENT, "The path holds an escaped slash, backslash or NUL, which no name has",
    "Write the slashes between the parts of a name as they are: projects/acme/datasets/dogs.")  # fmt: skip
# Envoy refuses it before any filter, and by then has undone the escapes.
_ESCAPED: Config = {
    "extension_filter": {
        "name": "cel",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
            "expression": "response.code_details == 'path_normalization_failed'",
        },
    }
}

OVERLOADED = "GATEWAY_OVERLOADED"
_OVERLOADED = Reply(
    429,
    _RESOURCE_EXHAUSTED,
    "More calls are waiting for this service than the gateway lets wait",
    "Wait a moment, then try again at a lower rate.",
    again=True,
)
UNASKED = "AUTHORIZATION_AWAY"
_UNASKED = Reply(
    503,
    _UNAVAILABLE,
    "The gateway's authorization service is not there",
    "It is away or starts again; try again in a moment.",
    again=True,
)
UNREAD = {
    "MESSAGE_TOO_LARGE": Reply(413, _RESOURCE_EXHAUSTED, "A message of this call is larger than the service takes",
        "Send files through the upload methods, in messages of at most 1 MiB."),
    "MESSAGE_MALFORMED": Reply(400, _INVALID_ARGUMENT, "A message of this call cannot be unpacked",
        "Send it as it is, or packed as the header grpc-encoding says: gzip or deflate."),
    "METADATA_MALFORMED": Reply(400, _INVALID_ARGUMENT, "A header of this call cannot be read",
        "The value of a header whose name ends with -bin is base64; grpc-encoding is identity, gzip or deflate."),
}  # fmt: skip
"""What edge.lua says in place of a gRPC server that could not read on, whose own words carry no details."""
IN_OTHER_WORDS = (
    (_RESOURCE_EXHAUSTED, "message larger than max", "MESSAGE_TOO_LARGE"),
    (_INTERNAL, "Compression bit set", "MESSAGE_MALFORMED"),
    (_INTERNAL, "Decompression failed", "MESSAGE_MALFORMED"),
    (_INTERNAL, "Unexpected compression", "MESSAGE_MALFORMED"),
    (_INTERNAL, "Error parsing '", "METADATA_MALFORMED"),
)
"""Code and words in part of such a server, and what is meant."""
# gRPC callers get the plain message in grpc-message, not a JSON text. A transcoded call looks like gRPC by then, but
# for the header in which the transcoder keeps the path.
_GRPC = {"name": "content-type", "string_match": {"prefix": "application/grpc"}}
_NOT_GRPC = {**_GRPC, "invert_match": True, "treat_missing_header_as_empty": True}
SPOKEN_KEY = "x-fiveshot-spoken"
"""Header of the content type that a call came with: the filter of gRPC-Web turns the other into gRPC's."""
_WEB = {"name": SPOKEN_KEY, "string_match": {"prefix": "application/grpc-web"}}
_TRANSCODED = {"name": "x-envoy-original-path", "present_match": True}
_WANTS_JSON = {"or_filter": {"filters": [{"header_filter": {"header": each}} for each in (_NOT_GRPC, _TRANSCODED)]}}
_NOT_TRANSCODED = {**_TRANSCODED, "invert_match": True}
_WANTS_GRPC = {"and_filter": {"filters": [{"header_filter": {"header": each}} for each in (_GRPC, _NOT_TRANSCODED)]}}
_WANTS_WEB = {"header_filter": {"header": _WEB}}


def replies() -> dict[str, Reply]:
    """Every reply by its reason."""
    by_status = {f"GATEWAY_HTTP_{reply.status}": reply for reply in BY_STATUS}
    return {**BY_REASON, PATH_INVALID: _PATH_INVALID, OVERLOADED: _OVERLOADED, UNASKED: _UNASKED, **UNREAD, **by_status}


def local_replies() -> Config:
    """The `local_reply_config`: the first mapper that fits a reply gives it its form."""
    complete = {"filter": _AUTHORIZATION, "path": [{"key": COMPLETE}], "value": {"bool_match": True}}
    refused: Config = {"metadata_filter": {"matcher": complete, "match_if_key_not_found": False}}
    bare = {"text_format_source": {"inline_string": ""}}
    mappers: list[Config] = [
        {
            "filter": {"and_filter": {"filters": [refused, _WANTS_WEB]}},
            "status_code": 200,
            "body_format_override": bare,
        },
        {"filter": refused},
    ]
    for reason, reply in BY_REASON.items():
        mappers += _mappers(_with_reason(reason), reason, reply)
    # Envoy calls it 503; but the service is there and well, and who asks again at once makes it worse.
    mappers += _mappers({"response_flag_filter": {"flags": ["UO"]}}, OVERLOADED, _OVERLOADED)
    # Set when the authorization service refuses, which has its own form above, and when it does not answer.
    mappers += _mappers({"response_flag_filter": {"flags": ["UAEX"]}}, UNASKED, _UNASKED)
    for reply, name in product((each for each in BY_STATUS if each.of_service), SERVICES):
        applies = {"and_filter": {"filters": [_with_status(reply.status), _calls(name)]}}
        told = replace(reply, message=reply.of_service.format(name))
        mappers += _mappers(applies, f"GATEWAY_HTTP_{reply.status}", told)
    mappers += _mappers(_ESCAPED, PATH_INVALID, _PATH_INVALID)
    for reply in BY_STATUS:
        telling = reply.status in _TELLING
        mappers += _mappers(_with_status(reply.status), f"GATEWAY_HTTP_{reply.status}", reply, own_message=telling)
    return {"mappers": mappers}


def status_of(reply: Reply, reason: str) -> status_pb2.Status:
    """The reply as the services would give it."""
    status = status_pb2.Status(code=reply.code, message=reply.message)
    info = error_details_pb2.ErrorInfo(reason=reason, domain=ERROR_DOMAIN, metadata={REMEDY_KEY: reply.remedy})
    status.details.add().Pack(info)
    if reply.again:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromSeconds(1)
        status.details.add().Pack(retry)
    return status


def in_trailers(status: status_pb2.Status) -> str:
    """The status as gRPC's `grpc-status-details-bin` carries it."""
    return base64.b64encode(status.SerializeToString()).decode("ascii").rstrip("=")


def _mappers(applies: Config, reason: str, reply: Reply, *, own_message: bool = False) -> list[Config]:
    """The reply for JSON, gRPC-Web and gRPC callers. own_message: JSON callers get Envoy's own text as well."""
    status = status_of(reply, reason)
    body = json.loads(json_format.MessageToJson(status))
    if reason not in (*BY_REASON, PATH_INVALID):
        # Envoy's own word for what happened; of these it says no more than we do.
        body["details"][0]["metadata"]["detail"] = "%RESPONSE_CODE_DETAILS%"
    if reply.names_fields or reply.says_more:
        body["message"] = f"%DYNAMIC_METADATA({EDGE_SPACE}:message)%"
    if reply.names_fields:
        # A list as edge.lua has left it: a single command keeps its type.
        violations = f"%DYNAMIC_METADATA({EDGE_SPACE}:violations)%"
        body["details"].append({"@type": _BAD_REQUEST, "fieldViolations": violations})
    if own_message:
        body["message"] = f"{reply.message}. %LOCAL_REPLY_BODY%"
    wait = [_header("retry-after", "1")] if reply.again else []
    as_json = {
        "filter": {"and_filter": {"filters": [applies, _WANTS_JSON]}},
        "status_code": reply.status,
        "body_format_override": {"json_format": body, "content_type": "application/json"},
        "headers_to_add": wait,
    }
    status.code = reply.grpc_code or reply.code
    as_grpc = {
        "filter": {"and_filter": {"filters": [applies, _WANTS_GRPC]}},
        "headers_to_add": [
            _header("grpc-status-details-bin", in_trailers(status)),
            _header("grpc-status", str(status.code)),
        ],
        "body_format_override": {"text_format_source": {"inline_string": reply.message}},
    }
    # Of a gRPC-Web caller's answer that is no 200 Envoy makes a status of its own from the one of HTTP, INTERNAL of 400
    # and UNKNOWN of 413; headers alone are what gRPC-Web knows as an answer without a message.
    as_web = {
        "filter": {"and_filter": {"filters": [applies, _WANTS_WEB]}},
        "status_code": 200,
        "headers_to_add": [*as_grpc["headers_to_add"], _header("grpc-message", reply.message), *wait],
        "body_format_override": {"text_format_source": {"inline_string": ""}},
    }
    return [as_json, as_web, as_grpc]


def _calls(service: str) -> Config:
    """Calls of a service: the transcoder has given those in JSON the path of gRPC by then."""
    return {"header_filter": {"header": {"name": ":path", "string_match": {"prefix": f"/fiveshot.{service}."}}}}


def _header(name: str, value: str) -> Config:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _with_status(status: int) -> Config:
    compare = {"op": "EQ", "value": {"default_value": status, "runtime_key": f"gateway.reply_{status}"}}
    return {"status_code_filter": {"comparison": compare}}


def _with_reason(reason: str) -> Config:
    matcher = {"filter": EDGE_SPACE, "path": [{"key": "refused"}], "value": {"string_match": {"exact": reason}}}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}
