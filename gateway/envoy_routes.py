"""The routes: which path leads to which service, what its bodies may be, and when a call is tried again."""

from __future__ import annotations

from typing import Any

from gateway.envoy_console import MAX_FILE_BYTES, console_routes
from gateway.envoy_filters import CORS_FILTER, JSON_CHECK, cors_policy, transcoder_for_bytes, unchecked_body
from gateway.envoy_limits import BODY_LIMIT, unlimited_body
from gateway.envoy_reference import reference_routes
from gateway.http_rules import downloads_of, http_rules
from gateway.roles import reading_methods
from gateway.settings import Settings

Config = dict[str, Any]
# The path prefix of each public service, and its cluster. WorkerService and AuditIntakeService are internal.
PUBLIC_SERVICES = {
    "fiveshot.dataset.v1.DatasetService": "dataset",
    "fiveshot.tagger.v1.TaggerService": "tagger",
    "fiveshot.trainer.v1.TrainingService": "trainer",
    "fiveshot.registry.v1.RegistryService": "registry",
    "fiveshot.notifier.v1.NotifierService": "notifier",
    "fiveshot.audit.v1.AuditService": "registry",
}
_NO_SNIFFING = {"header": {"key": "x-content-type-options", "value": "nosniff"}, "append_action": "ADD_IF_ABSENT"}
# A stream may be quiet for long (a queued job's watch); the services' keepalive notices a dead peer.
_STREAM_IDLE_S = 3600
_JSON_VERBS = "POST|PUT|PATCH"


def routes(settings: Settings) -> Config:
    """The route configuration."""
    found = [*console_routes(settings), *reference_routes(settings)]
    for service, cluster in PUBLIC_SERVICES.items():
        reads, downloads = set(reading_methods(service)), list(downloads_of(service))
        for method in dict.fromkeys((*downloads, *reading_methods(service))):
            idle_s = settings.stalled_s if method in downloads else _STREAM_IDLE_S
            match = {"path": f"/{service}/{method}"}
            found.append(_grpc_route(settings, match, cluster, idle_s=idle_s, begun=method in reads))
        found.append(_grpc_route(settings, {"prefix": f"/{service}/"}, cluster, idle_s=_STREAM_IDLE_S))
    # One service describes all of them, so that a client that asks the gateway learns the whole API.
    for version in ("v1", "v1alpha"):
        asked = f"/grpc.reflection.{version}.ServerReflection/"
        found.append(
            {
                "match": {"prefix": asked},
                "route": {"cluster": "authz", "timeout": "0s"},
                "typed_per_filter_config": _no_json(settings),
            }
        )
    found += _json_routes(settings)
    host: Config = {"name": "services", "domains": ["*"], "routes": found}
    if settings.cors_origins:
        host["typed_per_filter_config"] = {CORS_FILTER: cors_policy(settings.cors_origins)}
    return {
        "name": "services",
        "virtual_hosts": [host],
        "max_direct_response_body_size_bytes": MAX_FILE_BYTES,
        # What callers upload comes back as what it was found to be, never as what a browser would guess.
        "response_headers_to_add": [_NO_SNIFFING],
    }


def _grpc_route(settings: Settings, match: Config, cluster: str, *, idle_s: float, begun: bool = False) -> Config:
    """idle_s: for which nothing may move in either direction. begun: whether a call that may have begun is repeated."""
    return {
        "match": match,
        # No limit of the gateway's own: uploads and watches last as long as they last. A caller's deadline reaches the
        # service, which ends the call with its status; Envoy would reset the stream, which looks like INTERNAL.
        "route": {
            "cluster": cluster,
            "timeout": "0s",
            "idle_timeout": f"{idle_s:g}s",
            "retry_policy": _retries(begun=begun),
        },
        # Messages pass one by one; each service has its own limit for them.
        "typed_per_filter_config": _no_json(settings),
    }


def _json_routes(settings: Settings) -> list[Config]:
    """Where JSON calls land first; they are matched again once the transcoder has put a gRPC path in their place."""
    nothing = {"status": 404, "body": {"inline_string": "The gateway offers no such method"}}
    found: list[Config] = []
    for rule in http_rules(PUBLIC_SERVICES):
        if rule.takes_bytes:
            is_verb = {"name": ":method", "string_match": {"exact": rule.verb}}
            per_filter = {
                **_no_json(settings),
                "grpc_json_transcoder": transcoder_for_bytes(settings, list(PUBLIC_SERVICES)),
            }
            match = {"safe_regex": {"regex": rule.pattern.pattern}, "headers": [is_verb]}
            found.append({"match": match, "direct_response": nothing, "typed_per_filter_config": per_filter})
    if settings.check_json:
        has_body = {"name": ":method", "string_match": {"safe_regex": {"regex": _JSON_VERBS}}}
        found.append({"match": {"prefix": "/v1/", "headers": [has_body]}, "direct_response": nothing})
    rest: Config = {"match": {"prefix": "/"}, "direct_response": nothing}
    if settings.check_json:
        rest["typed_per_filter_config"] = {JSON_CHECK: unchecked_body()}
    return [*found, rest]


def _no_json(settings: Settings) -> Config:
    off = {BODY_LIMIT: unlimited_body()}
    return {**off, JSON_CHECK: unchecked_body()} if settings.check_json else off


def _retries(*, begun: bool) -> Config:
    """On another replica where there is one. begun: also when the call may have begun at a replica that died.

    A single service that restarts may be back within these pauses; they end once the health checks find nobody there.
    """
    return {
        "retry_on": "connect-failure,refused-stream,reset" if begun else "connect-failure,refused-stream",
        "num_retries": 7,
        "retry_back_off": {"base_interval": "0.05s", "max_interval": "1s"},
        "retry_host_predicate": [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ],
        "host_selection_retry_max_attempts": "5",
    }
