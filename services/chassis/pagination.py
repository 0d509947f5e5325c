"""Pages of a list (https://google.aip.dev/158): opaque tokens that belong to one question.

A token holds the sort values of the last row, so a page costs the same however deep it lies and rows that come or go
meanwhile neither repeat nor hide others. It is signed together with the question it answers (method, parent, filter,
order): with another question it is refused instead of giving a wrong page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

from services.chassis.errors import InvalidArgument

Scalar = str | int | float | bool | None
_SIGNATURE_BYTES = 12


@dataclass(frozen=True)
class Page:
    """What to read: at most `limit` rows after `cursor` (the sort values of the previous page's last row)."""

    limit: int
    cursor: tuple[Scalar, ...] | None


class PageTokens:
    """Opens and makes page tokens. The key guards against mistakes, not attackers: a token grants nothing."""

    def __init__(self, key: bytes = b"fiveshot-page", *, default_size: int = 50, max_size: int = 1000) -> None:
        self._key = key
        self._default_size = default_size
        self._max_size = max_size

    def open(self, *, page_size: int, page_token: str, scope: str) -> Page:
        """The page that a request asks for. scope: the question, e.g. `ListImages|{parent}|{filter}|{order_by}`.

        page_size 0 is the default size and a larger one than the maximum is the maximum. Raises InvalidArgument for a
        negative size and for a token that is damaged or answers another question.
        """
        if page_size < 0:
            raise InvalidArgument("page_size is negative", field="page_size", remedy="Leave it 0 for the default.")
        limit = min(page_size or self._default_size, self._max_size)
        if not page_token:
            return Page(limit, None)
        try:
            raw = base64.urlsafe_b64decode(page_token.encode("ascii") + b"=" * (-len(page_token) % 4))
        except (ValueError, binascii.Error) as error:
            raise _refused("The page token is damaged") from error
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(body, scope)):
            raise _refused("The page token belongs to another request, or it is damaged")
        return Page(limit, tuple(json.loads(body)))

    def next(self, cursor: Sequence[Scalar], *, scope: str) -> str:
        """The token of the page after the row with these sort values. On the last page return "" instead."""
        body = json.dumps(list(cursor), separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._sign(body, scope) + body).decode("ascii").rstrip("=")

    def _sign(self, body: bytes, scope: str) -> bytes:
        return hmac.new(self._key, scope.encode() + b"\0" + body, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


def _refused(message: str) -> InvalidArgument:
    return InvalidArgument(
        message,
        field="page_token",
        reason="PAGE_TOKEN_INVALID",
        remedy="Keep parent, filter and order_by unchanged between pages, or start again without a token.",
    )
