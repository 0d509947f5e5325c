"""The HTTP rules of the API, from its descriptors: which method a JSON call means, and what its body stands for."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import resources
from urllib.parse import unquote

from google.api import annotations_pb2
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodOptions

_VARIABLE = re.compile(r"\{([a-z_.]+)(?:=([^}]*))?\}")
_BYTES = "google.api.HttpBody"


@dataclass(frozen=True)
class HttpRule:
    """One way to call a method.

    verb: `POST`. template: as in the proto. body: field of the request that the body fills, `*` for all that the path
    leaves, "" for none.
    """

    method: MethodDescriptor
    verb: str
    template: str
    body: str

    @property
    def variables(self) -> tuple[str, ...]:
        """Fields of the request that the path sets, `dataset.name`."""
        return tuple(found[1] for found in _VARIABLE.finditer(self.template))

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the whole path of a call, without its query; a group for each variable.

        Envoy's transcoder passes over slashes at the end, so whoever decides by the path must too.
        """
        return re.compile(_regex(self.template) + "/*")

    def values(self, path: str) -> dict[str, str]:
        """What a path that matches sets: the resource names by the fields of the request."""
        found = self.pattern.fullmatch(path)
        assert found is not None, "a path of another method"
        return dict(zip(self.variables, map(unquote, found.groups()), strict=True))

    @property
    def body_message(self) -> Descriptor | None:
        """The message that the body is; None when it takes no message."""
        if self.body in ("", "*"):
            return self.method.input_type if self.body else None
        found: Descriptor | None = self.method.input_type.fields_by_name[self.body].message_type
        return found

    @property
    def takes_bytes(self) -> bool:
        """Whether the body is a file as it is, not JSON."""
        return self.body_message is not None and self.body_message.full_name == _BYTES


def api_files() -> FileDescriptorSet:
    """The descriptors of the whole API, with all that they import."""
    source = resources.files("fiveshot").joinpath("fiveshot_descriptor.binpb")
    return FileDescriptorSet.FromString(source.read_bytes())


def downloads_of(service: str) -> list[str]:
    """The methods of a service that send a file, as messages or as a raw body."""
    return [
        method.name
        for file in api_files().file
        for each in file.service
        if f"{file.package}.{each.name}" == service
        for method in each.method
        if method.server_streaming and (method.name.startswith("Download") or method.output_type == f".{_BYTES}")
    ]


def http_rules(services: Iterable[str]) -> list[HttpRule]:
    """The rules of these services, given by full name."""
    pool = descriptor_pool.DescriptorPool()
    for file in api_files().file:
        pool.Add(file)
    return [
        rule for service in services for method in pool.FindServiceByName(service).methods for rule in _rules(method)
    ]


def _rules(method: MethodDescriptor) -> Iterator[HttpRule]:
    # The pool makes an options class of its own, which does not know the extension; the bytes do.
    options = MethodOptions.FromString(method.GetOptions().SerializeToString())
    declared = options.Extensions[annotations_pb2.http]
    for rule in (declared, *declared.additional_bindings):
        verb = rule.WhichOneof("pattern")
        if verb and verb != "custom":
            yield HttpRule(method, verb.upper(), getattr(rule, verb), rule.body)


def _regex(template: str) -> str:
    parts, at = [], 0
    for found in _VARIABLE.finditer(template):
        parts.append(re.escape(template[at : found.start()]))
        parts.append("(" + "/".join(_segment(each) for each in (found[2] or "*").split("/")) + ")")
        at = found.end()
    parts.append(re.escape(template[at:]))
    return "".join(parts)


def _segment(text: str) -> str:
    # A verb follows a colon, so an id holds none.
    return {"*": "[^/:]+", "**": "[^:]+"}.get(text, re.escape(text))
