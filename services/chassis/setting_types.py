"""Types of settings: files that are looked at when the settings are read, and lists.

Files are read once while the settings are checked, so that a wrong path or a damaged file ends the start with a line
that names the variable.
"""

from __future__ import annotations

import json
import os
import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator
from pydantic_settings import NoDecode


def _empty_is_no_file(value: object) -> object:
    return value or None


def _authorities(path: Path | None) -> Path | None:
    if path is not None:
        try:
            ssl.create_default_context(cafile=str(path))
        except OSError as error:
            raise ValueError(_unreadable(path, error, "certificates in PEM")) from error
    return path


def _readable(path: Path | None) -> Path | None:
    if path is not None:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError(f"{path}: is a pipe or a device; name a file")
        try:
            path.read_bytes()
        except OSError as error:
            raise ValueError(_unreadable(path, error, "a file")) from error
    return path


def _unreadable(path: Path, error: OSError, wanted: str) -> str:
    why = f"holds no {wanted}" if isinstance(error, ssl.SSLError) else (error.strerror or "cannot be read")
    return f"{path}: {why}"


AuthorityFile = Annotated[Path | None, BeforeValidator(_empty_is_no_file), AfterValidator(_authorities)]
"""PEM certificates of those who may sign a server's."""
GivenFile = Annotated[Path | None, BeforeValidator(_empty_is_no_file), AfterValidator(_readable)]


def _writable(path: Path | None) -> Path | None:
    if path is None:
        return None
    try:
        if path.is_dir():
            raise ValueError(f"{path}: is a folder; name a file")
    except OSError as error:
        raise ValueError(f"{str(path)[:200]}: {error.strerror}") from error
    parent = path.absolute().parent
    if not parent.is_dir():
        raise ValueError(f"{path}: lies in no folder that is there")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ValueError(f"{path}: lies in a folder that may not be written to")
    return path


WrittenFile = Annotated[Path | None, BeforeValidator(_empty_is_no_file), AfterValidator(_writable)]
"""That the process will write."""


def _listed(value: object) -> object:
    """A list as JSON, or its items with commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError('is no JSON list, such as ["a", "b"]; items with commas do as well') from None
    return [item.strip() for item in value.split(",") if item.strip()]


Listed = Annotated[list[str], NoDecode, BeforeValidator(_listed)]
"""Several texts: a JSON list, or with commas."""
NamedFile = Annotated[Path | None, BeforeValidator(_empty_is_no_file)]
"""That another process reads, such as Envoy, or this one later."""


def check_pair(certificate: Path | None, key: Path | None) -> None:
    """Raises ValueError unless both are given and belong together, or neither is."""
    if (certificate is None) != (key is None):
        raise ValueError("a certificate and its key go together: give both files or none")
    if certificate is not None and key is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ValueError) as error:
            raise ValueError(f"{key}: is no key without a password that fits the certificate {certificate}") from error


def _no_password() -> str:
    # Without this the library asks whoever sits at the terminal.
    raise ValueError("the key has a password")
