"""Page tokens, filters and sort orders."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.chassis.filters import Order, Predicate, parse_filter, parse_order_by
from services.chassis.pagination import Page, PageTokens

TOKENS = PageTokens(default_size=50, max_size=200)
SCOPE = "ListThings|projects/p||create_time desc"
FIELDS = {
    "state": "enum:QUEUED,RUNNING",
    "create_time": "time",
    "tags": "repeated",
    "rank": "number",
    "display_name": "string",
    "enabled": "bool",
}
scalars = st.one_of(
    st.text(), st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False)
)


@given(st.lists(scalars, max_size=4))
def test_a_token_brings_the_cursor_back(cursor: list[str | int | float | bool | None]) -> None:
    token = TOKENS.next(cursor, scope=SCOPE)
    assert token.isascii()
    assert TOKENS.open(page_size=10, page_token=token, scope=SCOPE) == Page(10, tuple(cursor))


@pytest.mark.parametrize(("asked", "limit"), [(0, 50), (1, 1), (200, 200), (100_000, 200)])
def test_page_sizes(asked: int, limit: int) -> None:
    assert TOKENS.open(page_size=asked, page_token="", scope=SCOPE) == Page(limit, None)


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        TOKENS.open(page_size=-1, page_token="", scope=SCOPE)
    assert caught.value.field == "page_size"


@given(st.text())
def test_an_invented_token_is_refused(token: str) -> None:
    if token:
        refused(token, SCOPE)


def refused(token: str, scope: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        TOKENS.open(page_size=0, page_token=token, scope=scope)
    assert (caught.value.field, caught.value.reason) == ("page_token", "PAGE_TOKEN_INVALID")


def test_a_token_of_another_question_is_refused() -> None:
    token = TOKENS.next(["2026-01-01", "a"], scope=SCOPE)
    refused(token, SCOPE + "x")
    refused(token[:-1], SCOPE)
    refused("A" + token[1:] if token[0] != "A" else "B" + token[1:], SCOPE)
    with pytest.raises(InvalidArgument):
        PageTokens(b"another key").open(page_size=0, page_token=token, scope=SCOPE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("   ", []),
        ('state = "RUNNING"', [Predicate("state", "=", "RUNNING")]),
        ("state=RUNNING", [Predicate("state", "=", "RUNNING")]),
        ("rank >= 8 AND rank<16.5", [Predicate("rank", ">=", 8.0), Predicate("rank", "<", 16.5)]),
        ('tags:"red hat" enabled=true', [Predicate("tags", ":", "red hat"), Predicate("enabled", "=", True)]),
        ("tags:*", [Predicate("tags", ":", "*")]),
        ('display_name != "a \\"b\\" AND c"', [Predicate("display_name", "!=", 'a "b" AND c')]),
        ("display_name:it's", None),
        ("display_name = 'x'", [Predicate("display_name", "=", "x")]),
        ("create_time > 2026-01-31T10:00:00Z", [Predicate("create_time", ">", datetime(2026, 1, 31, 10, tzinfo=UTC))]),
        ('create_time < "2026-01-31"', [Predicate("create_time", "<", datetime(2026, 1, 31, tzinfo=UTC))]),
    ],
)
def test_filters(text: str, expected: list[Predicate] | None) -> None:
    if expected is None:
        filter_refused(text)
    else:
        assert parse_filter(text, FIELDS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "state",
        "state =",
        "= RUNNING",
        'state = "FLYING"',
        "state > RUNNING",
        "unknown = 1",
        "rank = eight",
        'rank = "8"',
        "rank = nan",
        "enabled = yes",
        "create_time > yesterday",
        "tags = red",
        "state = RUNNING OR state = QUEUED",
        "NOT state = RUNNING",
        "(state = RUNNING)",
        "state = RUNNING AND",
        "AND state = RUNNING",
        'display_name = "unfinished',
        "state == RUNNING",
        "x" * 3000,
        " AND ".join(["rank = 1"] * 21),
        "'; DROP TABLE jobs; --",
    ],
)
def test_what_a_filter_cannot_say_is_refused(text: str) -> None:
    filter_refused(text)


def filter_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_filter(text, FIELDS)
    assert (caught.value.field, caught.value.reason) == ("filter", "FILTER_INVALID")
    assert caught.value.remedy


@given(st.text(max_size=200))
def test_any_text_is_a_filter_or_a_typed_error(text: str) -> None:
    with suppress(InvalidArgument):
        parse_filter(text, FIELDS)


@given(st.text(min_size=1, max_size=50))
def test_any_value_can_be_quoted(value: str) -> None:
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert parse_filter(f"display_name = {quoted}", FIELDS) == [Predicate("display_name", "=", value)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [Order("create_time", True)]),
        ("rank", [Order("rank", False)]),
        ("rank desc, display_name asc", [Order("rank", True), Order("display_name", False)]),
    ],
)
def test_orders(text: str, expected: list[Order]) -> None:
    assert parse_order_by(text, FIELDS, default="create_time desc") == expected


@pytest.mark.parametrize("text", ["unknown", "rank down", "rank desc desc", ",", "rank,,state", "rank, rank desc"])
def test_wrong_orders_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_order_by(text, FIELDS, default="rank")
    assert (caught.value.field, caught.value.reason) == ("order_by", "ORDER_BY_INVALID")
