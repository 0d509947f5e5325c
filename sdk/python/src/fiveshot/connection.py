"""Where the server is and who is calling; what is repeated when it is away. Pure but for the files of the local stack.

Arguments win over FIVESHOT_SERVER, FIVESHOT_API_KEY, FIVESHOT_PROJECT and FIVESHOT_CA_FILE; these win over the stack
that runs on this machine (`fiveshot up`, found through FIVESHOT_DATA).
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from fiveshot.errors import FiveshotError, Internal, InvalidArgument, Unavailable
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

ID_RULE = "1 to 63 characters: lower-case letters, digits and hyphens, starting with a letter"
DEFAULT_PROJECT = "default"
_MIB = 1024 * 1024
_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_FULL_NAME = re.compile(r"(projects|taggers|baseModels)(/[A-Za-z0-9.-]{1,63})+")
_ID = re.compile(r"[a-z][a-z0-9.-]{0,62}(/[A-Za-z0-9-]{1,63})*")
# Whom nobody could reach: blanks, names of users, ports that are none.
_ADDRESS = re.compile(r"(?!.*:(?:\d{6,}|6553[6-9]|655[4-9]\d|65[6-9]\d\d|6[6-9]\d{3}|[7-9]\d{4})/?$)[^\s@]+")
# What a header may hold; gRPC ends a call for any other sign, in words of its own.
_CREDENTIAL = re.compile(r"[!-~]*")
# A picture travels in one message to TagImage; everything larger is a stream.
CHANNEL_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", 64 * _MIB),
    ("grpc.max_send_message_length", 64 * _MIB),
    # A watch may be quiet for long: a peer that is gone is found out all the same, within 40 seconds.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


@dataclass(frozen=True)
class Endpoint:
    """A server as one caller sees it.

    address: host:port. secure: TLS. authorities: PEM of the certificates to trust, None for the system's.
    metadata: sent with every call. project: what ids belong to.
    """

    address: str
    project: str = DEFAULT_PROJECT
    secure: bool = False
    authorities: bytes | None = None
    metadata: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def parent(self) -> str:
        """`projects/{project}`."""
        return f"projects/{self.project}"

    def resource(self, collection: str, given: str) -> str:
        """A full name stays; an id is put below the project: `cat` of `datasets` is `projects/default/datasets/cat`.

        Raises InvalidArgument (NAME_INVALID) for what is neither.
        """
        if given.startswith(("projects/", "taggers/", "baseModels/")) and _FULL_NAME.fullmatch(given):
            return given
        if not _ID.fullmatch(given):
            raise InvalidArgument(
                f"'{given[:100]}' is neither an id nor a resource name", field="name", reason="NAME_INVALID",
                remedy=f"An id holds {ID_RULE}; a name joins ids with slashes.",
            )  # fmt: skip
        below = "" if collection in ("taggers", "baseModels") else f"{self.parent}/"
        return f"{below}{collection}/{given}"

    def lora(self, given: str) -> str:
        """The name of a LoRA: of a model's version, `cat@2`, `cat@best` or `cat` for the latest, or of an epoch,
        `job-1/epochs/3`; full names stay.

        Raises InvalidArgument (NAME_INVALID) for what is neither.
        """
        if "/epochs/" in given:
            return self.resource("trainingJobs", given)
        model, _, version = given.partition("@")
        name = self.resource("models", model)
        return name if "/versions/" in name else f"{name}/versions/{version or 'latest'}"


def endpoint(
    server: str = "",
    *,
    api_key: str = "",
    token: str = "",
    project: str = "",
    ca_file: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    traceparent: str = "",
) -> Endpoint:
    """The server to call: host:port, or https://host:port for TLS; see the head of this module for what wins.

    api_key: `fs_…`; token: a JWT instead of it. data: folder of the local stack. traceparent: of the trace that every
    call belongs to.
    Raises Unavailable (NO_SERVER) when nothing was said and no local stack runs, InvalidArgument for a bad CA file,
    and for an address, key or token that can be none.
    """
    # A file that such a value comes out of ends with a line break.
    server = (server or os.environ.get("FIVESHOT_SERVER", "")).strip()
    api_key = (api_key or os.environ.get("FIVESHOT_API_KEY", "")).strip()
    project = (project or os.environ.get("FIVESHOT_PROJECT", "")).strip()
    ca_file = ca_file or os.environ.get("FIVESHOT_CA_FILE") or None
    if not server:
        local = local_stack(Path(data) if data else default_data_folder())
        if local is None:
            raise Unavailable(
                "No server was named and no local stack runs", reason="NO_SERVER",
                remedy="Start one with `fiveshot up --detach`, or set FIVESHOT_SERVER and FIVESHOT_API_KEY.",
            )  # fmt: skip
        server, api_key = local[0], api_key or local[1]
    if project and (not _ID.fullmatch(project) or "/" in project):
        raise InvalidArgument(
            f"'{project[:100]}' is not a project", field="project", reason="NAME_INVALID",
            remedy=f"A project's id holds {ID_RULE}.",
        )  # fmt: skip
    scheme, _, address = server.rpartition("://")
    if scheme not in ("", "http", "https", "grpc", "grpcs") or not _ADDRESS.fullmatch(address):
        raise InvalidArgument(
            f"'{server.rpartition('@')[2][:100]}' is not a server's address", field="server", reason="SERVER_INVALID",
            remedy="Write host:port, or https://host:port.",
        )  # fmt: skip
    token = token.strip()
    for given, credential in (("api_key", api_key), ("token", token)):
        if not _CREDENTIAL.fullmatch(credential):
            raise InvalidArgument(
                f"The {given} holds blanks or letters that none has", field=given, reason="API_KEY_INVALID",
                remedy="Copy it again, whole and without anything around it.",
            )  # fmt: skip
    metadata = (("x-api-key", api_key),) if api_key else ()
    if token:
        metadata = (("authorization", f"Bearer {token}"),)
    if traceparent:
        if not _TRACEPARENT.fullmatch(traceparent):
            raise InvalidArgument(
                f"'{traceparent[:100]}' is no traceparent", field="traceparent", reason="TRACEPARENT_INVALID",
                remedy="Write it as W3C Trace Context does: 00-, 32 hex digits, -, 16 hex digits, -01.",
            )  # fmt: skip
        metadata = (*metadata, ("traceparent", traceparent))
    secure = scheme in ("https", "grpcs")
    authorities = _pem(Path(ca_file)) if secure and ca_file else None
    return Endpoint(address.rstrip("/"), project or DEFAULT_PROJECT, secure, authorities, metadata)


def trace_metadata() -> tuple[tuple[str, str], ...]:
    """What tells the server to which trace a call belongs: the program's running OpenTelemetry span, else TRACEPARENT
    of the environment; nothing where there is neither."""
    # A program that has a span has loaded this; for the others it need not be installed.
    traces = sys.modules.get("opentelemetry.trace")
    if traces is not None:
        span = traces.get_current_span().get_span_context()
        if span.is_valid:
            return (("traceparent", f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"),)
    given = os.environ.get("TRACEPARENT", "")
    return (("traceparent", given),) if _TRACEPARENT.fullmatch(given) else ()


def default_data_folder() -> Path:
    """FIVESHOT_DATA, or `fiveshot` in the user's data folder (XDG_DATA_HOME, ~/.local/share)."""
    if given := os.environ.get("FIVESHOT_DATA"):
        return Path(given)
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "fiveshot"


def local_stack(folder: Path) -> tuple[str, str] | None:
    """Server and key of the stack that lives on a data folder now; None when there is none."""
    folder = folder.expanduser()
    try:
        if not _is_held(folder / "lock"):
            return None
        state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        kept = json.loads((folder / "credentials" / "stack.json").read_text(encoding="utf-8"))
        return (state["server"], kept["api_key"]) if state["server"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class Patience:
    """What is repeated, and after which pause.

    attempts: of a call, the first one included. reconnect_s: how long a watch may be without its connection.
    """

    attempts: int = 4
    reconnect_s: float = 60.0
    first_pause_s: float = 0.2
    longest_pause_s: float = 3.0

    def pause(self, error: FiveshotError, attempt: int, left_s: float | None) -> float | None:
        """Seconds to wait before a call is made again; None when it is not.

        attempt: how often it was made, from 1. left_s: until the deadline. A server that says when to come back
        (RetryInfo) is taken at its word; otherwise only the unreachable is tried again.
        """
        if attempt >= self.attempts or not (isinstance(error, Unavailable) or error.retry_after_s is not None):
            return None
        pause = self._growing(attempt) if error.retry_after_s is None else error.retry_after_s
        return None if left_s is not None and pause >= left_s else pause

    def reconnect(self, error: FiveshotError, attempt: int, away_s: float) -> float | None:
        """Seconds to wait before a watch is resumed; None when it is not.

        attempt: since it last heard something, from 1; away_s: for how long.
        """
        reset = isinstance(error, Internal) and "RST_STREAM" in error.message
        if not (isinstance(error, Unavailable) or reset or error.retry_after_s is not None):
            return None
        if away_s > self.reconnect_s:
            return None
        return self._growing(attempt) if error.retry_after_s is None else error.retry_after_s

    def _growing(self, attempt: int) -> float:
        # Of a hundred clients that lost one server, not all come back in the same instant.
        most: float = min(self.longest_pause_s, self.first_pause_s * 2 ** min(attempt - 1, 10))
        return most * random.uniform(0.5, 1.0)


def with_request_id(request: M) -> M:
    """The request; a copy with a new id where its message has `request_id` and the caller gave none.

    A repeated create or move is then the same request to the server.
    """
    given: Any = request
    if "request_id" not in request.DESCRIPTOR.fields_by_name or given.request_id:
        return request
    named: Any = type(request)()
    named.CopyFrom(request)
    named.request_id = new_request_id()
    return cast(M, named)


def new_request_id() -> str:
    """An id that no other request has."""
    return f"py-{uuid.uuid4()}"


def _pem(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(
            f"{path} cannot be read: {error.strerror}", field="ca_file", reason="CA_FILE_UNREADABLE",
            remedy="Give a PEM file of the certificates to trust.",
        ) from None  # fmt: skip


def _is_held(lock: Path) -> bool:
    """Whether a supervisor holds its lock; the kernel lets go of it when the holder dies."""
    try:
        import fcntl
    except ImportError:
        return False
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
