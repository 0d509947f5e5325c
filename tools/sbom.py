"""The bill of materials of an image, made of its lock: CycloneDX 1.6 as JSON.

    python -m tools.sbom FOLDER          writes FOLDER/EXTRA.cdx.json for every image

Our own package is the subject; its components are what the lock names, with the digests of the files. The base image
(Debian and Python) has a bill of its own, which the registry it comes from gives.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.dependency import Dependency
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from tools.image_locks import IMAGES, LOCKS, ROOT

_PINNED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^]]*\])?==(?P<version>[^ ;]+)(?: ; (?P<marker>[^\\]*))?")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def locked(text: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Version and digests of each package of a lock, by its canonical name."""
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for entry in text.replace("\\\n", " ").splitlines():
        if pinned := _PINNED.match(entry):
            found[canonicalize_name(pinned["name"])] = (pinned["version"], tuple(_HASH.findall(entry)))
    return found


def bill(extra: str, lock: str) -> str:
    """The JSON of one image."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    subject = Component(
        name=f"{project['name']}-{extra}",
        version=project["version"],
        type=ComponentType.CONTAINER,
        bom_ref=f"{project['name']}-{extra}",
    )
    bom = Bom()
    bom.metadata.component = subject
    for name, (version, digests) in locked(lock).items():
        url = PackageURL("pypi", None, name, version)
        hashes = [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests]
        bom.components.add(Component(name=name, version=version, purl=url, bom_ref=str(url), hashes=hashes))
    bom.dependencies.add(Dependency(subject.bom_ref, [Dependency(each.bom_ref) for each in bom.components]))
    bom.dependencies.update(Dependency(each.bom_ref) for each in bom.components)
    text: str = JsonV1Dot6(bom).output_as_string(indent=1)
    return text


def main() -> None:
    """Writes all of them."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for extra in IMAGES:
        lock = (LOCKS / f"{extra}.lock").read_text(encoding="utf-8")
        (folder / f"{extra}.cdx.json").write_text(bill(extra, lock), encoding="utf-8")


if __name__ == "__main__":
    main()
