"""Which addresses may be trusted with codes and secrets."""

from __future__ import annotations

from urllib.parse import urlsplit

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def check_address(address: str) -> None:
    """Raises ValueError unless it is https, or http on this machine, and has no query and no fragment."""
    parts = urlsplit(address)
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise ValueError(f"'{address}' is no address like https://id.example.com")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise ValueError(f"'{address}' is not https: a code that travels in the open signs anybody in")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError(f"'{address}' must have no query, no fragment and no user")
