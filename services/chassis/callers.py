"""Which processes of the suite may call this one, and what: each shows a token of its own, which opens no more.

A callers file names them; only digests of tokens stand in it:

    {"callers": {"worker": {"tokens": [{"sha256": "9f86…"}, {"sha256": "2c26…", "until": "2027-01-01T00:00:00Z"}],
                            "methods": ["/fiveshot.trainer.v1.WorkerService/"]}}}

`methods` are beginnings of paths. Both files, that of the callers and that of a process's own token, count as they are
at each call, so a token is replaced without a restart: its successor is added here, then given to its holder.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from services.chassis import request_context
from services.chassis.errors import PermissionDenied, Unauthenticated
from services.chassis.logging import get_logger
from services.chassis.settings import BaseServiceSettings

log = get_logger(__name__)


class Watched:
    """The text of a file as it is now."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None

    def changed(self) -> str | None:
        """The text, if the file is another than at the last look. Raises OSError."""
        status = self._path.stat()
        stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
        if stamp == self._stamp:
            return None
        text = self._path.read_text(encoding="utf-8")
        self._stamp = stamp
        return text


class OwnToken:
    """The token that this process shows to those it calls. expected: whether the settings name one."""

    def __init__(self, settings: BaseServiceSettings | None) -> None:
        token = settings.internal_token if settings else None
        self._token = token.get_secret_value() if token else ""
        file = settings.internal_token_file if settings else None
        self._file = Watched(file) if file else None
        self.expected = bool(self._token or self._file)

    def current(self) -> str:
        """The token; the last one that could be read when the file is gone, "" when there is none."""
        if self._file is not None:
            try:
                self._token = (self._file.changed() or self._token).strip()
            except OSError as error:
                log.error("internal_token_file_unreadable", error=str(error))
        return self._token


@dataclass(frozen=True)
class _Caller:
    name: str
    methods: tuple[str, ...]
    until: datetime | None


class Callers:
    """Decides about calls by the callers file; without one, every process that shows the common token may call all."""

    def __init__(self, settings: BaseServiceSettings) -> None:
        self._common = OwnToken(settings)
        self._file = Watched(settings.callers_file) if settings.callers_file else None
        self._known: dict[str, _Caller] = {}

    def check(self, metadata: Mapping[str, str], method: str) -> str:
        """The name of the process that calls, "" where all show the common token.

        Raises Unauthenticated for an unknown token, PermissionDenied for a method that is not the caller's.
        """
        given = metadata.get(request_context.INTERNAL_TOKEN_KEY, "")
        if self._file is None:
            common = self._common.current()
            # A file that went away before it was ever read must not open the process to everybody.
            if self._common.expected and not (common and hmac.compare_digest(given.encode(), common.encode())):
                raise _unknown()
            return ""
        self._read(self._file)
        # Looked up by digest: the time that takes tells nothing about a token.
        caller = self._known.get(hashlib.sha256(given.encode()).hexdigest())
        if caller is None or (caller.until is not None and datetime.now(UTC) >= caller.until):
            raise _unknown()
        if not method.startswith(caller.methods):
            raise PermissionDenied(
                f"The process '{caller.name}' may not call {method}",
                reason="CALLER_NOT_ALLOWED",
                remedy="Call it from a process whose task it is; the callers file says which.",
                metadata={"caller": caller.name},
            )
        return caller.name

    def _read(self, file: Watched) -> None:
        """Takes over a changed file. One that is broken or gone leaves what was known, at the start nobody."""
        try:
            text = file.changed()
            if text is not None:
                self._known = _parse(text)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("callers_file_unreadable", error=f"{type(error).__name__}: {error}")


def _parse(text: str) -> dict[str, _Caller]:
    found: dict[str, _Caller] = {}
    for name, entry in json.loads(text)["callers"].items():
        for token in entry["tokens"]:
            until = datetime.fromisoformat(token["until"]) if token.get("until") else None
            found[str(token["sha256"])] = _Caller(str(name), tuple(map(str, entry["methods"])), until)
    return found


def _unknown() -> Unauthenticated:
    return Unauthenticated(
        "This service takes calls from inside the suite only",
        reason="INTERNAL_TOKEN_WRONG",
        remedy="Call through the gateway, or give both sides the same internal token.",
    )
