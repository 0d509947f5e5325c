"""What the images hold: each process finds all that it imports in its extra, and no service has torch."""

from __future__ import annotations

import re
import sys
import tomllib
import zipfile
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.fixtures.processes import finished
from tests.integration.deploy.manifests import DEPLOY, ROOT

SDK = ROOT / "sdk" / "python"

# Module → extra of its image.
IMAGES = {
    "services.dataset.app": "dataset",
    "services.tagger.app": "tagger",
    "services.trainer.app": "trainer",
    "services.registry.app": "registry",
    "services.notifier.app": "notifier",
    "gateway.app": "gateway",
    "gateway.envoy_config": "gateway",
    "services.chassis.health_probe": "gateway",
    "services.trainer.worker.app": "worker",
}
# Hides, in a fresh interpreter, every module that the image would not have.
IMPORT_WITHOUT = """
import importlib, sys
from importlib.machinery import PathFinder

module, *absent = sys.argv[1:]

class Image(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else PathFinder.find_spec(name, path, target)

sys.meta_path = [Image if finder is PathFinder else finder for finder in sys.meta_path]
importlib.import_module(module)
"""


@cache
def distributions_of(extra: str) -> frozenset[str]:
    """Canonical names of all distributions that `fiveshot[extra]` installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    waiting = [Requirement(text) for text in (*project["dependencies"], *extras[extra])]
    found: set[tuple[str, str]] = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for part in ("", *requirement.extras):
            if (name, part) in found:
                continue
            found.add((name, part))
            if name == "fiveshot":
                waiting += [Requirement(text) for text in extras[part]] if part else []
            else:
                waiting += [Requirement(text) for text in _required(name) if _wanted(Requirement(text), part)]
    return frozenset(name for name, _ in found)


def _required(name: str) -> list[str]:
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:
        # For another platform or another variant (CUDA's libraries): nothing here imports it.
        return []


def _wanted(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


@pytest.mark.parametrize(("module", "extra"), IMAGES.items())
def test_a_process_imports_only_what_its_image_has(module: str, extra: str) -> None:
    present = distributions_of(extra) | {"fiveshot"}
    absent = [
        package
        for package, owners in packages_distributions().items()
        if not {canonicalize_name(owner) for owner in owners} & present
    ]
    assert "pytest" in absent
    run = finished(
        [sys.executable, "-c", IMPORT_WITHOUT, module, *absent], cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{SDK / 'src'}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]


def test_torch_is_in_the_workers_image_alone() -> None:
    with_torch = {extra for extra in set(IMAGES.values()) if "torch" in distributions_of(extra)}
    assert with_torch == {"worker"}


def test_an_image_obeys_sigterm_from_its_first_moment() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    starts = re.findall(r"^ENTRYPOINT (.+)$", text, re.MULTILINE)
    assert starts == ['["python", "-m", "services.chassis.launch"]'] * 2


def test_the_dockerfile_passes_its_linter() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    run = finished([linter, DEPLOY / "Dockerfile"])
    assert run.returncode == 0, run.stdout + run.stderr


def test_what_the_dockerfile_copies_is_in_its_context() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    sources = [
        source for words in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE) for source in words.split()[:-1]
    ]
    allowed = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert sorted(set(sources)) == sorted(line.removeprefix("!") for line in allowed if line.startswith("!"))
    for source in sources:
        assert (ROOT / source).exists(), source
    assert text.count("USER 65532:65532") == 2


def test_the_wheel_in_the_images_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    run = finished([*build, "--wheel-dir", tmp_path, SDK, ROOT])
    assert run.returncode == 0, run.stderr[-2000:]
    packed = _files(tmp_path, "fiveshot-[0-9]*.whl"), _files(tmp_path, "fiveshot_client-*.whl")
    folders = {ROOT: ("services", "gateway"), SDK / "src": ("fiveshot", "buf")}
    wanted = {
        str(path.relative_to(root))
        for root, names in folders.items()
        for name in names
        for path in (root / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }
    # Of the console, what browsers get; its sources stay in the checkout.
    console = {name for name in wanted if name.startswith("gateway/console/")}
    built = {name for name in console if name.startswith("gateway/console/dist/")}
    wanted -= console - built
    assert "gateway/console/dist/index.html" in built
    assert not packed[0] & (console - built)
    assert "fiveshot/fiveshot_descriptor.binpb" in wanted
    assert wanted - packed[0] - packed[1] == set()
    tops = [{name.split("/")[0] for name in names if ".dist-info/" not in name} for names in packed]
    assert tops == [{"services", "gateway"}, {"fiveshot", "buf"}]


def _files(folder: Path, pattern: str) -> set[str]:
    with zipfile.ZipFile(next(folder.glob(pattern))) as wheel:
        return set(wheel.namelist())
