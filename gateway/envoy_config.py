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

from gateway.envoy_filters import CORS_FILTER, cors_policy, http_filters, local_replies
from gateway.settings import Settings
from services.chassis.request_context import INTERNAL_TOKEN_KEY, PRINCIPAL_KEY, PROJECTS_KEY
from services.chassis.settings import load, split_host_port

Config = dict[str, Any]
_TYPE = "type.googleapis.com/envoy"
# The path prefix of each public service, and its cluster. WorkerService is internal and stays out.
PUBLIC_SERVICES = {
    "fiveshot.dataset.v1.DatasetService": "dataset",
    "fiveshot.tagger.v1.TaggerService": "tagger",
    "fiveshot.trainer.v1.TrainingService": "trainer",
    "fiveshot.registry.v1.RegistryService": "registry",
}
# Headers by which the gateway speaks to the services; from outside they are a forgery.
RESERVED_HEADERS = (PROJECTS_KEY, PRINCIPAL_KEY, INTERNAL_TOKEN_KEY)
HEALTH_PATH = "/healthz"
# A stream may be quiet for long (a queued job's watch); the services' keepalive notices a dead peer.
_STREAM_IDLE_S = 3600
# A connection without a call; also how long an HTTP/1.1 client waits for the rest of a download that failed midway.
_CONNECTION_IDLE_S = 120
_MAX_CONNECTIONS = 50_000
_HTTP2_WINDOW = 1024 * 1024


def render(settings: Settings) -> Config:
    """The whole bootstrap configuration as a dict that goes to JSON."""
    return {
        "admin": {"address": _address(settings.admin_listen)},
        "static_resources": {"listeners": [_listener(settings)], "clusters": _clusters(settings)},
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
        "address": _address(settings.public_listen),
        "per_connection_buffer_limit_bytes": settings.max_request_mb * 1024 * 1024,
        "filter_chains": [chain],
    }


def _connection_manager(settings: Settings) -> Config:
    return {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "public",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "stream_idle_timeout": f"{_STREAM_IDLE_S}s",
        "request_headers_timeout": "10s",
        "common_http_protocol_options": {
            "headers_with_underscores_action": "REJECT_REQUEST",
            "idle_timeout": f"{_CONNECTION_IDLE_S}s",
        },
        "http2_protocol_options": {
            "max_concurrent_streams": 1000,
            "initial_stream_window_size": _HTTP2_WINDOW,
            "initial_connection_window_size": 4 * _HTTP2_WINDOW,
        },
        "early_header_mutation_extensions": [_strip_reserved_headers()],
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "access_log": [_access_log(settings)],
        "local_reply_config": local_replies(),
        "http_filters": http_filters(settings, list(PUBLIC_SERVICES), HEALTH_PATH),
        "route_config": _routes(settings),
    }


def _strip_reserved_headers() -> Config:
    return {
        "name": "strip_reserved_headers",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [{"remove": name} for name in RESERVED_HEADERS],
        },
    }


def _routes(settings: Settings) -> Config:
    routes = []
    for service, cluster in PUBLIC_SERVICES.items():
        route: Config = {
            "match": {"prefix": f"/{service}/"},
            # No limit of the gateway's own: uploads and watches last as long as they last; callers set deadlines.
            "route": {
                "cluster": cluster,
                "timeout": "0s",
                "max_stream_duration": {"grpc_timeout_header_max": "0s"},
                "retry_policy": _retries(),
            },
        }
        routes.append(route)
    # One service describes all of them, so that a client that asks the gateway learns the whole API.
    for version in ("v1", "v1alpha"):
        asked = f"/grpc.reflection.{version}.ServerReflection/"
        to = {"cluster": "authz", "timeout": "0s", "prefix_rewrite": "/grpc.reflection.v1alpha.ServerReflection/"}
        routes.append({"match": {"prefix": asked}, "route": to})
    # JSON calls land here first, and are matched again once the transcoder has put the gRPC path in place of theirs.
    nothing = {"status": 404, "body": {"inline_string": "The gateway offers no such method"}}
    routes.append({"match": {"prefix": "/"}, "direct_response": nothing})
    host: Config = {"name": "services", "domains": ["*"], "routes": routes}
    if settings.cors_origins:
        host["typed_per_filter_config"] = {CORS_FILTER: cors_policy(settings.cors_origins)}
    return {"name": "services", "virtual_hosts": [host]}


def _retries() -> Config:
    """Only where the call cannot have begun: a service that restarts is back within these pauses."""
    return {
        "retry_on": "connect-failure,refused-stream",
        "num_retries": 5,
        "retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"},
    }


def _access_log(settings: Settings) -> Config:
    fields = {
        "time": "%START_TIME%",
        "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "status": "%RESPONSE_CODE%",
        "grpc_status": "%GRPC_STATUS%",
        "details": "%RESPONSE_CODE_DETAILS%",
        "flags": "%RESPONSE_FLAGS%",
        "duration_ms": "%DURATION%",
        "bytes_received": "%BYTES_RECEIVED%",
        "bytes_sent": "%BYTES_SENT%",
        "request_id": "%REQ(X-REQUEST-ID)%",
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


def _clusters(settings: Settings) -> list[Config]:
    clusters = [
        _cluster("authz", settings.authz_target),
        _cluster("dataset", settings.dataset_target),
        _cluster("tagger", settings.tagger_target),
        _cluster("trainer", settings.trainer_target),
        _cluster("registry", settings.registry_target),
    ]
    if settings.jwks_uri:
        clusters.append(_jwks_cluster(settings.jwks_uri))
    return clusters


def _cluster(name: str, target: str) -> Config:
    """A gRPC service by name or address. A name with several addresses is balanced call by call."""
    http2 = {"initial_stream_window_size": _HTTP2_WINDOW, "initial_connection_window_size": 4 * _HTTP2_WINDOW}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": _endpoints(name, target),
        "typed_extension_protocol_options": {
            f"{_TYPE.removeprefix('type.googleapis.com/')}.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
        "health_checks": [
            {
                "timeout": "2s",
                # A service that starts is let in at once; once it is well it is asked seldom.
                "interval": "5s",
                "unhealthy_interval": "0.25s",
                "no_traffic_interval": "0.25s",
                "no_traffic_healthy_interval": "5s",
                "unhealthy_threshold": 2,
                "healthy_threshold": 1,
                "grpc_health_check": {},
            }
        ],
        # With no healthy endpoint the call is tried all the same: the caller gets the service's own answer.
        "common_lb_config": {"healthy_panic_threshold": {"value": 50}},
    }


def _jwks_cluster(uri: str) -> Config:
    scheme, _, rest = uri.partition("://")
    authority = rest.split("/", 1)[0]
    host, _, port = authority.partition(":")
    cluster: Config = {
        "name": "jwks",
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": _endpoints("jwks", f"{host}:{port or ('443' if scheme == 'https' else '80')}"),
    }
    if scheme == "https":
        cluster["transport_socket"] = {
            "name": "tls",
            "typed_config": {
                "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": host,
                "common_tls_context": {
                    "validation_context": {"trusted_ca": {"filename": "/etc/ssl/certs/ca-certificates.crt"}}
                },
            },
        }
    return cluster


def _endpoints(name: str, target: str) -> Config:
    endpoint = {"endpoint": {"address": _address(target)}}
    return {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]}


def _address(listen: str) -> Config:
    host, port = split_host_port(listen)
    return {"socket_address": {"address": host, "port_value": port}}


def main() -> None:
    """Prints the configuration that the environment asks for."""
    json.dump(render(load(Settings)), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
