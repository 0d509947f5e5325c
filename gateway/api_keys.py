"""The file of API keys: who holds a key, and which projects it opens. Only digests of keys are kept.

    keys:
      - id: backend-1
        sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
        projects: [acme, acme-staging]        # or ["*"] for all
        role: reader                          # reader, editor or admin; editor when left out
        expires: 2027-01-01T00:00:00Z         # may be left out
        replaced:                             # after a rotation: the secret before, and until when it is still good
          sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
          until: 2026-06-02T00:00:00Z

A change of the file counts as soon as Envoy asks again (a second at most), so a key is withdrawn without a restart.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from gateway.roles import Role
from gateway.roles import parse as parse_role

KEY_PREFIX = "fs_"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PROJECT = re.compile(r"\*|[a-z][a-z0-9-]{0,62}")
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")


@dataclass(frozen=True)
class Replaced:
    """A secret that has a successor, by its digest; good until then."""

    sha256: str
    until: datetime


@dataclass(frozen=True)
class ApiKey:
    """One key: `sha256` is the hex digest of the secret text; `expires` None means never.

    role: what it may do in its projects. replaced: the secret before the last rotation.
    """

    id: str
    sha256: str
    projects: tuple[str, ...]
    expires: datetime | None = None
    # What every key could do before there were roles.
    role: Role = Role.EDITOR
    replaced: Replaced | None = None

    def expired(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires is not None and now >= self.expires


def rotated(key: ApiKey, secret: str, until: datetime) -> ApiKey:
    """The key with a new secret; its present one stays good until then. One from an earlier rotation ends now."""
    return replace(key, sha256=digest(secret), replaced=Replaced(key.sha256, until))


def new_secret() -> str:
    """A fresh key: 256 random bits behind a prefix by which leak scanners know it."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is kept of a key. A plain hash is enough, because the secret is random and long."""
    return hashlib.sha256(secret.encode()).hexdigest()


def parse(text: str) -> list[ApiKey]:
    """Keys out of the file's text. Raises ValueError that names the entry and what is wrong with it."""
    try:
        document = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(document, dict) or not isinstance(document.get("keys", []), list):
        raise ValueError("the file must hold one list under `keys`")
    keys = [_entry(number, item) for number, item in enumerate(document.get("keys", []))]
    duplicates = {key.id for key in keys if sum(other.id == key.id for other in keys) > 1}
    if duplicates:
        raise ValueError(f"id given twice: {', '.join(sorted(duplicates))}")
    return keys


def load(path: Path) -> list[ApiKey]:
    """Keys of a file; none when there is no file. Raises ValueError that names the file."""
    if not path.exists():
        return []
    try:
        return parse(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def save(path: Path, keys: Iterable[ApiKey]) -> None:
    """Writes the file for its owner only; a reader sees the old or the new one, never half."""
    entries = []
    for key in keys:
        entry: dict[str, Any] = {"id": key.id, "sha256": key.sha256, "projects": list(key.projects)}
        entry["role"] = str(key.role)
        if key.expires:
            entry["expires"] = key.expires.isoformat()
        if key.replaced:
            entry["replaced"] = {"sha256": key.replaced.sha256, "until": key.replaced.until.isoformat()}
        entries.append(entry)
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        yaml.safe_dump({"keys": entries}, file, sort_keys=False)
    partial.replace(path)


def find(keys: Iterable[ApiKey], secret: str) -> ApiKey | None:
    """The key of a secret, as its holder has it: by a replaced secret it expires when that does.

    Compares with every entry in constant time, so the answer's time tells nothing.
    """
    given = digest(secret)
    found = None
    for key in keys:
        if hmac.compare_digest(key.sha256, given):
            found = key
        if key.replaced and hmac.compare_digest(key.replaced.sha256, given):
            until = key.replaced.until
            found = replace(key, expires=min(until, key.expires) if key.expires else until)
    return found


class ApiKeyFile:
    """The keys of a file as it is now. A broken file keeps the last good keys and says so in `problem`."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._keys: list[ApiKey] = []
        self.problem = ""

    def begin(self) -> None:
        """Reads the file at the start, when there are no earlier keys to go on with. Raises ValueError or OSError for a
        broken one; one that is not there yet may come later."""
        if self._path is not None:
            self._stamp = _stamp(self._path)
            self._keys = load(self._path)

    def find(self, secret: str) -> ApiKey | None:
        """The key of a secret, after reading the file again if it changed."""
        self._refresh()
        return find(self._keys, secret)

    def named(self, key_id: str) -> ApiKey | None:
        """The key of an id, None when there is none or no longer."""
        self._refresh()
        return next((key for key in self._keys if key.id == key_id), None)

    def _refresh(self) -> None:
        if self._path is None:
            return
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._keys = load(self._path)
        except (ValueError, OSError) as error:
            self.problem = str(error)
        else:
            self.problem = ""


def check(key: ApiKey) -> None:
    """Raises ValueError that begins with the field that is wrong."""
    if not _ID.fullmatch(key.id):
        raise ValueError(f"id: '{key.id}' must be lower-case letters, digits and hyphens")
    if not _SHA256.fullmatch(key.sha256):
        raise ValueError("sha256: must be 64 hex digits, the SHA-256 of the key")
    wrong = [project for project in key.projects if not _PROJECT.fullmatch(project)]
    if wrong or not key.projects:
        raise ValueError(f"projects: give project ids, or '*' for all; found: {', '.join(wrong) or 'none given'}")


def _stamp(path: Path) -> tuple[int, int, int] | None:
    if not path.exists():
        return None
    status = path.stat()
    return (status.st_mtime_ns, status.st_ino, status.st_size)


def _entry(number: int, item: object) -> ApiKey:
    where = f"keys[{number}]"
    if not isinstance(item, dict):
        raise ValueError(f"{where}: must be a mapping")
    unknown = set(item) - {"id", "sha256", "projects", "role", "expires", "replaced"}
    if unknown:
        raise ValueError(f"{where}: unknown fields {', '.join(sorted(map(str, unknown)))}")
    key = ApiKey(str(item.get("id", "")), str(item.get("sha256", "")), tuple(map(str, item.get("projects") or ())))
    try:
        check(key)
        role = parse_role(str(item.get("role", Role.EDITOR)))
    except ValueError as error:
        raise ValueError(f"{where}.{error}") from error
    expires = _moment(f"{where}.expires", item.get("expires"))
    return replace(key, role=role, expires=expires, replaced=_replaced(f"{where}.replaced", item.get("replaced")))


def _replaced(where: str, item: object) -> Replaced | None:
    if item is None:
        return None
    if not isinstance(item, dict) or set(item) != {"sha256", "until"}:
        raise ValueError(f"{where}: must hold sha256 and until")
    if not _SHA256.fullmatch(str(item["sha256"])):
        raise ValueError(f"{where}.sha256: must be 64 hex digits, the SHA-256 of the key")
    until = _moment(f"{where}.until", item["until"])
    if until is None:
        raise ValueError(f"{where}.until: must be a time")
    return Replaced(str(item["sha256"]), until)


def _moment(where: str, value: object) -> datetime | None:
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError as error:
            raise ValueError(f"{where}: '{value}' is no time like 2027-01-01T00:00:00Z") from error
    if not isinstance(value, datetime):
        raise ValueError(f"{where}: '{value}' is no time like 2027-01-01T00:00:00Z")
    return value if value.tzinfo else value.replace(tzinfo=UTC)
