"""Envoy's own metrics for Prometheus, at a door that shows them and nothing else.

The page is made by Envoy's admin interface, which shows secrets and can end the process; so that listens on a Unix
socket of its owner's, and the door passes on one path of it, for reading.
"""

from __future__ import annotations

from typing import Any

from gateway.settings import Settings
from services.chassis.addresses import split_host_port

Config = dict[str, Any]
_TYPE = "type.googleapis.com/envoy"
_CLUSTER = "stats"
_PAGE = "/stats/prometheus"
# Read and written by the owner alone.
_SOCKET_MODE = 0o600
_MOST_CONNECTIONS = 16
# What panels, alerts and their neighbours read. Envoy counts hundreds of things more, most of them for each cluster.
_KEPT_PREFIXES = (
    "http.public.downstream_cx_active", "http.public.downstream_cx_overload_disable_keepalive",
    "http.public.downstream_cx_rx_bytes_total", "http.public.downstream_cx_total", "http.public.downstream_cx_tx_bytes",
    "http.public.downstream_rq_active", "http.public.downstream_rq_completed", "http.public.downstream_rq_time",
    "http.public.downstream_rq_total", "http.public.downstream_rq_xx", "http.public.downstream_rq_1xx",
    "http.public.downstream_rq_2xx", "http.public.downstream_rq_3xx", "http.public.downstream_rq_4xx",
    "http.public.downstream_rq_5xx", "http.public.ext_authz", "http.public.tracing",
    "overload.", "server.live", "server.state", "server.uptime", "server.concurrency", "server.memory_",
    "server.days_until_first_cert_expiring", "server.total_connections", "tracing.opentelemetry",
)  # fmt: skip
_KEPT_OF_CLUSTERS = (
    "membership_healthy|membership_total|upstream_cx_active|upstream_cx_connect_fail|upstream_cx_overflow|"
    "upstream_rq_active|upstream_rq_pending_active|upstream_rq_pending_overflow|upstream_rq_retry|"
    "upstream_rq_retry_overflow|upstream_rq_retry_success|upstream_rq_timeout|upstream_rq_time|upstream_rq_total|"
    "upstream_rq_[1-5]xx|upstream_rq_xx"
)
_KEPT_LIMITS = r".*http_local_rate_limit\.(enabled|ok|rate_limited|enforced)"


def admin(settings: Settings) -> Config:
    """The admin interface: as the settings name it, else on the socket from which the door reads; else none."""
    if settings.admin_listen:
        return {"admin": {"address": _address(settings.admin_listen)}}
    if settings.envoy_metrics_listen:
        return {"admin": {"address": {"pipe": {"path": _socket(settings), "mode": _SOCKET_MODE}}}}
    return {}


def stats_config(settings: Settings) -> Config:
    """Keeps what the door is to show, where there is one: labels are the names of clusters and nothing of callers."""
    if not settings.envoy_metrics_listen:
        return {}
    patterns: list[Config] = [{"prefix": prefix} for prefix in _KEPT_PREFIXES]
    expressions = [rf"cluster\.[a-z_]+\.({_KEPT_OF_CLUSTERS})", _KEPT_LIMITS]
    patterns += [{"safe_regex": {"regex": each}} for each in expressions]
    return {"stats_config": {"stats_matcher": {"inclusion_list": {"patterns": patterns}}}}


def listeners(settings: Settings) -> list[Config]:
    """The door, where the settings want one."""
    if not settings.envoy_metrics_listen:
        return []
    # Without a query, which would be handed on: the page has switches.
    exactly = {":method": "GET", ":path": "/metrics"}
    headers = [{"name": name, "string_match": {"exact": value}} for name, value in exactly.items()]
    route = {
        "match": {"path": "/metrics", "headers": headers},
        "route": {"cluster": _CLUSTER, "regex_rewrite": {"pattern": {"regex": "^.*$"}, "substitution": _PAGE}},
    }
    manager = {
        "@type": f"{_TYPE}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "stats",
        "route_config": {"virtual_hosts": [{"name": "stats", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "router", "typed_config": {"@type": f"{_TYPE}.extensions.filters.http.router.v3.Router"}}
        ],
    }
    listener: Config = {
        "name": "stats",
        "address": _address(settings.envoy_metrics_listen),
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        # It must answer while the public door is full.
        "ignore_global_conn_limit": True,
    }
    return [listener]


def clusters(settings: Settings) -> list[Config]:
    """Where the door reads."""
    if not settings.envoy_metrics_listen:
        return []
    pipe = {"pipe": {"path": _socket(settings)}}
    address = _address(settings.admin_listen) if settings.admin_listen else pipe
    cluster: Config = {
        "name": _CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": _CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "circuit_breakers": {"thresholds": [{"max_connections": _MOST_CONNECTIONS}]},
    }
    return [cluster]


def _socket(settings: Settings) -> str:
    return str(settings.envoy_admin_socket)


def _address(listen: str) -> Config:
    host, port = split_host_port(listen)
    return {"socket_address": {"address": host, "port_value": port}}
