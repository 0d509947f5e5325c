"""What makes a repeated request recognisable.

The digests are stored, so what they are made of stays as it is: `tests/unit/test_request_digests.py` pins them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from services.chassis.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Identifies a request. request_id: the caller's, "" when it may not be repeated. digest: of what it asks for."""

    project: str
    method: str
    request_id: str
    digest: str

    def check_same(self, digest: str) -> None:
        """Raises InvalidArgument(reason=REQUEST_ID_REUSED) unless the request remembered under this id was this one."""
        if digest != self.digest:
            raise InvalidArgument(
                "This request_id was used for a different request",
                field="request_id",
                reason="REQUEST_ID_REUSED",
                remedy="Use a new random request_id (a UUID) for every new request.",
            )


def digest(*parts: object) -> str:
    """A digest of plain values: strings, bytes, numbers, tuples and frozen dataclasses, by their `repr`."""
    return hashlib.sha256("\0".join(repr(part) for part in parts).encode()).hexdigest()


def digest_of_bytes(body: bytes) -> str:
    """A digest of a request as it travels, without its request_id."""
    return hashlib.sha256(body).hexdigest()
