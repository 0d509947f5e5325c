"""The client as others install it: its wheel, in an environment that holds what it depends on and nothing else."""

from __future__ import annotations

import re
import sys
import sysconfig
import venv
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

from tests.fakes.small_api import small_api
from tests.fixtures.processes import finished

SDK = Path(__file__).resolve().parents[3] / "sdk" / "python"
PROGRAM = """
import sys
import fiveshot
from fiveshot import Client, FiveshotError

with Client(sys.argv[1]) as fs:
    ds = fs.datasets.create("cat", trigger="sks")
    ds.upload(sys.argv[2])
    print([image.file_name for image in ds.images], ds.image_count)
    try:
        fs.models.get("toy")
    except FiveshotError as error:
        print(type(error).__name__, error.reason)
from fiveshot.pictures import opened
try:
    opened(b"")
except FiveshotError as error:
    print(error.reason, error.remedy)
print(fiveshot.__file__)
"""


def _needed(name: str, found: dict[str, list[Path]]) -> None:
    """Adds the files of a distribution, and of all that it needs, relative to site-packages."""
    if name not in found:
        held = distribution(name)
        found[name] = [Path(file) for file in held.files or [] if ".." not in file.parts]
        for text in held.requires or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                _needed(requirement.name, found)


def test_the_wheel_works_with_its_dependencies_alone(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    built = finished([*build, "--wheel-dir", tmp_path, SDK])
    assert built.returncode == 0, built.stderr[-2000:]
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(home), "platbase": str(home)}))
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
    installed = finished([*install, site, next(tmp_path.glob("fiveshot_client-*.whl"))])
    assert installed.returncode == 0, installed.stderr[-2000:]

    metadata = next(site.glob("fiveshot_client-*.dist-info")) / "METADATA"
    wanted = [Requirement(text) for text in re.findall("^Requires-Dist: (.+)$", metadata.read_text(), re.MULTILINE)]
    names = [each.name for each in wanted if each.marker is None]
    assert sorted(names) == ["googleapis-common-protos", "grpcio", "protobuf"]
    found: dict[str, list[Path]] = {}
    for name in names:
        _needed(name, found)
    for name, files in found.items():
        origin = Path(str(distribution(name).locate_file("")))
        for file in files:
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).symlink_to(origin / file)
    assert (site / "fiveshot" / "py.typed").exists()

    photo = tmp_path / "a.png"
    photo.write_bytes(b"x" * 1000)
    with small_api() as api:
        argv: list[str | Path] = [home / "bin" / "python", "-I", "-c", PROGRAM, api.address, str(photo)]
        ran = finished(argv, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "['a.png'] 1",
        "Unimplemented UNIMPLEMENTED",
        "PILLOW_MISSING Install it: pip install 'fiveshot-client[images]'.",
        str(site / "fiveshot" / "__init__.py"),
    ]
