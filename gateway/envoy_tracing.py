"""Envoy's part in traces: it goes on with a caller's or begins one, and sends its spans to the same collector.

Without a decision of the caller's, chance decides once here and all processes behind follow.
"""

from __future__ import annotations

from typing import Any

from gateway.settings import Settings
from services.chassis.addresses import split_host_port

Config = dict[str, Any]
_TYPE = "type.googleapis.com/envoy"
COLLECTOR = "otlp"
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
# A path may hold names of resources and, where a caller makes a mistake, a key; spans carry none of it past this.
_LONGEST_PATH = 256


def tracing(settings: Settings) -> Config:
    """What the connection manager says of traces; nothing without a collector."""
    if not settings.otlp_endpoint:
        return {}
    service: Config = {"envoy_grpc": {"cluster_name": COLLECTOR}, "timeout": "5s"}
    if settings.otlp_header_pairs:
        service["initial_metadata"] = [{"key": name, "value": value} for name, value in settings.otlp_header_pairs]
    provider = {
        "name": "otlp",
        "typed_config": {
            "@type": f"{_TYPE}.config.trace.v3.OpenTelemetryConfig",
            "grpc_service": service,
            "service_name": "gateway",
            "sampler": _sampler(settings.trace_share),
        },
    }
    return {
        "tracing": {
            "provider": provider,
            "spawn_upstream_span": False,
            "max_path_tag_length": _LONGEST_PATH,
            # Of a JSON call this is the method that it was translated into.
            "operation": "%PATH(NQ:PATH)%",
            # In place of Envoy's own, which has the query: a caller may have put a key there by mistake.
            "custom_tags": [
                {"tag": "http.url", "value": "%PATH(NQ:ORIG_OR_PATH)%"},
                {"tag": "fiveshot.request_id", "value": "%REQ(X-REQUEST-ID)%"},
            ],
        }
    }


def _sampler(share: float) -> Config:
    kind = "extensions.tracers.opentelemetry.samplers.v3"
    ratio = {
        "name": "envoy.tracers.opentelemetry.samplers.trace_id_ratio_based",
        "typed_config": {
            "@type": f"{_TYPE}.{kind}.TraceIdRatioBasedSamplerConfig",
            "sampling_percentage": {"numerator": round(share * 1_000_000), "denominator": "MILLION"},
        },
    }
    return {
        "name": "envoy.tracers.opentelemetry.samplers.parent_based",
        "typed_config": {"@type": f"{_TYPE}.{kind}.ParentBasedSamplerConfig", "wrapped_sampler": ratio},
    }


def request_ids() -> Config:
    """Request ids as they come: Envoy would write its decision about a trace into one that a caller chose, and would
    take one that is no UUID for a word against any trace."""
    return {
        "request_id_extension": {
            "typed_config": {
                "@type": f"{_TYPE}.extensions.request_id.uuid.v3.UuidRequestIdConfig",
                "pack_trace_reason": False,
                "use_request_id_for_trace_sampling": False,
            }
        }
    }


def collector(settings: Settings) -> list[Config]:
    """The cluster of the collector, where there is one."""
    if not settings.otlp_endpoint:
        return []
    host, port = split_host_port(settings.otlp_endpoint)
    address = {"socket_address": {"address": host, "port_value": port}}
    cluster: Config = {
        "name": COLLECTOR,
        "type": "STRICT_DNS",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": COLLECTOR,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {
            f"{_TYPE.removeprefix('type.googleapis.com/')}.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }
    if settings.otlp_secure:
        cluster["transport_socket"] = _upstream_tls(settings, host)
    return [cluster]


def _upstream_tls(settings: Settings, host: str) -> Config:
    authorities = str(settings.otlp_ca_file or SYSTEM_AUTHORITIES)
    names = [{"san_type": "DNS", "matcher": {"exact": host}}, {"san_type": "IP_ADDRESS", "matcher": {"exact": host}}]
    common: Config = {
        "alpn_protocols": ["h2"],
        "validation_context": {
            "trusted_ca": {"filename": authorities},
            "match_typed_subject_alt_names": names,
        },
    }
    if settings.otlp_cert_file and settings.otlp_key_file:
        pair = {
            "certificate_chain": {"filename": str(settings.otlp_cert_file)},
            "private_key": {"filename": str(settings.otlp_key_file)},
        }
        common["tls_certificates"] = [pair]
    return {
        "name": "tls",
        "typed_config": {
            "@type": f"{_TYPE}.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": host,
            "common_tls_context": common,
        },
    }
