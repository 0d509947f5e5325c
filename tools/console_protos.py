"""Generates the console's TypeScript from the protos: `python -m tools.console_protos` writes gateway/console/src/gen.

What a browser need not know is left out first: field rules, HTTP paths and other options, the internal services and
comments. That halves what the page loads.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from google.protobuf.compiler import plugin_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

from gateway.envoy_filters import api_descriptors
from tools.protos import ROOT

CONSOLE = ROOT / "gateway" / "console"
TARGET = CONSOLE / "src" / "gen"
_PLUGIN = CONSOLE / "node_modules" / ".bin" / "protoc-gen-es"
_LEFT_OUT = ("buf/", "google/api/annotations", "google/api/client", "google/api/field", "google/api/http.proto",
             "google/api/resource", "google/api/launch", "fiveshot/gateway/", "fiveshot/trainer/v1/worker_service",
             "google/protobuf/descriptor")  # fmt: skip


def stripped() -> FileDescriptorSet:
    """The API's files without what only servers read."""
    kept = FileDescriptorSet()
    for file in api_descriptors().file:
        if not file.name.startswith(_LEFT_OUT):
            kept.file.add().CopyFrom(_bare(file))
    return kept


def _bare(file: FileDescriptorProto) -> FileDescriptorProto:
    file = FileDescriptorProto.FromString(file.SerializeToString())
    left = [name for name in file.dependency if not name.startswith(_LEFT_OUT)]
    del file.dependency[:]
    file.dependency.extend(left)
    file.ClearField("public_dependency")
    file.ClearField("source_code_info")
    file.ClearField("options")
    for message in file.message_type:
        _bare_message(message)
    for service in file.service:
        service.ClearField("options")
        for method in service.method:
            method.ClearField("options")
    return file


def _bare_message(message: DescriptorProto) -> None:
    if not message.options.map_entry:
        message.ClearField("options")
    for field in message.field:
        field.ClearField("options")
    for oneof in message.oneof_decl:
        oneof.ClearField("options")
    for inner in message.nested_type:
        _bare_message(inner)


def main() -> None:
    """Writes the files anew."""
    if not _PLUGIN.exists():
        sys.exit(f"{_PLUGIN.name} is missing; run `npm ci` in {CONSOLE.relative_to(ROOT)} first")
    files = stripped()
    wanted = [file.name for file in files.file if not file.name.startswith("google/protobuf/")]
    request = plugin_pb2.CodeGeneratorRequest(file_to_generate=wanted, parameter="target=ts", proto_file=files.file)
    done = subprocess.run([_PLUGIN], input=request.SerializeToString(), capture_output=True, check=True)
    answer = plugin_pb2.CodeGeneratorResponse.FromString(done.stdout)
    if answer.error:
        sys.exit(answer.error)
    shutil.rmtree(TARGET, ignore_errors=True)
    for made in answer.file:
        path = TARGET / made.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made.content, encoding="utf-8")


if __name__ == "__main__":
    main()
