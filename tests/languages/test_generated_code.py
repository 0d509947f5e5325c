"""Code that is generated from protos/ for Java and Go compiles, by the compilers and libraries that Debian 12 ships.

`make test-languages` fetches them into .languages/ without root; a JDK must be on the path. Long: minutes. Those
versions are years old, so what they compile, newer ones do.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.fixtures.processes import finished
from tools.protos import PROTOS, ROOT, sources

USR = ROOT / ".languages" / "usr"
GO = USR / "lib" / "go-1.19"
LIMIT_S = 900.0
# Of the vendored files, those that no runtime library of Go brings along; Java gets all of them.
VALIDATE = "buf/validate/validate.proto"
VENDORED = [
    str(path.relative_to(PROTOS)) for folder in ("buf", "google") for path in sorted((PROTOS / folder).rglob("*.proto"))
]
pytestmark = [
    pytest.mark.skipif(not (USR / "bin" / "protoc").exists(), reason="the compilers are not here: make test-languages"),
    pytest.mark.timeout(LIMIT_S * 3),
]


def _run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    libraries = {
        "LD_LIBRARY_PATH": str(next((USR / "lib").glob("*-linux-gnu"))),
        "PATH": f"{USR / 'bin'}:{os.environ['PATH']}",
    }
    done = finished(list(map(str, command)), cwd=cwd, env={**os.environ, **libraries, **(env or {})}, limit_s=LIMIT_S)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]


def _protoc(*arguments: str) -> None:
    # It brings the well-known types along, in the folder beside its own.
    _run(USR / "bin" / "protoc", "-I.", *arguments, cwd=PROTOS)


@pytest.mark.skipif(shutil.which("javac") is None, reason="there is no JDK here")
def test_java(tmp_path: Path) -> None:
    made, built = tmp_path / "generated", tmp_path / "built"
    made.mkdir()
    plugin = f"--plugin=protoc-gen-grpc-java={USR / 'bin' / 'grpc_java_plugin'}"
    _protoc(plugin, f"--java_out={made}", f"--grpc-java_out={made}", *sources(), *VENDORED)
    jars = os.pathsep.join(map(str, sorted((USR / "share" / "java").glob("*.jar"))))
    files = tmp_path / "files"
    files.write_text("\n".join(map(str, made.rglob("*.java"))))
    _run("javac", "-proc:none", "-nowarn", "-d", built, "-cp", jars, f"@{files}", cwd=made)
    classes = {path.stem for path in (built / "dev" / "fiveshot").rglob("*.class")}
    assert {"TrainingServiceGrpc", "TrainingJob", "DatasetServiceGrpc", "ModelVersion"} <= classes


def test_go(tmp_path: Path) -> None:
    code = tmp_path / "src"
    shutil.copytree(USR / "share" / "gocode" / "src", code)
    _protoc(f"--go_out={code}", f"--go-grpc_out={code}", *sources(), VALIDATE)
    environment = {
        "GO111MODULE": "off", "GOPATH": str(tmp_path), "GOROOT": str(GO), "GOCACHE": str(tmp_path / "cache"),
        "GOFLAGS": "",
    }  # fmt: skip
    _run(GO / "bin" / "go", "build", "./...", cwd=code / "fiveshot.dev", env=environment)
