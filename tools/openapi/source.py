"""The protos as descriptors, with their comments and with the options that a plain pool does not know."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from buf.validate import validate_pb2
from google.api import field_behavior_pb2, resource_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import Descriptor, EnumValueDescriptor, FieldDescriptor

PROTOS = Path(__file__).resolve().parents[2] / "protos"
Behaviour = field_behavior_pb2.FieldBehavior


class Source:
    """Every proto of ours. Comments are found by the full name of what they belong to."""

    def __init__(self) -> None:
        files = _compiled()
        self.pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            self.pool.Add(file)
        self.comments = {name: text for file in files.file for name, text in _comments(file)}
        self.patterns = [pattern for file in files.file for pattern in _resource_patterns(file)]

    def comment(self, described: Any) -> str:
        """What the protos say of a message, field, enum, method or service; "" when nothing."""
        return self.comments.get(described.full_name, "")

    def value_comment(self, value: EnumValueDescriptor) -> str:
        """What the protos say of one value of an enum."""
        return self.comments.get(f"{value.type.full_name}.{value.name}", "")


def rules(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """The field rules; empty when it has none."""
    found: validate_pb2.FieldRules = _field_options(field).Extensions[validate_pb2.field]
    return found


def behaves(field: FieldDescriptor, behaviour: int) -> bool:
    """Whether a field has such a `field_behavior`."""
    return behaviour in _field_options(field).Extensions[field_behavior_pb2.field_behavior]


def cel_messages(message: Descriptor) -> list[str]:
    """What must hold between a message's fields, in words."""
    options = descriptor_pb2.MessageOptions.FromString(message.GetOptions().SerializeToString())
    return [rule.message for rule in options.Extensions[validate_pb2.message].cel]


def _field_options(field: FieldDescriptor) -> descriptor_pb2.FieldOptions:
    # The pool makes an options class of its own, which does not know the extensions; the bytes do.
    return descriptor_pb2.FieldOptions.FromString(field.GetOptions().SerializeToString())


def _compiled() -> descriptor_pb2.FileDescriptorSet:
    ours = sorted(str(path.relative_to(PROTOS)) for path in (PROTOS / "fiveshot").rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "api.binpb"
        command = (
            sys.executable, "-m", "grpc_tools.protoc", "-I.", "--include_imports", "--include_source_info",
            f"--descriptor_set_out={target}", *ours,
        )  # fmt: skip
        done = subprocess.run(command, cwd=PROTOS, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr or done.stdout)
        return descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())


def _comments(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    """Full names with the comments before them."""
    for location in file.source_code_info.location:
        text = " ".join(location.leading_comments.split())
        if text and (name := _name_at(file, list(location.path))):
            yield f"{file.package}.{name}", text


def _name_at(file: descriptor_pb2.FileDescriptorProto, path: list[int]) -> str:
    """The name of what a path of numbers leads to; "" for a part that has none, such as an option."""
    at: Any = file
    names: list[str] = []
    while path:
        part = at.DESCRIPTOR.fields_by_number.get(path.pop(0))
        if part is None or not path or not part.is_repeated:
            return ""
        at = getattr(at, part.name)[path.pop(0)]
        if not hasattr(at, "name"):
            return ""
        names.append(at.name)
    return ".".join(names)


def _resource_patterns(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    for definition in file.options.Extensions[resource_pb2.resource_definition]:
        yield from definition.pattern
    for message in file.message_type:
        yield from message.options.Extensions[resource_pb2.resource].pattern
