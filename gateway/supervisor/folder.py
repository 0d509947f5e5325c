"""The data folder of a local stack: what lies where, who holds it, and what others read about it.

    DIR/lock                one supervisor at a time holds it (flock; the kernel lets go of it when the holder dies)
    DIR/state.json          what runs now, with process ids and ports; the CLI finds the gateway through it
    DIR/credentials/        S3 keys, key of page tokens, API keys, who may read events; tokens of processes
    DIR/sessions/           browsers that are signed in to the console, by digest
    DIR/pretended           there when its workers only pretend to train; a folder is one or the other for good
    DIR/budgets.toml        what each project may use; read whenever it changes
    DIR/taggers/NAME/       taggers and captioners that were added; looked at whenever somebody asks for taggers
    DIR/logs/NAME.log       what each process prints
    DIR/{seaweedfs,nats,dataset,tagger,trainer,registry,notifier,worker,gateway}/

All of it is for its owner only: folders have the mode 0700, files 0600.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import IO, Any

from fiveshot.connection import DEFAULT_PROJECT

from gateway import api_keys
from gateway.roles import Role

STATE_VERSION = 1
PRIVATE_UMASK = 0o077
LOCAL_PROJECT = DEFAULT_PROJECT
LOCAL_KEY_ID = "local"
_BUDGETS = """\
# What projects may use. A change holds at once; docs/budgets.md lists every budget. 0 is no limit.
#
# [defaults]
# datasets = 50
#
# [projects.acme]
# running_jobs = 2
# gpu_seconds = 86400
"""


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

    s3_access_key: str = field(default_factory=lambda: secrets.token_hex(10))
    s3_secret_key: str = field(default_factory=lambda: secrets.token_hex(20))
    api_key: str = field(default_factory=api_keys.new_secret)
    nats_password: str = field(default_factory=lambda: secrets.token_hex(32))
    page_token_key: str = field(default_factory=lambda: secrets.token_hex(32))


class DataFolder:
    """A data folder; it is created with the first file."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    def sub(self, name: str) -> Path:
        """A folder inside, created."""
        folder = self.path / name
        _make_private(self.path)
        folder.mkdir(mode=0o700, exist_ok=True)
        # One that an older version made may be open to others.
        folder.chmod(0o700)
        return folder

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.sub("logs") / f"{name}.log"

    def is_for_pretending(self, asked: bool) -> bool:
        """Whether jobs of this folder are pretended. One that is new becomes what is asked for; an old one stays."""
        mark = self.path / "pretended"
        if asked and not (self.path / "credentials").exists():
            _make_private(self.path)
            mark.touch(mode=0o600)
        return mark.exists()

    @property
    def catalogue(self) -> Path:
        """The base models of this machine, where it has a catalogue of its own."""
        return self.path / "base_models.toml"

    @property
    def api_keys_file(self) -> Path:
        """The API keys that the gateway accepts."""
        return self.path / "credentials" / "api_keys.yaml"

    @property
    def sessions(self) -> Path:
        """Who is signed in to the console, and the codes to sign in with."""
        return self.sub("sessions")

    @property
    def budgets_file(self) -> Path:
        """The budgets of projects; one that is not there is made, with nothing in it but how to write it."""
        path = self.path / "budgets.toml"
        if not path.exists():
            _make_private(self.path)
            with open_private(path, "w") as file:
                file.write(_BUDGETS)
        return path

    @property
    def taggers(self) -> Path:
        """Taggers and captioners that were added, a folder each."""
        return self.sub("taggers")

    @property
    def event_consumers_file(self) -> Path:
        """Who may read the events of which project."""
        return self.path / "credentials" / "event_consumers.json"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Holds the folder inside the block. Raises FolderBusyError."""
        _make_private(self.path)
        with open_private(self.path / "lock", "a") as file:
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
        path = self.sub("credentials") / "stack.json"
        kept: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        known = {each.name for each in fields(Credentials)}
        made = Credentials(**{name: value for name, value in kept.items() if name in known})
        if not kept:
            key = api_keys.ApiKey(LOCAL_KEY_ID, api_keys.digest(made.api_key), (LOCAL_PROJECT,), role=Role.ADMIN)
            api_keys.save(self.api_keys_file, [key])
        # A stack of an older version lacks the secrets that came later, and has some that are gone.
        if set(kept) != known:
            _write_private(path, json.dumps(asdict(made)))
        return made

    def keep_api_key(self, secret: str) -> None:
        """Makes this the key by which the command line calls the stack."""
        made = replace(self.credentials(), api_key=secret)
        _write_private(self.path / "credentials" / "stack.json", json.dumps(asdict(made)))

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


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def open_private(path: Path, mode: str) -> IO[Any]:
    """Opens a file of text or bytes that is for its owner only, whoever made it."""
    file = open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115  (the caller's)
    path.chmod(0o600)
    return file


def _write_private(path: Path, text: str) -> None:
    _make_private(path.parent)
    partial = path.with_name(path.name + ".partial")
    with open_private(partial, "w") as file:
        file.write(text)
    partial.replace(path)


def _make_private(folder: Path) -> None:
    """Makes a folder and those above it that are missing. One that is there stays as it is: it may be anyone's."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
