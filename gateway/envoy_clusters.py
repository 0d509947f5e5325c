"""The clusters: where Envoy finds authorization, services and token issuer, and how much it lets wait there."""

from __future__ import annotations

from typing import Any

from gateway.settings import SERVICES, Settings
from services.chassis.addresses import split_host_port

Config = dict[str, Any]
_TYPE = "type.googleapis.com/envoy"
STREAM_WINDOW = 256 * 1024
# What nobody reads on stays in the window of its stream and counts in that of the connection, which all callers share:
# were it smaller than all of its streams' together, a few slow readers would hold up everybody's answers.
_STREAMS_A_CONNECTION = 1_000
_CONNECTION_WINDOW = _STREAMS_A_CONNECTION * STREAM_WINDOW
# Calls at work in one service, watches and uploads among them. Far above what one answers at a time, so that a burst
# waits instead of failing; what overflows gets RESOURCE_EXHAUSTED.
_MAX_REQUESTS = 20_000
# Calls that wait for a connection: a service that restarts finds them waiting.
_MAX_PENDING = 10_000
# Calls that are being tried again at one time, of the whole cluster. Envoy's default is 3.
_MAX_RETRIES = 1_000
_MAX_CONNECTIONS = 1_024
# A connection whose other end says nothing any more is given up, and the calls on it end; nobody would notice otherwise
# that a process hangs or a machine is gone. The services take a ping every two seconds.
_PING_S, _PING_ANSWER_S = 5, 5
# In percent: of a hundred replicas one that is ready takes all calls. By Envoy's default, 140, every third call would
# go to those that merely answer once one of two is ready, and so to the other, which ends.
_ONE_WILL_DO = 10_000
_READINESS: Config = {"unhealthy_threshold": 2, "grpc_health_check": {}}
# The same question, and any answer will do: gRPC gives all of them the status 200 of HTTP. Three misses, because a
# single service that is started again is away for some seconds, and calls for it are tried again meanwhile.
_ANY_ANSWER: Config = {
    "unhealthy_threshold": 3,
    "http_health_check": {
        "codec_client_type": "HTTP2",
        "method": "POST",
        "path": "/grpc.health.v1.Health/Check",
        "request_headers_to_add": [
            {"header": {"key": "content-type", "value": "application/grpc"}},
            {"header": {"key": "te", "value": "trailers"}},
        ],
        # A message of no bytes with the five of gRPC before it.
        "send": {"text": "0000000000"},
    },
}


def clusters(settings: Settings) -> list[Config]:
    """All clusters."""
    targets = {"authz": settings.authz_target} | {name: getattr(settings, f"{name}_target") for name in SERVICES}
    found = [cluster for name, target in targets.items() for cluster in _service(name, target)]
    if settings.jwks_uri:
        found.append(_jwks_cluster(settings.jwks_uri))
    return found


def _service(name: str, target: str) -> list[Config]:
    """A gRPC service by name or address. A name with several addresses is balanced call by call.

    Calls go to the replicas that are ready. Where there is none they go to those that answer at all: one that starts or
    ends, or whose database is away, has an answer of its own, which tells more than that nobody is there. Where nobody
    answers either they are refused at once: a process that hangs takes connections, and would let its callers wait.
    """
    ready, answering = f"{name}_ready", f"{name}_answering"
    both = {
        "name": name,
        "connect_timeout": "2s",
        "lb_policy": "CLUSTER_PROVIDED",
        "cluster_type": {
            "name": "envoy.clusters.aggregate",
            "typed_config": {
                "@type": f"{_TYPE}.extensions.clusters.aggregate.v3.ClusterConfig",
                "clusters": [ready, answering],
            },
        },
        "circuit_breakers": {"thresholds": [_budget()]},
    }
    return [
        both,
        # Under the service's own name: what is counted of it there is a call's and not a replica's.
        {**_replicas(ready, target, _READINESS), "alt_stat_name": name},
        {**_replicas(answering, target, _ANY_ANSWER), "close_connections_on_host_health_failure": True},
    ]


def _replicas(name: str, target: str, check: Config) -> Config:
    """check: which replicas of the target count."""
    http2 = {
        "max_concurrent_streams": _STREAMS_A_CONNECTION,
        "initial_stream_window_size": STREAM_WINDOW,
        "initial_connection_window_size": _CONNECTION_WINDOW,
        "connection_keepalive": {"interval": f"{_PING_S}s", "timeout": f"{_PING_ANSWER_S}s"},
    }
    return {
        "name": name,
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": _endpoints(name, target),
        "circuit_breakers": {"thresholds": [_budget()]},
        "typed_extension_protocol_options": {
            f"{_TYPE.removeprefix('type.googleapis.com/')}.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
        "health_checks": [
            {
                "timeout": "2s",
                # A service that starts is let in at once; one that says that it ends gets no call after this second.
                "interval": "1s",
                "unhealthy_interval": "0.25s",
                "no_traffic_interval": "0.25s",
                "no_traffic_healthy_interval": "1s",
                "healthy_threshold": 1,
                **check,
            }
        ],
        # Envoy's default is to try all of them where too few count.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
    }


def _budget() -> Config:
    return {
        "max_connections": _MAX_CONNECTIONS,
        "max_pending_requests": _MAX_PENDING,
        "max_requests": _MAX_REQUESTS,
        "max_retries": _MAX_RETRIES,
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


def _endpoints(name: str, targets: str) -> Config:
    """targets: host:port, or several with commas."""
    endpoints = []
    for target in targets.split(","):
        host, port = split_host_port(target)
        address = {"socket_address": {"address": host, "port_value": port}}
        endpoints.append({"endpoint": {"address": address}})
    return {
        "cluster_name": name,
        "endpoints": [{"lb_endpoints": endpoints}],
        "policy": {"overprovisioning_factor": _ONE_WILL_DO},
    }
