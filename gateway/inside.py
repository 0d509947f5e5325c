"""The tokens by which the processes of the suite know each other, and who may call what: for one deployment.

    python -m gateway.inside DIR              makes DIR/tokens/NAME and DIR/callers/NAME.json
    python -m gateway.inside DIR --rotate NAME    gives one process a new token; the present one is good for a minute

A process gets its own token as …_INTERNAL_TOKEN_FILE, and its callers as …_CALLERS_FILE.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

_DATASET, _TRAINER = "/fiveshot.dataset.v1.DatasetService/", "/fiveshot.trainer.v1.TrainingService/"


def _of(service: str, *methods: str) -> tuple[str, ...]:
    return tuple(service + name for name in methods)


# By the process that is called: who calls it, and what. A name stands for one method, unless a slash ends it.
MAY_CALL: dict[str, dict[str, tuple[str, ...]]] = {
    "dataset": {
        "gateway": (_DATASET,),
        "tagger": _of(_DATASET, "GetDataset", "ListImages", "GetImage", "DownloadImage", "UpdateImage"),
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
    "registry": {"gateway": ("/fiveshot.registry.v1.RegistryService/",)},
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


def rotate(folder: Path, name: str, *, now: datetime | None = None) -> None:
    """A new token for one holder, known to all whom it calls before it shows it. Raises ValueError, OSError."""
    if name not in HOLDERS:
        raise ValueError(f"'{name}' shows no token; those who do: {', '.join(HOLDERS)}")
    now = now or datetime.now(UTC)
    retired = {"until": (now + OVERLAP).isoformat()}
    fresh, old = secrets.token_hex(32), _digest(token_file(folder, name).read_text(encoding="ascii"))
    for called, callers in MAY_CALL.items():
        if name in callers:
            path = callers_file(folder, called)
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            before = document["callers"][name]["tokens"]
            # Those of earlier rotations keep their time as well: the gateway may have them in memory.
            kept = [each for each in before if "until" in each and datetime.fromisoformat(each["until"]) > now]
            document["callers"][name]["tokens"] = [_entry(fresh), {"sha256": old, **retired}, *kept]
            _write(path, json.dumps(document, indent=1))
    _write(token_file(folder, name), fresh)


def token_file(folder: Path, name: str) -> Path:
    """Where a holder's token is."""
    return folder / "tokens" / name


def callers_file(folder: Path, name: str) -> Path:
    """Where the callers of a process are."""
    return folder / "callers" / f"{name}.json"


def _new_token(folder: Path, name: str) -> str:
    token = secrets.token_hex(32)
    _write(token_file(folder, name), token)
    return token


def _entry(token: str) -> dict[str, str]:
    return {"sha256": _digest(token)}


def _digest(token: str) -> str:
    return hashlib.sha256(token.strip().encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    """For the owner only, and never half."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(text)
    partial.replace(path)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m gateway.inside", description="Tokens between the processes.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rotate", metavar="NAME", choices=HOLDERS)
    given = parser.parse_args()
    if given.rotate:
        rotate(given.folder, given.rotate)
    else:
        make(given.folder)


if __name__ == "__main__":
    main()
