"""A list of the API: its fields and orders, and pages of it (https://google.aip.dev/132, https://google.aip.dev/158).

A page token holds the sort values of the last row shown, so a page costs the same however deep it lies, and rows that
come or go meanwhile neither repeat nor hide others. It is signed together with the question that it answers (method,
parent, filter, order): with another question it is refused instead of giving a wrong page.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar

from services.chassis.errors import InvalidArgument, refuse_all
from services.chassis.listing.fields import Field, proto_name
from services.chassis.listing.filters import EVERYTHING, Filter, parse_filter

T = TypeVar("T")

SortValue = str | int | datetime
_SIGNATURE_BYTES = 12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Order:
    """One sort key."""

    field: str
    descending: bool = False


@dataclass(frozen=True)
class ListRequest:
    """A list call as it came; filter and order_by are empty where the method has none."""

    parent: str
    page_size: int = 0
    page_token: str = ""
    filter: str = ""
    order_by: str = ""


@dataclass(frozen=True)
class Query:
    """What a store is asked for: at most `limit` rows that pass the filter and lie behind the cursor in this order.

    orders: the last one is the list's key, which no two rows share. cursor: a sort value for each order, those of the
    last row shown; None for the first page.
    """

    filter: Filter
    orders: tuple[Order, ...]
    limit: int
    cursor: tuple[SortValue, ...] | None = None


class PageTokens:
    """Signs page tokens and knows its own. key: the deployment's secret; None makes one that ends with the process."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(32)

    def seal(self, values: Sequence[str | int], *, scope: str) -> str:
        """The token for these values. scope: the question that they belong to."""
        body = json.dumps(list(values), separators=(",", ":"), ensure_ascii=False).encode()
        return base64.urlsafe_b64encode(self._sign(body, scope) + body).decode("ascii").rstrip("=")

    def unseal(self, token: str, *, scope: str) -> list[Any]:
        """The values of a token of this scope. Raises InvalidArgument(field="page_token") for any other text."""
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4))
        except ValueError as error:
            raise _refused("The page token is damaged") from error
        signature, body = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._sign(body, scope)):
            raise _refused("The page token belongs to another request, or it is damaged")
        try:
            values = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise _refused("The page token is damaged") from error
        return values if isinstance(values, list) else []

    def _sign(self, body: bytes, scope: str) -> bytes:
        return hmac.new(self._key, scope.encode() + b"\0" + body, hashlib.sha256).digest()[:_SIGNATURE_BYTES]


class Listing(Generic[T]):
    """One list of the API. A module makes it once; nothing in it depends on a deployment.

    method: its rpc. fields: what it can be filtered by. sortable: what callers can sort by, with the types of the
    values. key: the unique field that breaks ties, with its type. default_order: where callers give none; empty for the
    key alone. read: the value of a field of a resource.
    """

    def __init__(
        self,
        method: str,
        *,
        fields: Mapping[str, Field] | None = None,
        sortable: Mapping[str, type[SortValue]],
        key: tuple[str, type[SortValue]],
        default_order: Sequence[Order] = (),
        read: Callable[[T, str], Any] = getattr,
        default_size: int = 50,
        max_size: int = 1000,
    ) -> None:
        self.fields = dict(fields or {})
        self.read = read
        self._method = method
        self._sortable = tuple(sortable)
        self._key = key[0]
        self._types = {**sortable, key[0]: key[1]}
        self._default_order = tuple(default_order)
        self._default_size = default_size
        self._max_size = max_size

    def open(self, request: ListRequest, tokens: PageTokens) -> Asked[T]:
        """The question of a call. Raises InvalidArgument for all that is wrong of page_size, filter and order_by,
        or for the page_token.

        page_size 0 is the default size, and a larger one than the maximum is the maximum.
        """
        wrong: list[InvalidArgument] = []
        if request.page_size < 0:
            wrong.append(
                InvalidArgument("page_size is negative", field="page_size", remedy="Leave it 0 for the default.")
            )
        parsed: Filter = EVERYTHING
        orders = self._default_order
        try:
            parsed = parse_filter(request.filter, self.fields, parent=request.parent)
        except InvalidArgument as error:
            wrong.append(error)
        try:
            orders = self.orders(request.order_by)
        except InvalidArgument as error:
            wrong.append(error)
        refuse_all(wrong)
        size = min(request.page_size or self._default_size, self._max_size)
        scope = f"{self._method}|{request.parent}|{request.filter.strip()}|{request.order_by.strip()}"
        cursor = None
        if request.page_token:
            cursor = self._cursor(tokens.unseal(request.page_token, scope=scope), orders)
        # One row more than is shown tells whether another page follows.
        return Asked(self, Query(parsed, orders, size + 1, cursor), tokens, scope)

    def orders(self, order_by: str = "") -> tuple[Order, ...]:
        """`create_time desc, display_name` as sort keys, the list's own key last. Raises InvalidArgument."""
        orders = [self._order(part) for part in order_by.split(",")] if order_by.strip() else [*self._default_order]
        named = [order.field for order in orders]
        repeated = next((field for field in named if named.count(field) > 1), None)
        if repeated is not None:
            raise _wrong_order(f"{repeated} appears twice", "Name every field once.")
        if self._key not in named:
            orders.append(Order(self._key, orders[-1].descending if orders else False))
        return tuple(orders)

    def sort_values(self, item: T, orders: Sequence[Order]) -> tuple[SortValue, ...]:
        """Where a resource stands in this order."""
        return tuple(self._sort_value(item, order.field) for order in orders)

    def _sort_value(self, item: T, name: str) -> SortValue:
        value: SortValue = self.read(item, name)
        field = self.fields.get(name)
        folds = field is not None and field.fold is not None and isinstance(value, str)
        return field.fold(value) if folds else value  # type: ignore[union-attr,misc,arg-type]

    def _order(self, text: str) -> Order:
        words = text.split()
        words[:1] = [proto_name(word) for word in words[:1]]
        if not words or words[0] not in self._sortable or len(words) > 2 or words[1:] not in ([], ["asc"], ["desc"]):
            raise _wrong_order(
                f"'{text.strip()[:100]}' is not a sort key",
                f"Use FIELD or FIELD desc, with {', '.join(sorted(self._sortable))}.",
            )
        return Order(words[0], words[1:] == ["desc"])

    def _cursor(self, values: Sequence[Any], orders: Sequence[Order]) -> tuple[SortValue, ...]:
        if len(values) != len(orders):
            raise _refused("The page token is damaged")
        return tuple(_decoded(value, self._types[order.field]) for value, order in zip(values, orders, strict=True))


@dataclass(frozen=True)
class Asked(Generic[T]):
    """A question to a list: give `query` to the store, and what it finds to `answer`."""

    listing: Listing[T]
    query: Query
    tokens: PageTokens
    scope: str

    def answer(self, found: Sequence[T]) -> tuple[list[T], str]:
        """What is shown of the rows found, and the token of the next page, "" on the last."""
        shown = list(found[: self.query.limit - 1])
        if len(found) < self.query.limit:
            return shown, ""
        values = self.listing.sort_values(shown[-1], self.query.orders)
        return shown, self.tokens.seal([_encoded(value) for value in values], scope=self.scope)


def _encoded(value: SortValue) -> str | int:
    return (value - _EPOCH) // _MICROSECOND if isinstance(value, datetime) else value


def _decoded(value: Any, kind: type[SortValue]) -> SortValue:
    if kind is str and isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        if kind is int:
            return value
        if kind is datetime:
            try:
                return _EPOCH + value * _MICROSECOND
            except OverflowError as error:
                raise _refused("The page token is damaged") from error
    raise _refused("The page token is damaged")


def _refused(message: str) -> InvalidArgument:
    return InvalidArgument(
        message,
        field="page_token",
        reason="PAGE_TOKEN_INVALID",
        remedy="Keep parent, filter and order_by unchanged between pages, or start again without a token.",
    )


def _wrong_order(message: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(message, field="order_by", reason="ORDER_BY_INVALID", remedy=remedy)
