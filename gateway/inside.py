"""The tokens by which the processes of the suite know each other, and who may call what: for one deployment.

    python -m gateway.inside DIR                    new tokens for all
    python -m gateway.inside DIR --once             the same, unless they are there
    python -m gateway.inside DIR --announce NAME    makes the next token of a process known to those whom it calls
    python -m gateway.inside DIR --rotate NAME      gives it that token, or a new one; its present one ends in a minute
    python -m gateway.inside DIR --secrets          prints them as Secrets for Kubernetes

DIR/NAME is a process's own: `token` is what it shows (…_INTERNAL_TOKEN_FILE), `callers.json` says who may call it
(…_CALLERS_FILE). Mount the folder, not the files: each is replaced by a rename.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

_DATASET, _TRAINER = "/fiveshot.dataset.v1.DatasetService/", "/fiveshot.trainer.v1.TrainingService/"
_REGISTRY = "/fiveshot.registry.v1.RegistryService/"
_INTAKE = "/fiveshot.audit.v1.AuditIntakeService/"


def _of(service: str, *methods: str) -> tuple[str, ...]:
    return tuple(service + name for name in methods)


# By the process that is called: who calls it, and what. A name stands for one method, unless a slash ends it.
MAY_CALL: dict[str, dict[str, tuple[str, ...]]] = {
    "dataset": {
        "gateway": (_DATASET,),
        "tagger": _of(
            _DATASET, "GetDataset", "ListImages", "GetImage", "DownloadImage", "UpdateImage", "BatchUpdateImages"
        ),
        "trainer": _of(
            _DATASET,
            "CreateDatasetVersion",
            "GetDatasetVersion",
            "ListDatasetVersionImages",
            "GetDataset",
            "ListImages",
            "DownloadImage",
        ),
        "worker": _of(_DATASET, "ListDatasetVersionImages", "DownloadImage"),
    },
    "tagger": {"gateway": ("/fiveshot.tagger.v1.TaggerService/",)},
    "trainer": {
        "gateway": (_TRAINER,),
        "registry": _of(_TRAINER, "GetTrainingJob", "GetEpoch", "DownloadEpochFile", "GetBaseModel"),
        "worker": ("/fiveshot.trainer.v1.WorkerService/",),
    },
    "registry": {
        "gateway": (_REGISTRY, "/fiveshot.audit.v1.AuditService/", _INTAKE),
        "dataset": (_INTAKE,),
        "tagger": (_INTAKE,),
        "trainer": (_INTAKE, *_of(_REGISTRY, "GetModelVersion", "DownloadModelVersion", "ListModels")),
        "worker": _of(_REGISTRY, "DownloadModelVersion"),
        "notifier": (_INTAKE,),
    },
    "notifier": {"gateway": ("/fiveshot.notifier.v1.NotifierService/",)},
    # Reflection passes Envoy like any public call, with the token that the authorization adds.
    "authz": {"envoy": ("/envoy.service.auth.v3.Authorization/",), "gateway": ("/grpc.reflection.",)},
}
HOLDERS = tuple(dict.fromkeys(caller for callers in MAY_CALL.values() for caller in callers))
"""Who shows a token. `gateway` is what the authorization adds to the calls that it lets through."""
OVERLAP = timedelta(minutes=1)


def make(folder: Path) -> None:
    """New tokens for all, and the callers files that go with them; what was there before opens nothing any more."""
    digests = {name: [_entry(_new_token(folder, name))] for name in HOLDERS}
    for called, callers in MAY_CALL.items():
        document = {name: {"tokens": digests[name], "methods": methods} for name, methods in callers.items()}
        _write(callers_file(folder, called), json.dumps({"callers": document}, indent=1))


def is_made(folder: Path) -> bool:
    """Whether everything is there, for every process of this release."""
    files = [token_file(folder, name) for name in HOLDERS] + [callers_file(folder, name) for name in MAY_CALL]
    return all(file.exists() for file in files)


def announce(folder: Path, name: str) -> None:
    """Makes one holder's next token known to all whom it calls, where the files of processes do not change at the same
    moment; `rotate` gives it to the holder. Raises ValueError, OSError."""
    _check_holder(name)
    following = secrets.token_hex(32)
    for path, document in _known_to(folder, name):
        document["callers"][name]["tokens"].append(_entry(following))
        _write(path, json.dumps(document, indent=1))
    _write(_next_file(folder, name), following)


def rotate(folder: Path, name: str, *, now: datetime | None = None, overlap: timedelta = OVERLAP) -> None:
    """The announced token, or else a new one, for one holder, known to all whom it calls before it shows it. overlap:
    how long the present one stays good. Raises ValueError, OSError."""
    _check_holder(name)
    now = now or datetime.now(UTC)
    retired = {"until": (now + overlap).isoformat()}
    announced = _next_file(folder, name)
    fresh = announced.read_text(encoding="ascii") if announced.exists() else secrets.token_hex(32)
    old = _digest(token_file(folder, name).read_text(encoding="ascii"))
    for path, document in _known_to(folder, name):
        before = document["callers"][name]["tokens"]
        # Those of earlier rotations keep their time as well: the gateway may have them in memory.
        kept = [each for each in before if "until" in each and datetime.fromisoformat(each["until"]) > now]
        document["callers"][name]["tokens"] = [_entry(fresh), {"sha256": old, **retired}, *kept]
        _write(path, json.dumps(document, indent=1))
    _write(token_file(folder, name), fresh)
    announced.unlink(missing_ok=True)


def token_file(folder: Path, name: str) -> Path:
    """Where a holder's token is."""
    return folder / name / "token"


def callers_file(folder: Path, name: str) -> Path:
    """Where the callers of a process are. The authorization process shows the token `gateway`."""
    return folder / {"authz": "gateway"}.get(name, name) / "callers.json"


def as_secrets(folder: Path) -> list[dict[str, Any]]:
    """A Secret for each process, with its files; `fiveshot-inside-NAME`. Raises OSError."""
    found = []
    for name in HOLDERS:
        files = (token_file(folder, name), callers_file(folder, name))
        data = {file.name: file.read_text(encoding="utf-8") for file in files if file.exists()}
        meta = {"name": f"fiveshot-inside-{name}", "labels": {"app.kubernetes.io/part-of": "fiveshot"}}
        found.append({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": data})
    return found


def _known_to(folder: Path, name: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Path and content of the callers file of each process that a holder calls."""
    for called, callers in MAY_CALL.items():
        if name in callers:
            path = callers_file(folder, called)
            yield path, json.loads(path.read_text(encoding="utf-8"))


def _next_file(folder: Path, name: str) -> Path:
    # Beside the processes' folders: one that is mounted must not hold a token that is not in use yet.
    return folder / "announced" / name


def _check_holder(name: str) -> None:
    if name not in HOLDERS:
        raise ValueError(f"'{name}' shows no token; those who do: {', '.join(HOLDERS)}")


def _new_token(folder: Path, name: str) -> str:
    token = secrets.token_hex(32)
    _write(token_file(folder, name), token)
    return token


def _entry(token: str) -> dict[str, str]:
    return {"sha256": _digest(token)}


def _digest(token: str) -> str:
    return hashlib.sha256(token.strip().encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    """For the owner of its folder only, and never half."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    owner = path.parent.stat()
    if os.geteuid() == 0:
        os.chown(partial, owner.st_uid, owner.st_gid)
    partial.replace(path)


def _give_away(folder: Path, owner: int) -> None:
    """The processes' folders for another user, under whom they run in containers; for root."""
    for name in HOLDERS:
        for path in (folder / name, *(folder / name).iterdir()):
            os.chown(path, owner, owner)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m gateway.inside", description="Tokens between the processes.")
    parser.add_argument("folder", type=Path)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--once", action="store_true", help="make them unless they are there")
    what.add_argument("--announce", metavar="NAME", choices=HOLDERS)
    what.add_argument("--rotate", metavar="NAME", choices=HOLDERS)
    what.add_argument("--secrets", action="store_true", help="print them as Secrets for Kubernetes")
    parser.add_argument("--overlap-minutes", type=float, default=OVERLAP.total_seconds() / 60)
    parser.add_argument("--owner", type=int, help="user id of the processes, where they run in containers")
    given = parser.parse_args()
    if given.secrets:
        yaml.safe_dump_all(as_secrets(given.folder), sys.stdout, sort_keys=False)
        return
    if given.announce:
        announce(given.folder, given.announce)
    elif given.rotate:
        rotate(given.folder, given.rotate, overlap=timedelta(minutes=given.overlap_minutes))
    elif not (given.once and is_made(given.folder)):
        make(given.folder)
    if given.owner is not None:
        _give_away(given.folder, given.owner)


if __name__ == "__main__":
    main()
