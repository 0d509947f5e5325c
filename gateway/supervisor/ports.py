"""Where a stack listens when nobody says otherwise, and whether it can."""

from __future__ import annotations

import socket

from gateway.supervisor.servers import HOST

DEFAULT_LISTEN = f"{HOST}:7437"


def port_is_free(port: int, host: str = HOST) -> bool:
    """Whether this machine could listen on a port, by default of its loopback."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
