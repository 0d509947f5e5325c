"""The data folder of a local stack: what lies where, who holds it, and what others read about it.

    DIR/lock                one supervisor at a time holds it (flock; the kernel lets go of it when the holder dies)
    DIR/state.json          what runs now, with process ids and ports; the CLI finds the gateway through it
    DIR/credentials/        S3 keys, internal token, key of page tokens, API keys; for their owner only
    DIR/logs/NAME.log       what each process prints
    DIR/{seaweedfs,nats,dataset,tagger,trainer,registry,worker,gateway}/
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from gateway import api_keys

STATE_VERSION = 1
LOCAL_PROJECT = "default"
LOCAL_KEY_ID = "local"


class FolderBusyError(Exception):
    """Another supervisor holds the folder. pid: of that one, 0 when it has not said yet."""

    def __init__(self, path: Path, pid: int) -> None:
        self.path = path
        self.pid = pid
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"A stack already runs on {path} ({who})")


@dataclass
class ChildState:
    """One process of the stack. state: waiting, starting, ready, restarting, stopped or failed."""

    name: str
    state: str = "waiting"
    pid: int = 0
    restarts: int = 0
    ports: dict[str, int] = field(default_factory=dict)
    log: str = ""
    message: str = ""


@dataclass
class StackState:
    """What state.json holds.

    state: starting, ready, stopping, stopped or failed. leftovers: files to remove after a crash.
    """

    pid: int = 0
    state: str = "starting"
    server: str = ""
    project: str = LOCAL_PROJECT
    started: float = 0.0
    ready_seconds: float = 0.0
    message: str = ""
    children: dict[str, ChildState] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)
    version: int = STATE_VERSION


@dataclass(frozen=True)
class Credentials:
    """Secrets that the stack made for itself at its first start."""

    s3_access_key: str
    s3_secret_key: str
    internal_token: str
    api_key: str
    page_token_key: str


class DataFolder:
    """A data folder; it is created with the first file."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    def sub(self, name: str) -> Path:
        """A folder inside, created."""
        folder = self.path / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.sub("logs") / f"{name}.log"

    @property
    def catalogue(self) -> Path:
        """The base models of this machine, where it has a catalogue of its own."""
        return self.path / "base_models.toml"

    @property
    def api_keys_file(self) -> Path:
        """The API keys that the gateway accepts."""
        return self.path / "credentials" / "api_keys.yaml"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder inside the block. Raises FolderBusyError."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a", encoding="ascii") as file:
            if not _try_lock(file):
                state = self.read_state()
                raise FolderBusyError(self.path, state.pid if state else 0)
            yield

    def is_held(self) -> bool:
        """Whether a supervisor lives on this folder now."""
        lock = self.path / "lock"
        if not lock.exists():
            return False
        with lock.open("a", encoding="ascii") as file:
            return not _try_lock(file)

    def credentials(self) -> Credentials:
        """The folder's secrets, made now if there are none."""
        folder = self.sub("credentials")
        folder.chmod(0o700)
        path = folder / "stack.json"
        if not path.exists():
            s3_keys, token = (secrets.token_hex(10), secrets.token_hex(20)), secrets.token_hex(32)
            made = Credentials(*s3_keys, token, api_keys.new_secret(), secrets.token_hex(32))
            key = api_keys.ApiKey(LOCAL_KEY_ID, api_keys.digest(made.api_key), (LOCAL_PROJECT,))
            api_keys.save(self.api_keys_file, [key])
            _write_private(path, json.dumps(asdict(made)))
        stored = json.loads(path.read_text(encoding="utf-8"))
        if "page_token_key" not in stored:
            # A folder of an older release.
            stored["page_token_key"] = secrets.token_hex(32)
            _write_private(path, json.dumps(stored))
        return Credentials(**stored)

    def read_state(self) -> StackState | None:
        """What was last written about the stack; None when nothing readable is there."""
        path = self.path / "state.json"
        if not path.exists():
            return None
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            children = {name: ChildState(**child) for name, child in values.pop("children").items()}
            return StackState(**values, children=children)
        except (ValueError, TypeError, KeyError):
            return None

    def write_state(self, state: StackState) -> None:
        """Replaces state.json in one step."""
        _write_private(self.path / "state.json", json.dumps(asdict(state), indent=1))


def default_data_folder() -> Path:
    """FIVESHOT_DATA, or `fiveshot` in the user's data folder (XDG_DATA_HOME, ~/.local/share)."""
    given = os.environ.get("FIVESHOT_DATA")
    if given:
        return Path(given)
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "fiveshot"


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)
