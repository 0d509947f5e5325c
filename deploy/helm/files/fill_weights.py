"""Fills a folder with the weights of base models: `python fill_weights.py LIST.json FOLDER`. Needs nothing but Python.

A model appears under its name when all its files are there with the digests of the list: a worker offers what it finds.
What is there already isn't fetched again, and a run that was cut off goes on behind its last whole file.
"""

import hashlib
import http.client
import json
import os
import shutil
import signal
import sys
import urllib.request
from pathlib import Path

PIECE = 1 << 20


def is_right(path: Path, sha256: str) -> bool:
    """Whether there is a file of this digest."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


def fetch(url: str, sha256: str, path: Path) -> None:
    """One file. OSError or HTTPException when it doesn't come, ValueError when it is another than the list says."""
    request = urllib.request.Request(url)
    if authorization := os.environ.get("WEIGHTS_AUTHORIZATION"):
        # Not to where a redirect leads: that is often a store of someone else.
        request.add_unredirected_header("Authorization", authorization)
    part = path.with_name(path.name + ".part")
    seen = hashlib.sha256()
    with urllib.request.urlopen(request, timeout=60) as answer, part.open("wb") as file:
        while piece := answer.read(PIECE):
            seen.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    if seen.hexdigest() != sha256:
        part.unlink()
        raise ValueError(f"its sha256 is {seen.hexdigest()}, the list says {sha256}; correct baseWeights.files")
    part.replace(path)


def fill(name: str, files: list[dict[str, str]], folder: Path) -> bool:
    """One model, a folder or a single file; says on stdout what became of it. False when it isn't whole."""
    if all(is_right(folder / entry["path"], entry["sha256"]) for entry in files):
        print(f"{name}: there already", flush=True)
        return True
    filling = folder / ".filling"
    whole = True
    for entry in files:
        path = filling / entry["path"]
        if is_right(path, entry["sha256"]):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if is_right(folder / entry["path"], entry["sha256"]):
                shutil.copyfile(folder / entry["path"], path)
            else:
                fetch(entry["url"], entry["sha256"], path)
        except (OSError, ValueError, http.client.HTTPException) as error:
            whole = False
            print(f"{entry['path']}: {error}", flush=True)
    if whole:
        publish(filling / name, folder / name)
        print(f"{name}: filled", flush=True)
    return whole


def publish(new: Path, place: Path) -> None:
    """Puts a whole model in its place, and takes away what was there."""
    old = new.with_name(new.name + ".old")
    remove(old)
    if place.exists():
        place.rename(old)
    new.rename(place)
    remove(old)


def remove(path: Path) -> None:
    """A folder or a file; nothing if it isn't there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    # The first process of a container does not get a signal that it has no handler for.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    models: dict[str, list[dict[str, str]]] = {}
    for wanted in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["files"]:
        models.setdefault(wanted["path"].split("/")[0], []).append(wanted)
    done = [fill(name, files, Path(sys.argv[2])) for name, files in models.items()]
    sys.exit(0 if all(done) else 1)
