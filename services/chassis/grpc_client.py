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
        ]
    }
)


def channel(target: str, settings: BaseServiceSettings | None = None) -> grpc.aio.Channel:
    """A channel to `host:port` whose calls raise DomainErrors and carry the request id, projects and trace.

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
    return grpc.aio.insecure_channel(target, options=options, interceptors=client_interceptors(settings))
