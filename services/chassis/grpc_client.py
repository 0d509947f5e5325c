"""Channels to other services."""

from __future__ import annotations

import json

import grpc

from services.chassis.client_interceptors import client_interceptors
from services.chassis.settings import BaseServiceSettings

MIB = 1024 * 1024

# A service that restarts is away for about a second; within that time a caller should notice nothing.
_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        # A replica that ends says so under this name, and gets no more calls. Not its readiness: one whose database is
        # away answers with a reason, which tells more than that there is no replica.
        "healthCheckConfig": {"serviceName": "liveness"},
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "2s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)


def channel(target: str, settings: BaseServiceSettings | None = None) -> grpc.aio.Channel:
    """A channel to a service whose calls raise DomainErrors and carry the request id, projects and trace.

    target: `host:port`, or several addresses with commas. Calls go round all addresses, those of a name included.
    Failures with UNAVAILABLE are repeated with growing pauses (100 ms to 2 s, five attempts). The channel connects by
    itself and reconnects after a loss; close it with `await channel.close()`.
    """
    max_receive = (settings.max_receive_mb if settings else 8) * MIB
    options = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", max_receive),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    return grpc.aio.insecure_channel(_uri(target), options=options, interceptors=client_interceptors(settings))


def _uri(target: str) -> str:
    """As gRPC writes it: several addresses are a list of their own scheme."""
    if "," not in target:
        return target
    return f"{'ipv6' if '[' in target else 'ipv4'}:{target}"
