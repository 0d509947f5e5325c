"""`host:port` in settings: taken apart, and checked."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated

from pydantic import AfterValidator

from services.chassis.setting_checks import check_host

_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\]|[0-9A-Fa-f:.]+")
_PORT = re.compile(r"[0-9]{1,5}")
_WITH_PORT = re.compile(r":[^\]]*$")


def split_host_port(value: str) -> tuple[str, int]:
    """`host:port` apart; `[::1]:80` keeps its brackets off. Raises ValueError."""
    host, separator, port = value.rpartition(":")
    if not separator or not _HOST.fullmatch(host) or not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f"'{value[:200]}' is not host:port, for example 127.0.0.1:8080")
    check_host(host)
    return host.strip("[]"), int(port)


def is_host(value: str, port: int) -> bool:
    """Whether it is a host, with a port or without one. Says nothing of it: what is no host may be a password."""
    try:
        _, found = split_host_port(value if _WITH_PORT.search(value) else f"{value}:{port}")
    except ValueError:
        return False
    return found != 0


def split_targets(value: str) -> list[str]:
    """`host:port`, or several `address:port` with commas, apart. Raises ValueError.

    Several must be addresses of one kind: a name may stand for several by itself, and is looked up again.
    """
    parts = [part.strip() for part in value.split(",")]
    hosts = [split_host_port(part)[0] for part in parts]
    if any(split_host_port(part)[1] == 0 for part in parts):
        raise ValueError(f"'{value[:200]}' names port 0, on which nobody listens")
    if len(parts) > 1 and {_ip_version(host) for host in hosts} not in ({4}, {6}):
        raise ValueError(
            f"'{value}' names several services that are not all IPv4 or all IPv6 addresses; "
            "give their addresses, or one name that stands for all of them"
        )
    return parts


def _ip_version(host: str) -> int:
    try:
        return ip_address(host).version
    except ValueError:
        return 0


def _checked_target(value: str) -> str:
    split_targets(value)
    return value


Target = Annotated[str, AfterValidator(_checked_target)]
"""Where another service is."""
