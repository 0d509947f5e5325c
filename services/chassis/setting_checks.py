"""What settings are held to beyond their type. Each check raises ValueError: what is wrong, and what is right."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel

_NUMBERS = re.compile(r"[0-9.]+")
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_POSTGRES_OPTIONS = frozenset(
    re.findall(
        r"\w+",
        """
    host hostaddr port dbname user password passfile require_auth channel_binding connect_timeout
    client_encoding options application_name fallback_application_name keepalives keepalives_idle
    keepalives_interval keepalives_count tcp_user_timeout replication gssencmode sslmode requiressl
    sslcompression sslcert sslkey sslpassword sslcertmode sslrootcert sslcrl sslcrldir sslsni requirepeer
    ssl_min_protocol_version ssl_max_protocol_version krbsrvname gsslib gssdelegation service servicefile
    target_session_attrs load_balance_hosts sslnegotiation min_protocol_version max_protocol_version
    sslkeylogfile scram_client_key scram_server_key
    """,
    )
)
"""All that libpq 18 knows. Its library would say so too, but rooms that read settings know no SQL."""
_SQLITE = b"SQLite format 3\x00"
_UNLIKE_A_NAME = re.compile(r"\.\.|\.-|-\.")
_LARGEST = {"days": 36_500, "hours": 876_000, "seconds": 3_153_600_000, "s": 3_153_600_000}
"""A hundred years: with more no date can be computed."""
_LARGEST_NUMBER = 2**63 - 1


def check_size(field: str, value: float) -> None:
    """Raises ValueError for a number that the suite cannot compute with. field: whose name ends with its unit."""
    largest = _LARGEST.get(field.rpartition("_")[2], _LARGEST_NUMBER)
    if not value <= largest:
        raise ValueError(f"is too large; give at most {largest:,}".replace(",", " "))


def check_effect(settings: BaseModel, names: Sequence[str], *, needs: str) -> None:
    """That none of the fields `names` was given: what they say is heard by nobody. needs: what would hear it, as the
    operator would write it, `s3_secure=true`."""
    fields = type(settings).model_fields
    idle = [name for name in names if getattr(settings, name) != fields[name].get_default(call_default_factory=True)]
    if idle:
        has, them = ("have", "them") if len(idle) > 1 else ("has", "it")
        raise ValueError(f"{' and '.join(idle)} {has} no effect without {needs}; set that too, or leave {them} out")


def check_host(host: str) -> None:
    """A host of numbers and dots, or in brackets, must be an address: nothing else would ever look it up."""
    try:
        if host.startswith("["):
            IPv6Address(host.strip("[]"))
        elif _NUMBERS.fullmatch(host):
            IPv4Address(host)
    except ValueError:
        raise ValueError(f"'{host[:200]}' is no address, such as 127.0.0.1 or [::1]") from None


def check_bucket(name: str) -> None:
    """name: of letters, digits, dots and hyphens already."""
    if _UNLIKE_A_NAME.search(name) or _is_address(name):
        raise ValueError("no bucket can have this name: dots stand alone between letters or digits, and no IP address")


def check_printable(value: str, *, ascii_only: bool = False) -> None:
    """Says nothing of the value, which may be a secret."""
    if not value.isprintable() or (ascii_only and not value.isascii()):
        allowed = "printable ASCII characters" if ascii_only else "printable characters"
        raise ValueError(f"holds a character that it cannot; use {allowed} on one line")


def check_token(value: str) -> None:
    """A token travels in a header."""
    check_printable(value, ascii_only=True)
    if " " in value:
        raise ValueError("holds a blank; a token is one word")


def check_url(value: str) -> None:
    """http or https with a host, without blanks."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"\s", value):
        raise ValueError(f"'{value[:200]}' is no address; use https://HOST or http://HOST")


def check_origin(value: str) -> None:
    """What a browser sends as Origin: no path, no star."""
    check_url(value)
    if urlsplit(value).path or "?" in value or "#" in value or "@" in value or "*" in value:
        raise ValueError(f"'{value[:200]}' is no origin; use https://HOST or https://HOST:PORT, without a path")


def check_folder(path: Path, *, written: bool = False) -> None:
    """That nothing else lies there. written: the process makes it, or writes into it."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path}: is a file; name a folder")
    if written:
        _check_can_be_made(path)


def check_sqlite_file(path: Path) -> None:
    """A database that is there, or a place where one can be made."""
    if path.is_dir():
        raise ValueError(f"{path}: is a folder; name a file")
    if path.exists():
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) not in (b"", _SQLITE):
                raise ValueError(f"{path}: is no SQLite database")
    _check_can_be_made(path.parent)


def check_postgres_options(query: str) -> None:
    """query: what follows the ? of the address."""
    given = dict(parse_qsl(query, keep_blank_values=True))
    if given.get("sslmode", "prefer") not in _SSL_MODES:
        raise ValueError(f"sslmode of the address is none of {', '.join(_SSL_MODES)}")
    unknown = sorted(given.keys() - _POSTGRES_OPTIONS)
    if unknown:
        raise ValueError(f"the address has the option '{unknown[0][:50]}', which PostgreSQL's library does not know")


def check_callers_file(path: Path) -> None:
    """That it names processes with tokens and methods; see `callers.py`."""
    try:
        callers: Any = json.loads(path.read_text(encoding="utf-8"))["callers"]
        whole = all(entry["tokens"] is not None and entry["methods"] is not None for entry in callers.values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise ValueError(f"{path}: is no callers file; `python -m gateway.inside FOLDER` makes one")


def _check_can_be_made(folder: Path) -> None:
    """Looks at the nearest folder above that is there, and makes nothing."""
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise ValueError(f"{there}: is a file, so {folder} can be no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(f"{there}: may not be written to; give another folder, or the right to write")


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
