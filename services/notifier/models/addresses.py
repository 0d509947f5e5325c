"""Which addresses events may be sent to. Pure: who asks for the addresses of a name is an adapter.

A webhook makes a server inside the operator's network send requests to wherever a caller says. So a name is asked for
once, every address that it has must be a public one, and the connection goes to the address that was checked.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from services.chassis.errors import InvalidArgument

FIELD = "webhook.url"
MAX_URL = 2000
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# Translates to IPv4 (RFC 6052), so what lies behind counts.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# For translators inside a network (RFC 8215). Where in an address the other one lies is each operator's choice.
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads. host: in ASCII, an IPv6 address without brackets. path: with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """For the Host header: the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def parse_url(url: str) -> Target:
    """Where a webhook's URL leads. Raises InvalidArgument(WEBHOOK_URL_INVALID)."""
    if len(url) > MAX_URL or not url.isprintable() or any(letter.isspace() or letter in '\\<>"' for letter in url):
        raise _invalid("The URL holds characters that it may not, or is too long", "Write it in full, in ASCII.")
    try:
        parts = urlsplit(url)
        scheme, port = parts.scheme.lower(), parts.port
        host = _ascii(parts.hostname or "")
    except ValueError as error:
        raise _invalid("The URL cannot be read", "Use https://HOST/PATH.") from error
    if scheme not in _PORTS or not host or port == 0:
        raise _invalid("The URL is not one of http or https with a host", "Use https://HOST/PATH.")
    if parts.username is not None or parts.password is not None:
        raise _invalid(
            "The URL carries a user or a password",
            "Leave them out: the signature of a request says who sends it.",
        )
    if parts.fragment:
        raise _invalid("The URL has a fragment, which is never sent", "Leave out the '#' and what follows.")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not path.isascii():
        raise _invalid("The path of the URL is not ASCII", "Escape other letters with '%'.")
    return Target(scheme, host, port or _PORTS[scheme], path)


def parse_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """Networks as an operator writes them, `10.0.0.0/8` or `::1`. Raises ValueError."""
    return tuple(ipaddress.ip_network(text) for text in texts)


def literal(host: str) -> Address | None:
    """The address that a host is by itself; None for a name, such as `127.1` and `2130706433`, which a resolver reads
    as addresses too."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def check_addresses(target: Target, addresses: Sequence[Address], allowed: Sequence[Network]) -> Address:
    """The address to connect to: the first, if all may be used. allowed: networks that the operator opened.

    Raises InvalidArgument(WEBHOOK_ADDRESS_REFUSED), also for plain HTTP to where no operator has opened a network.
    """
    for address in addresses:
        opened = any(_within(address, network) for network in allowed)
        if not opened and not _is_public(address):
            raise InvalidArgument(
                f"'{target.host}' leads to an address that is not public",
                field=FIELD,
                reason="WEBHOOK_ADDRESS_REFUSED",
                remedy="Use a public address, or ask the operator to open the network (NOTIFIER_ALLOWED_NETWORKS).",
            )
        if not opened and target.scheme == "http":
            raise InvalidArgument(
                "The URL is not https",
                field=FIELD,
                reason="WEBHOOK_ADDRESS_REFUSED",
                remedy="Use https; http is for networks that the operator has opened (NOTIFIER_ALLOWED_NETWORKS).",
            )
    return addresses[0]


def _within(address: Address, network: Network) -> bool:
    carried = _carried(address)
    return address in network or (carried is not None and carried in network)


def _is_public(address: Address) -> bool:
    carried = _carried(address)
    if carried is not None:
        return _is_public(carried)
    if isinstance(address, ipaddress.IPv6Address) and (
        address.scope_id or address.is_site_local or address in _LOCAL_NAT64
    ):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved and not address.is_unspecified


def _carried(address: Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address inside an IPv6 one: mapped, 6to4, Teredo's client, NAT64, or the old compatible form."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    low = int(address) & 0xFFFF_FFFF
    if address in _NAT64 or (int(address) >> 32 == 0 and low > 1):
        return ipaddress.IPv4Address(low)
    return None


def _ascii(host: str) -> str:
    """The host as the name system knows it. Raises ValueError (UnicodeError is one)."""
    if literal(host) is not None or not host:
        return host
    return host.encode("idna").decode("ascii").lower()


def _invalid(message: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(message, field=FIELD, reason="WEBHOOK_URL_INVALID", remedy=remedy)
