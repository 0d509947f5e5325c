"""Browser sessions: a one-time code becomes a cookie, and the cookie stands for an API key until it ends.

    DIR/codes/SHA256.json       {"key": id, "expires": …}; renamed to SHA256.used by the one sign-in that gets it
    DIR/sessions/SHA256.json    {"key": id, "expires": …}, or {"subject": …, "projects": […], "role": …, "expires": …}
    DIR/answers/SHA256.used     {"expires": …}: an identity provider's answer that has signed somebody in

Only digests are kept, so a copy of the folder opens nothing. A session of a key has no rights of its own: what the
key may do is looked up at each call, and with the key it ends. One by an identity provider keeps what that said.
Replicas share the folder; every step is one rename, create or unlink.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.api_keys import digest
from services.chassis.errors import FailedPrecondition, Unauthenticated

COOKIE = "fiveshot_session"
CONSOLE_HEADER = "x-fiveshot-console"
"""A page of another origin cannot send it without asking first, and is never allowed to."""
CODE_HEADER = "x-fiveshot-code"
SESSION_PATH = "/console/session"
OIDC_PATH = "/console/oidc"
CODE_MINUTES = 15
_ANOTHER = "Run `fiveshot console` on the machine of the stack for a new address."
# How long a used or expired code is still told apart from one that never was.
_REMEMBERED = timedelta(days=1)


@dataclass(frozen=True)
class Grant:
    """What a code or a session stands for. key: id of an API key; "" where an identity provider named the subject."""

    key: str
    expires: datetime
    subject: str = ""
    projects: tuple[str, ...] = ()
    role: str = ""


class SessionFolder:
    """The codes and sessions of one deployment. path None: there are none, and signing in is refused."""

    def __init__(
        self, path: Path | None, *, hours: float = 72, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._path = path
        self._lasts = timedelta(hours=hours)
        self._now = now

    def new_code(self, key: str, minutes: float = CODE_MINUTES) -> tuple[str, datetime]:
        """A code that signs in once as the holder of a key, and when it expires."""
        code, expires = secrets.token_urlsafe(24), self._now() + timedelta(minutes=minutes)
        _create(self._folder("codes") / f"{digest(code)}.json", Grant(key, expires))
        return code, expires

    def sign_in(self, code: str) -> tuple[str, Grant]:
        """The cookie's value and its session. Raises Unauthenticated: CODE_INVALID, CODE_USED or CODE_EXPIRED."""
        stem = self._folder("codes") / digest(code)
        self._sweep()
        used = stem.with_suffix(".used")
        try:
            # The kernel lets exactly one caller do this.
            stem.with_suffix(".json").rename(used)
        except FileNotFoundError:
            if used.exists():
                raise Unauthenticated(
                    "This sign-in address was used before", reason="CODE_USED", remedy=_ANOTHER
                ) from None
            raise Unauthenticated(
                "This sign-in address is not known here", reason="CODE_INVALID", remedy=_ANOTHER
            ) from None
        granted = _read(used)
        if granted is None or granted.expires <= self._now():
            raise Unauthenticated("This sign-in address has expired", reason="CODE_EXPIRED", remedy=_ANOTHER)
        return self.open(granted.key)

    def open(self, key: str) -> tuple[str, Grant]:
        """A session of a key whose holder is known: the cookie's value and the session."""
        token, session = secrets.token_urlsafe(32), Grant(key, self._now() + self._lasts)
        _create(self._folder("sessions") / f"{digest(token)}.json", session)
        return token, session

    def open_as(self, subject: str, projects: Sequence[str], role: str, *, hours: float) -> tuple[str, Grant]:
        """A session of somebody whom an identity provider knows, for so many hours: as `open`."""
        expires = self._now() + timedelta(hours=hours)
        token, session = secrets.token_urlsafe(32), Grant("", expires, subject, tuple(projects), role)
        _create(self._folder("sessions") / f"{digest(token)}.json", session)
        return token, session

    def use_answer(self, answer: str, *, minutes: float) -> bool:
        """Whether an identity provider's answer is used for the first time. minutes: how long it is remembered."""
        self._sweep()
        path = self._folder("answers") / f"{digest(answer)}.used"
        own = path.with_suffix(f".{secrets.token_hex(8)}")
        _create(own, Grant("", self._now() + timedelta(minutes=minutes)))
        try:
            # The kernel lets exactly one caller do this, and nobody sees a file without its time.
            path.hardlink_to(own)
        except FileExistsError:
            return False
        finally:
            own.unlink()
        return True

    def find(self, token: str) -> Grant | None:
        """The session of a cookie, None when it was never there, has expired or was ended."""
        if self._path is None:
            return None
        found = _read(self._path / "sessions" / f"{digest(token)}.json")
        return found if found and found.expires > self._now() else None

    def close(self, token: str) -> None:
        """Ends a session, if there is one."""
        if self._path is not None:
            (self._path / "sessions" / f"{digest(token)}.json").unlink(missing_ok=True)

    def _folder(self, name: str) -> Path:
        if self._path is None:
            raise FailedPrecondition(
                "This deployment has no place for browser sessions",
                reason="CONSOLE_WITHOUT_SESSIONS",
                remedy="Set GATEWAY_SESSIONS_DIR to a folder that all replicas of the gateway share.",
            )
        folder = self._path / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _sweep(self) -> None:
        """Removes what nobody can use any more."""
        for name, kept in (("codes", _REMEMBERED), ("sessions", timedelta()), ("answers", _REMEMBERED)):
            for path, grant in _entries(self._folder(name)):
                if grant is None or grant.expires + kept <= self._now():
                    path.unlink(missing_ok=True)


def cookie_of(header: str) -> str:
    """The session's token in a `cookie` header, "" without one."""
    for each in header.split(";"):
        name, _, value = each.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def set_cookie(token: str, *, seconds: int, secure: bool) -> str:
    """The header that keeps a session in the browser; seconds 0 takes it away. Scripts cannot read it."""
    return f"{COOKIE}={token}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"


def _entries(folder: Path) -> Iterator[tuple[Path, Grant | None]]:
    for path in folder.iterdir():
        # Another replica may be writing it at this moment.
        if path.suffix != ".partial":
            yield path, _read(path)


def _create(path: Path, grant: Grant) -> None:
    values = {name: value for name, value in asdict(grant).items() if value}
    text = json.dumps(values | {"expires": grant.expires.isoformat()})
    partial = path.with_suffix(".partial")
    with open(partial, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    partial.replace(path)


def _read(path: Path) -> Grant | None:
    with suppress(OSError, ValueError, KeyError, TypeError):
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        expires, projects = datetime.fromisoformat(document["expires"]), tuple(map(str, document.get("projects", ())))
        key, subject, role = (str(document.get(name, "")) for name in ("key", "subject", "role"))
        return Grant(key, expires, subject, projects, role)
    return None
