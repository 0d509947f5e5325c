"""Generates the Python code of the protos and the OpenAPI document, and lints and compares them. Works offline.

    python -m tools.protos generate        writes the stubs into sdk/python/src, beside the client, and the document
    python -m tools.protos check           fails when they are not what generate would write
    python -m tools.protos lint            buf lint, and buf breaking against the golden descriptor
    python -m tools.protos format          buf format, in place

protos/ holds every import as a file (protos/buf, protos/google), so that any protoc or buf compiles a checkout.
"""

from __future__ import annotations

import filecmp
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
GENERATED = ROOT / "sdk" / "python" / "src"
GOLDEN = ROOT / "tests" / "golden" / "fiveshot_api.binpb"
DESCRIPTOR = "fiveshot/fiveshot_descriptor.binpb"


def sources() -> list[str]:
    """Every proto of ours, relative to protos/."""
    return sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "fiveshot").rglob("*.proto"))


def protoc(*arguments: str) -> None:
    """Runs the protoc of grpcio-tools with the protobuf and googleapis include folders."""
    command = [sys.executable, "-m", "grpc_tools.protoc", *arguments]
    done = subprocess.run(command, cwd=PROTOS, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr or done.stdout)


def generate(target: Path) -> None:
    """Writes messages, services, type stubs and the descriptor set that feeds the JSON transcoder to `target`."""
    target.mkdir(parents=True, exist_ok=True)
    bins = Path(sys.executable).parent
    common = (
        "-I.",
        f"--plugin=protoc-gen-mypy={bins / 'protoc-gen-mypy'}",
        f"--plugin=protoc-gen-mypy_grpc={bins / 'protoc-gen-mypy_grpc'}",
    )
    protoc(*common, f"--python_out={target}", f"--mypy_out={target}", *sources(), "buf/validate/validate.proto")
    services = [source for source in sources() if source.endswith("_service.proto")]
    protoc(*common, f"--grpc_python_out={target}", f"--mypy_grpc_out={target}", *services)
    (target / DESCRIPTOR).parent.mkdir(parents=True, exist_ok=True)
    protoc(*common, "--include_imports", f"--descriptor_set_out={target / DESCRIPTOR}", *sources())
    for stub in stubs(target):
        for folder in stub.relative_to(target).parents[:-1]:
            (target / folder / "__init__.py").touch()


def stubs(base: Path) -> list[Path]:
    """The generated files below a folder, which may hold others."""
    return sorted(path for pattern in ("*_pb2*.py", "*_pb2*.pyi", "*.binpb") for path in base.rglob(pattern))


def differences(left: Path, right: Path) -> list[str]:
    """Relative paths of generated files that differ between two folders, or exist in one only."""
    ours, theirs = ({str(path.relative_to(base)) for path in stubs(base)} for base in (left, right))
    changed = {name for name in ours & theirs if not filecmp.cmp(left / name, right / name, shallow=False)}
    return sorted((ours ^ theirs) | changed)


def check() -> None:
    """Generates afresh and compares with what is checked in."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "gen"
        generate(fresh)
        stale = differences(fresh, GENERATED)
    if stale:
        raise SystemExit("The stubs in sdk/python/src are stale; run `make protos`. Differs: " + ", ".join(stale))
    _openapi()


def generate_in_place() -> None:
    """Writes the stubs, then the OpenAPI document, which is made with them."""
    generate(GENERATED)
    _openapi("--write")


def _openapi(*arguments: str) -> None:
    # Another process: it must see the stubs as they are now.
    done = subprocess.run([sys.executable, "-m", "tools.openapi", *arguments], cwd=ROOT, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def lint() -> None:
    """Lints with buf; compares with the golden descriptor so that no change breaks a caller unnoticed."""
    buf = str(Path(sys.executable).parent / "buf")
    commands = [[buf, "lint"], [buf, "format", "--path", "protos/fiveshot", "--diff", "--exit-code"]]
    if GOLDEN.exists():
        commands.append([buf, "breaking", "--against", str(GOLDEN)])
    done = [subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False) for command in commands]
    failures = [one.stdout + one.stderr for one in done if one.returncode]
    if failures:
        raise SystemExit("\n".join(failures))


def format_in_place() -> None:
    """Formats every proto as buf does."""
    buf = str(Path(sys.executable).parent / "buf")
    subprocess.run([buf, "format", str(ROOT), "--path", str(PROTOS / "fiveshot"), "-w"], check=True)


def accept() -> None:
    """Makes today's API the golden one."""
    GOLDEN.parent.mkdir(parents=True, exist_ok=True)
    GOLDEN.write_bytes((GENERATED / DESCRIPTOR).read_bytes())


def main() -> None:
    commands = {
        "generate": generate_in_place,
        "check": check,
        "lint": lint,
        "format": format_in_place,
        "accept": accept,
    }
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        raise SystemExit(f"usage: python -m tools.protos {'|'.join(commands)}")
    commands[sys.argv[1]]()


if __name__ == "__main__":
    main()
