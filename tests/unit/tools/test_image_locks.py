"""What images install: every file by its digest, all that a process asks for, in the versions of the tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.image_locks import BUILD, IMAGES, LOCKS, OWN, ROOT, requirements
from tools.sbom import bill, locked


def lock(extra: str) -> str:
    return (LOCKS / f"{extra}.lock").read_text(encoding="utf-8")


@pytest.mark.parametrize("extra", [*IMAGES, BUILD])
def test_a_lock_has_a_digest_for_every_package_and_says_where_from_of_none(extra: str) -> None:
    found = locked(lock(extra))
    entries = [line for line in lock(extra).splitlines() if line and line[0] not in "# "]
    assert len(entries) == len(found)
    assert {name for name, (_, digests) in found.items() if not digests} == set()
    assert "://" not in lock(extra)
    assert found.keys().isdisjoint(OWN)


@pytest.mark.parametrize("extra", [*IMAGES, BUILD])
def test_a_lock_holds_all_that_is_asked_for_in_a_version_that_will_do(extra: str) -> None:
    found = locked(lock(extra))
    wrong = {}
    for text in requirements(extra):
        requirement = Requirement(text)
        version, _ = found.get(canonicalize_name(requirement.name), ("0", ()))
        if not requirement.specifier.contains(Version(version), prereleases=True):
            wrong[text] = version
    assert wrong == {}


@pytest.mark.parametrize("extra", IMAGES)
def test_images_run_the_versions_that_the_tests_run_with(extra: str) -> None:
    tested = dict(line.split("==") for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").split())
    tested = {canonicalize_name(name): version for name, version in tested.items()}
    found = locked(lock(extra))
    other = {name: version for name, (version, _) in found.items() if tested.get(name, version) != version}
    assert other == {}, "run `make lock`"
    assert ("torch" in found) == (extra == "worker")


def test_the_dockerfile_installs_nothing_else() -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    installs = [part for line in text.splitlines() for part in line.split("&&") if "pip install" in part]
    assert len(installs) == 5
    for install in installs:
        assert "--no-deps" in install
        assert ("--require-hashes" in install) != ("--no-index" in install)


def test_the_bill_of_an_image_names_each_package_with_its_digests(tmp_path: Path) -> None:
    document = json.loads(bill("gateway", lock("gateway")))
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    components = {each["name"]: each for each in document["components"]}
    assert components.keys() == locked(lock("gateway")).keys()
    grpcio = components["grpcio"]
    assert grpcio["purl"] == f"pkg:pypi/grpcio@{grpcio['version']}"
    assert {each["content"] for each in grpcio["hashes"]} == set(locked(lock("gateway"))["grpcio"][1])
    assert document["metadata"]["component"]["name"] == "fiveshot-gateway"
