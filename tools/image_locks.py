"""What each image installs, with the digest of every file that may be installed: deploy/locks/EXTRA.lock.

    python -m tools.image_locks          writes them; needs the network and uv (`make lock` brings it)

The versions are those of requirements.lock, where it names them; the worker's lock adds what torch brings along on
Linux. Our own two packages are built from the checkout, so they stand in none.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCKS = ROOT / "deploy" / "locks"
IMAGES = ("dataset", "tagger", "trainer", "registry", "notifier", "gateway", "worker")
"""The extras that are images."""
BUILD = "build"
"""The lock of what builds our own wheels."""
OWN = ("fiveshot", "fiveshot-client")
_HEADER = "# Made by `make lock`. pip installs these files and no others: --require-hashes --no-deps.\n"
# Images run on Linux alone; either processor may come.
_PROJECT = """\
[project]
name = "image"
version = "0"
requires-python = ">=3.11,<3.12"
dependencies = {requirements}

[tool.uv]
environments = ["sys_platform == 'linux'"]
"""


def requirements(extra: str) -> list[str]:
    """What the project asks for with this extra, its own packages' requirements instead of the packages."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if extra == BUILD:
        return list(document["build-system"]["requires"])
    project = document["project"]
    client = tomllib.loads((ROOT / "sdk" / "python" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *client["dependencies"], f"fiveshot[{extra}]"]
    return sorted(set(_expanded(asked, project["optional-dependencies"])))


def _expanded(asked: list[str], extras: dict[str, list[str]]) -> Iterator[str]:
    for text in asked:
        requirement = Requirement(text)
        if requirement.name not in OWN:
            yield text
        for extra in requirement.extras if requirement.name == "fiveshot" else ():
            yield from _expanded(extras[extra], extras)


def resolved(extra: str) -> str:
    """The lock of one image. Raises CalledProcessError, whose `stderr` says why there is none."""
    uv = Path(sys.executable).with_name("uv")
    with tempfile.TemporaryDirectory() as place:
        asked = Path(place) / "pyproject.toml"
        asked.write_text(_PROJECT.format(requirements=json.dumps(requirements(extra))), encoding="utf-8")
        command: list[str | Path] = [
            uv, "pip", "compile", asked, "--universal", "--generate-hashes", "--no-header", "--no-annotate", "--quiet",
            "--constraints", ROOT / "requirements.lock",
        ]  # fmt: skip
        run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=place)
    return _HEADER + str(run.stdout)


def main() -> None:
    """Writes all of them."""
    LOCKS.mkdir(exist_ok=True)
    for extra in (*IMAGES, BUILD):
        (LOCKS / f"{extra}.lock").write_text(resolved(extra), encoding="utf-8")


if __name__ == "__main__":
    main()
