"""Renders Envoy's configuration: one public listener for gRPC, gRPC-Web and JSON, and a cluster per service.

    python -m gateway.envoy_config > envoy.json        settings from the environment (GATEWAY_…)

The file is complete: the API's descriptors lie inside it. It may hold the internal token, so keep it as a secret.
Reference: https://www.envoyproxy.io/docs/envoy/v1.39.3/
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gateway import envoy_stats, envoy_tracing
from gateway.envoy_clusters import STREAM_WINDOW, clusters
from gateway.envoy_filters import http_filters
from gateway.envoy_replies import SPOKEN_KEY, local_replies
from gateway.envoy_routes import PUBLIC_SERVICES, routes
from gateway.settings import Settings
from services.chassis.addresses import split_host_port
from services.chassis.request_context import ADDRESS_KEY, INTERNAL_TOKEN_KEY, PRINCIPAL_KEY, PROJECTS_KEY, ROLE_KEY
from services.chassis.setting_loading import load

Config = dict[str, Any]
_TYPE = "type.googleapis.com/envoy"
# Headers by which the gateway speaks to the services; from outside they are a forgery.
RESERVED_HEADERS = (PROJECTS_KEY, PRINCIPAL_KEY, ROLE_KEY, ADDRESS_KEY, INTERNAL_TOKEN_KEY)
_TRACE_HEADERS = ("traceparent", "tracestate")
# A connection without a call; also how long an HTTP/1.1 client waits for the rest of a download that failed midway.
_CONNECTION_IDLE_S = 120
_DRAIN_S = 2
# Memory for the buffers of connections is what these budgets guard; docs/gateway.md says how they belong together.
_MAX_CONNECTIONS = 50_000
_STREAMS_A_CONNECTION = 1000
_CONNECTION_BUFFER = 256 * 1024
_CONNECTION_WINDOW = 4 * 1024 * 1024
# Above the limit of the edge, which answers with a reason; beyond this Envoy can only reset an HTTP/2 stream.
_MAX_HEADERS_KB = 192


def render(settings: Settings) -> Config:
    """The whole bootstrap configuration as a dict that goes to JSON."""
    return {
        **envoy_stats.admin(settings),
        **envoy_stats.stats_config(settings),
        "static_resources": {
            "listeners": [_listener(settings), *envoy_stats.listeners(settings)],
            "clusters": [*clusters(settings), *envoy_tracing.collector(settings), *envoy_stats.clusters(settings)],
        },
        "overload_manager": {"resource_monitors": [_connection_limit()]},
    }


def _connection_limit() -> Config:
    kind = "downstream_connections"
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.resource_monitors.{kind}.v3.DownstreamConnectionsConfig",
            "max_active_downstream_connections": _MAX_CONNECTIONS,
        },
    }


def write(settings: Settings, path: Path) -> None:
    """Writes the configuration for its owner only."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(render(settings), indent=1), encoding="utf-8")


def _listener(settings: Settings) -> Config:
    chain: Config = {"filters": [{"name": "http", "typed_config": _connection_manager(settings)}]}
    if settings.uses_tls:
        chain["transport_socket"] = _downstream_tls(settings)
    return {
        "name": "public",
        # A health that fails tells balancers alone: a caller sent away by an open door comes back by it.
        "drain_type": "MODIFY_ONLY",
        "address": _address(settings.public_listen),
        "per_connection_buffer_limit_bytes": _CONNECTION_BUFFER,
        "filter_chains": [chain],
    }


def _connection_manager(settings: Settings) -> Config:
    return {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public",
        "codec_type": "AUTO",
        "use_remote_address": True,
        # Which entry of X-Forwarded-For is the caller's: those to its left are what the caller claims.
        "xff_num_trusted_hops": settings.trusted_proxies,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        # Until a call has its method: a JSON body that does not come ends here. Routes have their own.
        "stream_idle_timeout": f"{settings.stalled_s:g}s",
        # Between the word that a connection ends and its end, for calls that are on their way.
        "drain_timeout": f"{_DRAIN_S}s",
        "request_headers_timeout": "10s",
        "max_request_headers_kb": _MAX_HEADERS_KB,
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "idle_timeout": f"{_CONNECTION_IDLE_S}s",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": _STREAMS_A_CONNECTION,
            "initial_stream_window_size": STREAM_WINDOW,
            # A caller that waits for itself is its own affair; this is what one connection may make the gateway hold.
            "initial_connection_window_size": _CONNECTION_WINDOW,
        },
        "early_header_mutation_extensions": [_strip_reserved_headers(settings)],
        **envoy_tracing.tracing(settings),
        **envoy_tracing.request_ids(),
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "access_log": [_access_log(settings)],
        "local_reply_config": local_replies(),
        "http_filters": http_filters(settings, list(PUBLIC_SERVICES)),
        "route_config": routes(settings),
    }


def _strip_reserved_headers(settings: Settings) -> Config:
    names = RESERVED_HEADERS if settings.trace_callers else (*RESERVED_HEADERS, *_TRACE_HEADERS)
    spoken = {"header": {"key": SPOKEN_KEY, "value": "%REQ(CONTENT-TYPE)%"}}
    return {
        "name": "strip_reserved_headers",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [*({"remove": name} for name in (*names, SPOKEN_KEY)), {"append": spoken}],
        },
    }


def _access_log(settings: Settings) -> Config:
    fields = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%PATH(NQ:ORIG_OR_PATH)%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "duration_ms": "%DURATION%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "request_id": "%REQ(X-REQUEST-ID)%",
        "trace_id": "%TRACE_ID%",
        "principal": f"%REQ({PRINCIPAL_KEY.upper()})%",
        "upstream": "%UPSTREAM_CLUSTER%",
        "peer": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "user_agent": "%REQ(USER-AGENT)%",
    }
    return {
        "name": "json",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.access_loggers.file.v3.FileAccessLog",
            "path": settings.access_log_file,
            "log_format": {"json_format": fields},
        },
    }


def _downstream_tls(settings: Settings) -> Config:
    certificate = {
        "certificate_chain": {"filename": str(settings.tls_cert_file)},
        "private_key": {"filename": str(settings.tls_key_file)},
    }
    return {
        "name": "tls",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {
                "alpn_protocols": ["h2", "http/1.1"],
                "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                "tls_certificates": [certificate],
            },
        },
    }


def _address(listen: str) -> Config:
    host, port = split_host_port(listen)
    return {"socket_address": {"address": host, "port_value": port}}


def main() -> None:
    """Prints the configuration that the environment asks for."""
    json.dump(render(load(Settings)), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
