"""The protos compile from a checkout with stock tools: every import is a file there, each language has its package."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet

from tests.fixtures.processes import finished
from tools.protos import PROTOS, sources


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> FileDescriptorSet:
    """What protoc makes of the folder protos/ with no other include path than its own well-known types."""
    target = tmp_path_factory.mktemp("protos") / "api.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--include_imports", f"--descriptor_set_out={target}"]
    compiling = finished([*command, *sources()], cwd=PROTOS)
    assert compiling.returncode == 0, compiling.stderr
    return FileDescriptorSet.FromString(target.read_bytes())


def test_every_import_lies_in_the_checkout(compiled: FileDescriptorSet) -> None:
    imported = {file.name for file in compiled.file if not file.name.startswith("google/protobuf/")}
    assert {name for name in imported if not (PROTOS / name).is_file()} == set()


def test_a_vendored_proto_comes_with_its_licence() -> None:
    for folder in ("buf", "google"):
        assert "Apache License" in (PROTOS / folder / "LICENSE").read_text()


def test_each_language_has_its_package_name(compiled: FileDescriptorSet) -> None:
    ours = [file for file in compiled.file if file.name.startswith("fiveshot/")]
    assert len(ours) == len(sources())
    for file in ours:
        _, service, version, name = Path(file.name).parts
        options = file.options
        assert options.go_package == f"fiveshot.dev/api/{service}/{version};{service}{version}"
        assert options.java_package == f"dev.fiveshot.{service}.{version}"
        assert options.java_multiple_files
        assert options.java_outer_classname == "".join(w.capitalize() for w in name[:-6].split("_")) + "Proto"
        assert options.csharp_namespace == f"Fiveshot.{service.capitalize()}.{version.upper()}"
