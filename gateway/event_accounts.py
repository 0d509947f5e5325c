"""Who may reach the event bus: the accounts of a NATS server.

The services have an account of their own, whose one user publishes. Each project that wants to listen has another: the
server passes the project's events into it and lets nothing out, so a consumer can neither see another project nor be
heard by the services. A consumer signs in with an NKey; only its public half is kept.

https://docs.nats.io/running-a-nats-service/configuration/securing_nats/accounts
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from services.chassis.names import EVENT_STREAM as STREAM
from services.chassis.names import EVENT_SUBJECTS

SERVICES_USER = "services"
# Makes a project's stream; its password is the services' own.
STEWARD = "steward"
_SERVICES_ACCOUNT = "SERVICES"
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
_PUBLIC_KEY = re.compile(r"U[A-Z2-7]{55}")
_STREAM_BYTES = 256 * 1024 * 1024
_STREAM_DAYS = 30
_MOST_CONSUMERS = 100


@dataclass(frozen=True)
class Consumer:
    """One credential: `public_key` is the NKey that may read the events of `project`."""

    id: str
    project: str
    public_key: str


def check(consumer: Consumer) -> None:
    """Raises ValueError that begins with the field that is wrong."""
    for field, value in (("id", consumer.id), ("project", consumer.project)):
        if not _ID.fullmatch(value):
            raise ValueError(f"{field}: '{value}' must be lower-case letters, digits and hyphens")
    if not _PUBLIC_KEY.fullmatch(consumer.public_key):
        raise ValueError("public_key: must be the public NKey of a user, U and 55 more characters")


def load(path: Path) -> list[Consumer]:
    """The consumers of a file; none when there is no file. Raises ValueError that names the file."""
    if not path.exists():
        return []
    try:
        found = [Consumer(**item) for item in json.loads(path.read_text(encoding="utf-8"))["consumers"]]
        for consumer in found:
            check(consumer)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: {error}") from error
    return found


def save(path: Path, consumers: Iterable[Consumer]) -> None:
    """Writes the file for its owner only, in one step."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        json.dump({"consumers": [asdict(consumer) for consumer in consumers]}, file, indent=1)
    partial.replace(path)


def accounts(password: str, consumers: Sequence[Consumer] = ()) -> dict[str, Any]:
    """The `accounts` of a NATS configuration. password: of the services' user. No one else may connect."""
    projects = sorted({consumer.project for consumer in consumers})
    exports = [{"stream": _subject(project), "accounts": [_account(project)]} for project in projects]
    services: dict[str, Any] = {
        "jetstream": "enabled",
        "users": [{"user": SERVICES_USER, "password": password}],
        "exports": exports,
    }
    keys = {project: [each.public_key for each in consumers if each.project == project] for project in projects}
    return {_SERVICES_ACCOUNT: services} | {
        _account(project): _project(project, password, keys[project]) for project in projects
    }


def stream(project: str) -> dict[str, Any]:
    """The fields of the stream that keeps a project's events for its consumers, as JetStream's API names them."""
    return {
        "name": STREAM,
        "subjects": [_subject(project)],
        "max_age": _STREAM_DAYS * 86_400,
        "max_bytes": _STREAM_BYTES,
        "duplicate_window": 120,
    }


def steward(project: str) -> str:
    """The user that makes the project's stream."""
    return f"{STEWARD}-{project}"


def _project(project: str, password: str, public_keys: Sequence[str]) -> dict[str, Any]:
    reads = {"publish": {"allow": _requests()}, "subscribe": {"allow": [_subject(project), "_INBOX.>"]}}
    return {
        "jetstream": {"max_file": 2 * _STREAM_BYTES, "max_streams": 1, "max_consumers": _MOST_CONSUMERS},
        "users": [
            {"user": steward(project), "password": password},
            *({"nkey": key, "permissions": reads} for key in public_keys),
        ],
        "imports": [{"stream": {"account": _SERVICES_ACCOUNT, "subject": _subject(project)}}],
    }


def _requests() -> list[str]:
    """What a reader may ask of JetStream: to look at the stream, to read through consumers, and to confirm."""
    looking = ("INFO", "STREAM.NAMES", "STREAM.LIST", f"STREAM.INFO.{STREAM}", f"STREAM.MSG.GET.{STREAM}")
    reading = ("CREATE", "DURABLE.CREATE", "INFO", "MSG.NEXT", "DELETE")
    return [
        *(f"$JS.API.{request}" for request in looking),
        *(f"$JS.API.CONSUMER.{request}.{STREAM}.>" for request in reading),
        *(f"$JS.API.CONSUMER.{request}.{STREAM}" for request in ("CREATE", "NAMES", "LIST")),
        f"$JS.ACK.{STREAM}.>",
    ]


def _subject(project: str) -> str:
    return f"{EVENT_SUBJECTS}.{project}.>"


def _account(project: str) -> str:
    return f"PROJECT_{project}"
