"""Asks a server for its health: `python -m services.chassis.health_probe HOST:PORT`, exit code 0 when it serves.

For container runtimes that know no gRPC probe; Kubernetes asks by itself.
"""

from __future__ import annotations

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc


def main(arguments: list[str]) -> int:
    """The exit code: 0 it serves, 1 it does not or cannot be reached, 2 wrong usage."""
    if len(arguments) != 1:
        print("usage: python -m services.chassis.health_probe HOST:PORT", file=sys.stderr)
        return 2
    with grpc.insecure_channel(arguments[0]) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=3)
        except grpc.RpcError as error:
            print(f"{arguments[0]}: {error.code().name}", file=sys.stderr)
            return 1
    return 0 if answer.status == health_pb2.HealthCheckResponse.SERVING else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
