"""Where a process listens: whether it can, and what to say where it cannot."""

from __future__ import annotations

import errno
import socket

import grpc

from services.chassis.addresses import split_host_port
from services.chassis.setting_loading import WrongSetting, variable
from services.chassis.settings import BaseServiceSettings

_LISTENING = ("listen", "metrics_listen")
_TAKEN = {errno.EADDRINUSE: "is taken", errno.EACCES: "is one that this user may not take"}


def check_addresses(settings: BaseServiceSettings) -> None:
    """That the addresses to listen on are of this machine. Raises WrongSetting."""
    for field in _LISTENING:
        if getattr(settings, field):
            host, _ = split_host_port(getattr(settings, field))
            error = why_nobody_can_listen(host, 0)
            if error is not None:
                raise _elsewhere(settings, field)


def bind(server: grpc.aio.Server, settings: BaseServiceSettings) -> int:
    """The port of the server. Raises OSError when it is taken, WrongSetting when its address is of another machine."""
    host, port = split_host_port(settings.listen)
    # The library would print a line of its own for it.
    error = why_nobody_can_listen(host, port)
    if error is not None:
        raise cannot_listen(settings, "listen", error)
    try:
        return int(server.add_insecure_port(f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
    except RuntimeError as failure:
        # Somebody was faster.
        raise cannot_listen(settings, "listen", OSError(errno.EADDRINUSE, str(failure))) from failure


def cannot_listen(settings: BaseServiceSettings, field: str, error: OSError) -> Exception:
    """The error to raise. A port that is taken may be free in a moment; the setting is right then."""
    if error.errno in _TAKEN:
        address = getattr(settings, field)
        return OSError(
            f"Nothing can listen on {address} of {variable(settings, field)}: the port {_TAKEN[error.errno]}"
        )
    return _elsewhere(settings, field)


def why_nobody_can_listen(host: str, port: int) -> OSError | None:
    """What the machine says to who wants to listen there; None when it lets them. port: 0 asks about the host alone."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return error
    said: OSError | None = None
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                return None
        except OSError as error:
            said = error
    return said


def _elsewhere(settings: BaseServiceSettings, field: str) -> WrongSetting:
    address = getattr(settings, field)
    return WrongSetting(field, f"{address} is no address of this machine; 0.0.0.0 stands for all that it has")
