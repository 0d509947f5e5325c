"""What parent and child say to each other: a JSON head, and bytes in a memory file that travels with it.

Nothing is pickled: a child that a picture has taken over can send nothing that its parent would run.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from services.chassis.errors import DomainError, FieldViolation, InvalidArgument

_LENGTH = struct.Struct(">I")
_MAX_HEAD = 64 * 1024
_STEP = 4 * 1024 * 1024


class Broken(Exception):
    """The other side has gone, or what it sent is no message."""


@dataclass(frozen=True)
class Message:
    """head: facts. body: an open file with the bytes, which the receiver closes; -1 when there is none."""

    head: dict[str, Any]
    body: int = -1

    def take(self, size: int) -> bytes:
        """The first `size` bytes of the body, which is then closed. Raises Broken when it has fewer."""
        if self.body < 0:
            raise Broken("the body is missing")
        try:
            # Read and not mapped: the other side could shorten a mapped file under its reader.
            if not 0 <= size <= os.lseek(self.body, 0, os.SEEK_END):
                raise Broken("the body is shorter than its head says")
            data = os.pread(self.body, size, 0)
            if len(data) != size:
                raise Broken("the body is shorter than its head says")
            return data
        finally:
            os.close(self.body)


def memory_file(parts: Iterable[bytes]) -> int:
    """An open file in memory that holds the parts one after the other."""
    file = os.memfd_create("picture", os.MFD_CLOEXEC) if hasattr(os, "memfd_create") else _temporary_file()
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(file, view[:_STEP]) :]
    except BaseException:
        os.close(file)
        raise
    return file


def send(connection: socket.socket, message: Message) -> None:
    """Sends a message; its body stays open here. Raises OSError."""
    head = json.dumps(message.head).encode()
    framed = _LENGTH.pack(len(head)) + head
    sent = socket.send_fds(connection, [framed], [message.body] if message.body >= 0 else [])
    if sent < len(framed):
        connection.sendall(framed[sent:])


def receive(connection: socket.socket) -> Message:
    """The next message. Raises Broken, and OSError (TimeoutError among them)."""
    data, files, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
    body = files[0] if files else -1
    try:
        while len(data) < _LENGTH.size:
            data += _some(connection, _LENGTH.size - len(data))
        length = _LENGTH.unpack(data)[0]
        if length > _MAX_HEAD:
            raise Broken("the head is too long")
        head = b""
        while len(head) < length:
            head += _some(connection, length - len(head))
        facts = json.loads(head)
        if not isinstance(facts, dict):
            raise Broken("the head is no object")
    except ValueError as error:
        _close(body)
        raise Broken("the head is no JSON") from error
    except BaseException:
        _close(body)
        raise
    return Message(facts, body)


def refusal(error: DomainError) -> dict[str, Any]:
    """An error as facts of a head."""
    return {
        "message": error.message,
        "reason": error.reason,
        "remedy": error.remedy,
        "metadata": error.metadata,
        "violations": [[violation.field, violation.description] for violation in error.violations],
    }


def refused(facts: dict[str, Any]) -> InvalidArgument:
    """The error behind such facts. A picture can be refused for nothing but what it is."""
    return InvalidArgument(
        str(facts["message"]),
        reason=str(facts["reason"]),
        remedy=str(facts["remedy"]),
        metadata={str(key): str(value) for key, value in facts["metadata"].items()},
        violations=[FieldViolation(str(field), str(text)) for field, text in facts["violations"]],
    )


def _some(connection: socket.socket, size: int) -> bytes:
    data = connection.recv(size)
    if not data:
        raise Broken("the other side has gone")
    return data


def _close(file: int) -> None:
    if file >= 0:
        os.close(file)


def _temporary_file() -> int:
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
