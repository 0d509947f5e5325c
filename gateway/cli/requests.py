"""Every create and every move carries a request_id, so that it can be sent again when its answer was lost.

Calls with one request are repeated by gRPC (`session.py`). It keeps only 256 KiB of a stream, so uploads are repeated
here.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

T = TypeVar("T")
ATTEMPTS = 4
PAUSE_S = 0.5


def new_request_id() -> str:
    """An id that no other request has."""
    return f"cli-{uuid.uuid4()}"


def with_request_id(request: Message) -> Message:
    """The request, with a new id if its message has the field and the caller gave none."""
    message: Any = request
    if "request_id" in request.DESCRIPTOR.fields_by_name and not message.request_id:
        message.request_id = new_request_id()
    return request


def repeated(call: Callable[[], T]) -> T:
    """What a call answers; a call whose line broke is made again, four times in all. It must carry its request_id."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except grpc.RpcError as error:
            if attempt == ATTEMPTS or getattr(error, "code", lambda: None)() is not grpc.StatusCode.UNAVAILABLE:
                raise
            time.sleep(PAUSE_S * attempt)
    raise AssertionError
