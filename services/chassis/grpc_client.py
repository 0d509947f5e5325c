"""Channels to other services."""

from __future__ import annotations

import json

import grpc

from services.chassis.addresses import split_targets
from services.chassis.client_interceptors import client_interceptors
from services.chassis.settings import BaseServiceSettings

MIB = 1024 * 1024
_KEEPALIVE_S = 30.0
# After a connection was lost or has grown old its name is looked up again, but not more often.
_LOOK_UP_AGAIN_MS = 5_000

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
    """A channel to `host:port` whose calls raise DomainErrors and carry the request id, projects, trace and deadline.

    A name that stands for several addresses, or several addresses with commas, are replicas: calls take turns over
    them. Failures with UNAVAILABLE are repeated with growing pauses (100 ms to 2 s, five attempts). The channel
    connects by itself and reconnects after a loss; a peer that no longer answers counts as lost, also while a call only
    waits. Close it with `await channel.close()`.
    """
    max_receive = (settings.max_receive_mb if settings else 8) * MIB
    keepalive_ms = round((settings.keepalive_s if settings else _KEEPALIVE_S) * 1000)
    options = [
        ("grpc.service_config", _SERVICE_CONFIG),
        ("grpc.enable_retries", 1),
        ("grpc.max_receive_message_length", max_receive),
        ("grpc.keepalive_time_ms", keepalive_ms),
        # A connection is given up when both have passed; without the second that is a minute.
        ("grpc.keepalive_timeout_ms", max(1, keepalive_ms // 3)),
        ("grpc.http2.ping_timeout_ms", max(1, keepalive_ms // 3)),
        # A long poll sends nothing for a minute; by default pings end after two.
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.dns_min_time_between_resolutions_ms", _LOOK_UP_AGAIN_MS),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    return grpc.aio.insecure_channel(_resolvable(target), options=options, interceptors=client_interceptors(settings))


def _resolvable(target: str) -> str:
    """A target as gRPC takes it. `split_targets` has checked it."""
    addresses = split_targets(target)
    if len(addresses) == 1:
        return target
    scheme = "ipv6" if addresses[0].startswith("[") else "ipv4"
    return f"{scheme}:{','.join(addresses)}"
