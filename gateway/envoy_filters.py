"""The HTTP filters of the public listener, in the order in which a call passes them.

draining → CORS → gRPC-Web → limit by address → JWT (verdict only) → edge (refuses, remembers) → limit of what is not
remembered → authorization (decides and names the caller) → limit by caller → size of the body → fields of the body →
headers of raw bodies → JSON transcoder → router. The authorization stands before all that costs work, so no unknown
caller causes it.
"""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2

from gateway.envoy_bytes import completed_headers
from gateway.envoy_edge import edge, unless_known
from gateway.envoy_limits import address_limit, body_limit, caller_limit, unknown_limit
from gateway.http_rules import api_files, http_rules
from gateway.settings import Settings
from services.chassis.callers import OwnToken
from services.chassis.request_context import INTERNAL_TOKEN_KEY

Config = dict[str, Any]
_TYPE = "type.googleapis.com/envoy.extensions.filters.http"
CORS_FILTER = "envoy.filters.http.cors"
JWT_FILTER = "envoy.filters.http.jwt_authn"
JWT_PAYLOAD_KEY = "payload"
JWT_FAILURE_KEY = "failure"
HEALTH_PATH = "/healthz"
"""Answered by the authorization process, for everybody."""

_UNTRACED = rf"{HEALTH_PATH}|/grpc\.reflection\..*"

JSON_CHECK = "json_check"
CHECK_KEY = "x-fiveshot-check"
"""Tells the authorization process which of its two questions is asked; without it: who is calling?"""

# Of a file on its way in; above what a connection's buffer holds.
_PIECE_BYTES = 1024 * 1024
# The answer comes in well under a millisecond; the rest is for a machine that is busy with other things.
_AUTHORIZATION_TIMEOUT = "5s"


def http_filters(settings: Settings, services: list[str]) -> list[Config]:
    """The chain for `services` (full names)."""
    filters = [_draining()]
    if settings.cors_origins:
        filters.append(_filter(CORS_FILTER, "cors.v3.Cors", {}))
    filters.append(_filter("grpc_web", "grpc_web.v3.GrpcWeb", {}))
    if settings.address_limit_per_second:
        filters.append(address_limit(settings))
    if settings.uses_jwt:
        filters.append(_jwt(settings))
    filters.append(edge(settings, http_rules(services), HEALTH_PATH))
    if settings.unknown_limit_per_second:
        filters.append(unknown_limit(settings))
    filters.append(_authorization(settings))
    if settings.rate_limit_per_second:
        filters.append(caller_limit(settings))
    filters.append(body_limit(settings))
    if settings.check_json:
        filters.append(_json_check(settings))
    filters.append(completed_headers())
    filters.append(_transcoder(settings, services))
    filters.append(_filter("router", "router.v3.Router", {}))
    return filters


def cors_policy(origins: list[str]) -> Config:
    """Lets browser pages of these origins call; a preflight is answered before anyone asks for a key."""
    return {
        "@type": f"{_TYPE}.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in origins],
        "allow_methods": "GET, HEAD, POST, PATCH, DELETE, OPTIONS",
        "allow_headers": "authorization, x-api-key, content-type, x-grpc-web, grpc-timeout, x-user-agent, x-request-id"
        ", if-match, if-none-match, range, if-range",
        "expose_headers": "grpc-status, grpc-message, grpc-status-details-bin, x-request-id, content-disposition, etag"
        ", content-length, content-range, accept-ranges, retry-after",
        "max_age": "86400",
    }


def api_descriptors() -> FileDescriptorSet:
    """The API with the error details, which the transcoder needs to write an error as JSON."""
    bundle = api_files()
    known = {file.name for file in bundle.file}
    for descriptor in (*error_details_pb2.DESCRIPTOR.dependencies, error_details_pb2.DESCRIPTOR):
        if descriptor.name not in known:
            descriptor.CopyToProto(bundle.file.add())
    return bundle


def unchecked_body() -> Config:
    """What a route says whose bodies are no JSON."""
    return {"@type": f"{_TYPE}.ext_authz.v3.ExtAuthzPerRoute", "disabled": True}


def transcoder_for_bytes(settings: Settings, services: list[str]) -> Config:
    """What a route says that takes files as they are: a piece becomes a message as it comes, the file is never held."""
    typed = _transcoder(settings, services)["typed_config"]
    return {**typed, "max_request_body_size": _PIECE_BYTES}


def _draining() -> Config:
    """Answers 503 in the place of the authorization process once this Envoy is about to end; see the pod's preStop.

    Whatever it takes for a question about health has no span, so it takes reflection for one as well.
    """
    path = [{"name": ":path", "string_match": {"safe_regex": {"regex": _UNTRACED}}}]
    return _filter("draining", "health_check.v3.HealthCheck", {"pass_through_mode": True, "headers": path})


def _jwt(settings: Settings) -> Config:
    provider: Config = {
        "issuer": settings.jwt_issuer,
        "forward": True,
        "payload_in_metadata": JWT_PAYLOAD_KEY,
        "failed_status_in_metadata": JWT_FAILURE_KEY,
    }
    if settings.jwt_audiences:
        provider["audiences"] = list(settings.jwt_audiences)
    if settings.jwks_file:
        provider["local_jwks"] = {"filename": str(settings.jwks_file)}
    else:
        source = {"uri": settings.jwks_uri, "cluster": "jwks", "timeout": "5s"}
        provider["remote_jwks"] = {"http_uri": source, "cache_duration": "600s", "async_fetch": {}}
    # The verdict goes to the authorization service, which also knows API keys and words every refusal alike.
    requires = {"requires_any": {"requirements": [{"provider_name": "issuer"}, {"allow_missing_or_failed": {}}]}}
    rules = [{"match": {"prefix": "/"}, "requires": requires}]
    return _filter(JWT_FILTER, "jwt_authn.v3.JwtAuthentication", {"providers": {"issuer": provider}, "rules": rules})


def _authorization(settings: Settings) -> Config:
    return _filter(
        "ext_authz",
        "ext_authz.v3.ExtAuthz",
        {
            **_asks(settings, {}),
            "metadata_context_namespaces": [JWT_FILTER],
            "filter_enabled_metadata": unless_known(),
        },
    )


def _json_check(settings: Settings) -> Config:
    """Shows a JSON body to the authorization process: the transcoder would drop a misspelt field without a word."""
    # One more than a whole one may have tells the beginning of a larger one.
    body = {"max_request_bytes": settings.max_json_kb * 1024 + 1, "pack_as_bytes": True}
    return _filter(
        JSON_CHECK, "ext_authz.v3.ExtAuthz", {**_asks(settings, {CHECK_KEY: JSON_CHECK}), "with_request_body": body}
    )


def _asks(settings: Settings, metadata: dict[str, str]) -> Config:
    if token := OwnToken(settings).current():
        metadata = {**metadata, INTERNAL_TOKEN_KEY: token}
    service: Config = {"envoy_grpc": {"cluster_name": "authz"}, "timeout": _AUTHORIZATION_TIMEOUT}
    service["initial_metadata"] = [{"key": key, "value": value} for key, value in metadata.items()]
    return {
        "transport_api_version": "V3",
        "grpc_service": service,
        "failure_mode_allow": False,
        "status_on_error": {"code": "ServiceUnavailable"},
        "clear_route_cache": False,
    }


def _transcoder(settings: Settings, services: list[str]) -> Config:
    return _filter(
        "grpc_json_transcoder",
        "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        {
            "proto_descriptor_bin": base64.b64encode(api_descriptors().SerializeToString()).decode("ascii"),
            "services": services,
            "convert_grpc_status": True,
            "max_request_body_size": settings.max_json_kb * 1024,
            # Forms, URLSearchParams and most HTTP libraries write a space so.
            "query_param_unescape_plus": True,
            # A typo in a query is the caller's mistake, not something to pass over.
            "request_validation_options": {"reject_unknown_query_parameters": True, "reject_unknown_method": True},
            "print_options": {"stream_newline_delimited": True},
        },
    )


def _filter(name: str, kind: str, config: Config) -> Config:
    return {"name": name, "typed_config": {"@type": f"{_TYPE}.{kind}", **config}}
