"""The HTTP filters of the public listener, in the order in which a call passes them.

health → CORS → gRPC-Web → JWT (verdict only) → authorization (decides and names the caller) → rate limit by caller →
headers of raw bodies → JSON transcoder → router. The authorization stands before the
transcoder, so no unknown caller makes it work.
"""

from __future__ import annotations

import base64
from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2

from gateway.envoy_bytes import completed_headers
from gateway.settings import Settings
from services.chassis.request_context import INTERNAL_TOKEN_KEY, PRINCIPAL_KEY

Config = dict[str, Any]
_TYPE = "type.googleapis.com/envoy.extensions.filters.http"
CORS_FILTER = "envoy.filters.http.cors"
JWT_FILTER = "envoy.filters.http.jwt_authn"
JWT_PAYLOAD_KEY = "payload"
JWT_FAILURE_KEY = "failure"
_HEALTH_CLUSTERS = ("authz", "dataset", "tagger", "trainer", "registry")
# google.rpc.Code for answers that Envoy makes itself, by HTTP status.
_CODES = {400: 3, 404: 5, 405: 12, 408: 4, 413: 8, 415: 3, 429: 8, 431: 8, 500: 13, 502: 14, 503: 14, 504: 4}
_REMEDIES = {
    400: "Correct the request; the message or the detail says what is wrong with it.",
    404: "Check method and path against the API reference.",
    405: "Check method and path against the API reference.",
    413: "Send less at once; pictures go through the chunked upload.",
    429: "Wait a moment, then try again at a lower rate.",
    503: "The service behind the gateway is not there; try again in a moment.",
    504: "Try again, or allow the call more time.",
}
# gRPC callers get the plain message in grpc-message, not a JSON text. A transcoded call looks like gRPC by then, but
# for the header in which the transcoder keeps the path.
_NOT_GRPC = {
    "name": "content-type",
    "string_match": {"prefix": "application/grpc"},
    "invert_match": True,
    "treat_missing_header_as_empty": True,
}
_TRANSCODED = {"name": "x-envoy-original-path", "present_match": True}
_WANTS_JSON = {"or_filter": {"filters": [{"header_filter": {"header": each}} for each in (_NOT_GRPC, _TRANSCODED)]}}
_DEFAULT_REMEDY = "Try again in a moment; if it persists, give the operator the request id."


def http_filters(settings: Settings, services: list[str], health_path: str) -> list[Config]:
    """The chain for `services` (full names). `health_path` answers 200 once every service behind is healthy."""
    filters = [_health(health_path)]
    if settings.cors_origins:
        filters.append(_filter(CORS_FILTER, "cors.v3.Cors", {}))
    filters.append(_filter("grpc_web", "grpc_web.v3.GrpcWeb", {}))
    if settings.uses_jwt:
        filters.append(_jwt(settings))
    filters.append(_authorization(settings))
    if settings.rate_limit_per_second:
        filters.append(_rate_limit(settings))
    filters.append(completed_headers())
    filters.append(_transcoder(settings, services))
    filters.append(_filter("router", "router.v3.Router", {}))
    return filters


def cors_policy(origins: list[str]) -> Config:
    """Lets browser pages of these origins call; a preflight is answered before anyone asks for a key."""
    return {
        "@type": f"{_TYPE}.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in origins],
        "allow_methods": "GET, POST, PATCH, DELETE, OPTIONS",
        "allow_headers": "authorization, x-api-key, content-type, x-grpc-web, grpc-timeout, x-user-agent, x-request-id",
        "expose_headers": "grpc-status, grpc-message, grpc-status-details-bin, x-request-id, content-disposition, etag",
        "max_age": "86400",
    }


def api_descriptors() -> FileDescriptorSet:
    """The API with the error details, which the transcoder needs to write an error as JSON."""
    source = resources.files("fiveshot").joinpath("fiveshot_descriptor.binpb")
    bundle = FileDescriptorSet.FromString(source.read_bytes())
    known = {file.name for file in bundle.file}
    for descriptor in (*error_details_pb2.DESCRIPTOR.dependencies, error_details_pb2.DESCRIPTOR):
        if descriptor.name not in known:
            descriptor.CopyToProto(bundle.file.add())
    return bundle


def local_replies() -> Config:
    """The form of answers that Envoy makes itself to JSON callers: the same google.rpc.Status as the services give.

    401 and 403 come from the authorization service, which writes its own body.
    """
    return {"mappers": [_reply(status, code) for status, code in _CODES.items()]}


def _reply(status: int, code: int) -> Config:
    compare = {"op": "EQ", "value": {"default_value": status, "runtime_key": f"gateway.reply_{status}"}}
    info = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": f"GATEWAY_HTTP_{status}",
        "domain": "fiveshot",
        # Envoy's own word for what happened; the message is empty where Envoy refuses without a text.
        "metadata": {"remedy": _REMEDIES.get(status, _DEFAULT_REMEDY), "detail": "%RESPONSE_CODE_DETAILS%"},
    }
    body = {"code": code, "message": "%LOCAL_REPLY_BODY%", "details": [info]}
    is_status = {"status_code_filter": {"comparison": compare}}
    return {
        "filter": {"and_filter": {"filters": [is_status, _WANTS_JSON]}},
        "body_format_override": {"json_format": body, "content_type": "application/json"},
    }


def _health(path: str) -> Config:
    exact = [{"name": ":path", "string_match": {"exact": path}}]
    all_healthy = {cluster: {"value": 100.0} for cluster in _HEALTH_CLUSTERS}
    return _filter(
        "health",
        "health_check.v3.HealthCheck",
        {"pass_through_mode": False, "headers": exact, "cluster_min_healthy_percentages": all_healthy},
    )


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
    service: Config = {"envoy_grpc": {"cluster_name": "authz"}, "timeout": "2s"}
    if settings.internal_token:
        token = {"key": INTERNAL_TOKEN_KEY, "value": settings.internal_token.get_secret_value()}
        service["initial_metadata"] = [token]
    return _filter(
        "ext_authz",
        "ext_authz.v3.ExtAuthz",
        {
            "transport_api_version": "V3",
            "grpc_service": service,
            "failure_mode_allow": False,
            "status_on_error": {"code": "ServiceUnavailable"},
            "metadata_context_namespaces": [JWT_FILTER],
            "clear_route_cache": False,
        },
    )


def _rate_limit(settings: Settings) -> Config:
    burst, per_second = settings.rate_limit_burst, settings.rate_limit_per_second
    by_caller = {"header_name": PRINCIPAL_KEY, "descriptor_key": "principal"}
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}, "runtime_key": "gateway.rate_limit"}
    return _filter(
        "local_ratelimit",
        "local_ratelimit.v3.LocalRateLimit",
        {
            "stat_prefix": "callers",
            # Each caller has a bucket; the one for all is only the roof that the filter insists on.
            "token_bucket": _bucket(100 * burst, 100 * per_second),
            "descriptors": [{"entries": [{"key": "principal"}], "token_bucket": _bucket(burst, per_second)}],
            "rate_limits": [{"actions": [{"request_headers": by_caller}]}],
            "max_dynamic_descriptors": 10_000,
            "filter_enabled": always,
            "filter_enforced": always,
            "rate_limited_as_resource_exhausted": True,
        },
    )


def _bucket(burst: int, per_second: int) -> Config:
    return {"max_tokens": burst, "tokens_per_fill": per_second, "fill_interval": "1s"}


def _transcoder(settings: Settings, services: list[str]) -> Config:
    return _filter(
        "grpc_json_transcoder",
        "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        {
            "proto_descriptor_bin": base64.b64encode(api_descriptors().SerializeToString()).decode("ascii"),
            "services": services,
            "convert_grpc_status": True,
            "max_request_body_size": settings.max_request_mb * 1024 * 1024,
            # A typo in a query is the caller's mistake, not something to pass over.
            "request_validation_options": {"reject_unknown_query_parameters": True, "reject_unknown_method": True},
            "print_options": {"stream_newline_delimited": True},
        },
    )


def _filter(name: str, kind: str, config: Config) -> Config:
    return {"name": name, "typed_config": {"@type": f"{_TYPE}.{kind}", **config}}
