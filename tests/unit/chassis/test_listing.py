"""Page tokens, filters and sort orders."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.chassis.listing import fields, memory
from services.chassis.listing.fields import ANY, Pattern
from services.chassis.listing.filters import EVERYTHING, AllOf, AnyOf, Comparison, Filter, Not, parse_filter
from services.chassis.listing.pages import Listing, ListRequest, Order, PageTokens, Query
from tests.fixtures.lists import TOKENS, every_page

FIELDS = {
    "state": fields.choice(["QUEUED", "RUNNING"], prefix="STATE_"),
    "create_time": fields.moment(),
    "tags": fields.labels(),
    "rank": fields.number(),
    "labels": fields.text_map(),
    "display_name": fields.text(),
    "enabled": fields.flag(),
    "base_model": fields.reference("baseModels/"),
    "dataset": fields.reference("{parent}/datasets/", operators=["="]),
}
RUNNING = Comparison("state", "=", "RUNNING")
QUEUED = Comparison("state", "=", "QUEUED")
EIGHT = Comparison("rank", "=", 8.0)


@dataclass(frozen=True)
class Thing:
    """What the lists below are of."""

    id: str
    rank: int = 0
    display_name: str = ""
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    create_time: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    end_time: datetime | None = None
    state: str = "QUEUED"
    enabled: bool = False
    base_model: str = "baseModels/tiny"


THINGS: Listing[Thing] = Listing(
    "ListThings",
    fields={**FIELDS, "display_name": fields.text(fold=str.casefold), "end_time": fields.moment()},
    sortable={"create_time": datetime, "rank": int, "display_name": str},
    key=("id", str),
    default_order=[Order("create_time", descending=True)],
    default_size=50,
    max_size=200,
)
REQUEST = ListRequest("projects/p")


def asked(**changes: Any) -> Query:
    return THINGS.open(replace(REQUEST, **changes), TOKENS).query


def token_after(thing: Thing, tokens: PageTokens = TOKENS, **changes: Any) -> str:
    """The token of the page after a thing."""
    question = THINGS.open(replace(REQUEST, page_size=1, **changes), tokens)
    return question.answer([thing, thing])[1]


@given(st.text(max_size=120), st.integers(-(2**62), 2**62), st.datetimes(timezones=st.just(UTC)))
def test_a_token_brings_the_cursor_back(name: str, rank: int, moment: datetime) -> None:
    thing = Thing("t-1", rank=rank, display_name=name, create_time=moment)
    order_by = "display_name, rank desc, create_time"
    token = token_after(thing, order_by=order_by)
    assert token.isascii()
    assert len(token) <= 4000, "the protos allow so many characters"
    cursor = asked(order_by=order_by, page_token=token).cursor
    assert cursor == (name.casefold(), rank, moment, "t-1")


@pytest.mark.parametrize(("page_size", "limit"), [(0, 50), (1, 1), (200, 200), (100_000, 200)])
def test_page_sizes(page_size: int, limit: int) -> None:
    assert asked(page_size=page_size).limit == limit + 1, "one more tells whether another page follows"


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        asked(page_size=-1)
    assert caught.value.field == "page_size"


@given(st.text(min_size=1))
def test_an_invented_token_is_refused(token: str) -> None:
    token_refused(token)


def token_refused(token: str, **changes: Any) -> None:
    with pytest.raises(InvalidArgument) as caught:
        asked(page_token=token, **changes)
    assert (caught.value.field, caught.value.reason) == ("page_token", "PAGE_TOKEN_INVALID")


def test_a_token_of_another_question_or_another_deployment_is_refused() -> None:
    token = token_after(Thing("a"))
    assert asked(page_token=token).cursor is not None
    for changes in ({"filter": "rank = 1"}, {"order_by": "rank"}, {"parent": "projects/q"}):
        token_refused(token, **changes)
    token_refused(token[:-1])
    token_refused("A" + token[1:] if token[0] != "A" else "B" + token[1:])
    for key in (b"fiveshot-page", None):
        token_refused(token_after(Thing("a"), PageTokens(key)))
    assert token_after(Thing("a"), PageTokens()) != token_after(Thing("a"), PageTokens())


@pytest.mark.parametrize(
    "values", [[], ["a"], ["a", "b"], [1, 2], [2**70, "a"], [-(2**62), "a"], [True, "a"], [0, "a", 1], [None, None]]
)
def test_a_token_with_the_right_key_and_the_wrong_content_is_refused(values: list[Any]) -> None:
    token_refused(TOKENS.seal(values, scope="ListThings|projects/p||"))


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"\xff", b"[" * 50_000, b'{"a":1}', b"[NaN]"])
def test_a_token_with_the_right_key_and_no_list_in_it_is_refused(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.chassis.listing.pages.json.dumps", lambda *_, **__: body.decode("latin-1"))
    token_refused(TOKENS.seal([], scope="ListThings|projects/p||"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", EVERYTHING),
        ("   ", EVERYTHING),
        ('state = "RUNNING"', RUNNING),
        ("state=RUNNING", RUNNING),
        ('state = "STATE_RUNNING"', RUNNING),
        ("state = STATE_RUNNING", RUNNING),
        ("rank >= 8 AND rank<16.5", AllOf((Comparison("rank", ">=", 8.0), Comparison("rank", "<", 16.5)))),
        ("rank > -1", Comparison("rank", ">", -1.0)),
        ('tags:"red hat" enabled=true', AllOf((Comparison("tags", ":", "red hat"), Comparison("enabled", "=", True)))),
        ("tags:*", Comparison("tags", ":", ANY)),
        ("labels:team", Comparison("labels", ":", "team")),
        ("labels:*", Comparison("labels", ":", ANY)),
        ('labels.team = "red hat"', Comparison("labels", "=", "red hat", "team")),
        ("labels.a-b_1 != x*", Comparison("labels", "!=", Pattern(("x", "")), "a-b_1")),
        ("labels.team:*", Comparison("labels", ":", ANY, "team")),
        ("labels.x:(a OR b)", AnyOf((Comparison("labels", ":", "a", "x"), Comparison("labels", ":", "b", "x")))),
        ('display_name != "a \\"b\\" AND c"', Comparison("display_name", "!=", 'a "b" AND c')),
        ("display_name = 'x'", Comparison("display_name", "=", "x")),
        ("display_name = 'a*b'", Comparison("display_name", "=", Pattern(("a", "b")))),
        (r'display_name = "a\*b*"', Comparison("display_name", "=", Pattern(("a*b", "")))),
        ("display_name > 'a*b'", Comparison("display_name", ">", "a*b")),
        ("base_model = tiny", Comparison("base_model", "=", "baseModels/tiny")),
        ('base_model = "baseModels/tiny"', Comparison("base_model", "=", "baseModels/tiny")),
        ("base_model != t*y", Comparison("base_model", "!=", Pattern(("baseModels/t", "y")))),
        ("base_model = *tiny", Comparison("base_model", "=", Pattern(("", "tiny")))),
        ("base_model:tiny", Comparison("base_model", ":", "tiny")),
        ("dataset = d", Comparison("dataset", "=", "projects/p/datasets/d")),
        ("dataset = projects/p/datasets/d", Comparison("dataset", "=", "projects/p/datasets/d")),
        ("create_time > 2026-01-31T10:00:00Z", Comparison("create_time", ">", datetime(2026, 1, 31, 10, tzinfo=UTC))),
        ('create_time < "2026-01-31"', Comparison("create_time", "<", datetime(2026, 1, 31, tzinfo=UTC))),
        ("create_time < 2026-01-31T00:00+02:00", Comparison("create_time", "<", datetime(2026, 1, 30, 22, tzinfo=UTC))),
        ("state = RUNNING OR state = QUEUED", AnyOf((RUNNING, QUEUED))),
        ("state = RUNNING OR state = QUEUED AND rank = 8", AllOf((AnyOf((RUNNING, QUEUED)), EIGHT))),
        ("state = RUNNING OR (state = QUEUED AND rank = 8)", AnyOf((RUNNING, AllOf((QUEUED, EIGHT))))),
        ("state = RUNNING OR state = QUEUED rank = 8", AllOf((AnyOf((RUNNING, QUEUED)), EIGHT))),
        ("NOT state = RUNNING", Not(RUNNING)),
        ("-state = RUNNING", Not(RUNNING)),
        ('displayName = "a" baseModel = x', AllOf((
            Comparison("display_name", "=", "a"), Comparison("base_model", "=", "baseModels/x"),
        ))),
        ("NOT (state = RUNNING OR rank=8)", Not(AnyOf((RUNNING, EIGHT)))),
        ("-(state = RUNNING)", Not(RUNNING)),
        ("(state = RUNNING)", RUNNING),
        ("((state = RUNNING))rank=8", AllOf((RUNNING, EIGHT))),
        ("state = (RUNNING OR STATE_QUEUED)", AnyOf((RUNNING, QUEUED))),
        ("state != (NOT RUNNING)", Not(Comparison("state", "!=", "RUNNING"))),
    ],
)  # fmt: skip
def test_filters(text: str, expected: Filter) -> None:
    assert parse_filter(text, FIELDS, parent="projects/p") == expected


@pytest.mark.parametrize(
    "text",
    [
        "state",
        '"state"',
        "state =",
        "= RUNNING",
        'state = "FLYING"',
        "state = state_running",
        "state = STATE_STATE_RUNNING",
        "state > RUNNING",
        "state:RUNNING",
        "unknown = 1",
        "rank = eight",
        'rank = "8"',
        "rank = nan",
        "rank = 1e999",
        "enabled = yes",
        "create_time > yesterday",
        'create_time > "0001-01-01T00:00:00+23:59"',
        'create_time > "9999-12-31T23:59:59-23:59"',
        'create_time > "10000-01-01T00:00:00Z"',
        "create_time:*",
        "tags = red",
        "dataset != d",
        "labels = team",
        "labels != team",
        "labels:te*m",
        'labels:"Team"',
        'labels:""',
        "labels. = a",
        "labels.Team = a",
        "labels.team.lead = a",
        "labels.team > a",
        "rank.team = 1",
        "display_name:it's",
        "display_name = a*b*c*d*e*f",
        "NOT",
        "NOT NOT state = RUNNING",
        "NOT state",
        "-",
        "()",
        "(state = RUNNING",
        "state = RUNNING)",
        "state = (RUNNING",
        "state = ()",
        "state = (RUNNING state = QUEUED)",
        "f(x)",
        "a.b = 1",
        "state = RUNNING AND",
        "AND state = RUNNING",
        "state = RUNNING OR",
        "OR state = RUNNING",
        "state = RUNNING OR AND rank = 1",
        'display_name = "unfinished',
        "state == RUNNING",
        "x" * 3000,
        " AND ".join(["rank = 1"] * 21),
        " OR ".join(["rank = 1"] * 21),
        "rank = (" + " OR ".join(["1"] * 21) + ")",
        "(" * 11 + "rank = 1" + ")" * 11,
        "(" * 1900,
        "'; DROP TABLE jobs; --",
    ],
)
def test_what_a_filter_cannot_say_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_filter(text, FIELDS)
    assert (caught.value.field, caught.value.reason) == ("filter", "FILTER_INVALID")
    assert caught.value.remedy


@given(st.text(max_size=200) | st.text(alphabet="()=\"' ANDORT-:*\\rank1", max_size=80))
def test_any_text_is_a_filter_or_a_typed_error(text: str) -> None:
    with suppress(InvalidArgument):
        parse_filter(text, FIELDS)


@given(st.text(min_size=1, max_size=50))
def test_any_value_can_be_quoted(value: str) -> None:
    quoted = '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("*", "\\*") + '"'
    assert parse_filter(f"display_name = {quoted}", FIELDS) == Comparison("display_name", "=", value)


@pytest.mark.parametrize(
    ("parts", "text", "matches"),
    [
        (("", ""), "", True),
        (("a", ""), "abc", True),
        (("", "c"), "abc", True),
        (("a", "c"), "ac", True),
        (("ab", "ba"), "aba", False),
        (("a", "b", "c"), "axxbxxc", True),
        (("a", "b", "c"), "axxc", False),
        (("", "b", "b", ""), "b", False),
        (("", "ab", "b"), "aabb", True),
        (("a.", ""), "ab", False),
    ],
)
def test_patterns(parts: tuple[str, ...], text: str, matches: bool) -> None:
    assert Pattern(parts).matches(text) is matches


FOUND = [
    Thing("a", 3, "Alpha", ("red", "red hat"), {"team": "pets", "x": ""}, state="RUNNING"),
    Thing("b", 1, "beta", enabled=True, end_time=datetime(2026, 2, 1, tzinfo=UTC)),
    Thing("c", 3, "Äther", ("blue",), {"team": "cars"}),
    Thing("d", 2, "100%"),
]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", "abcd"),
        ("state = STATE_RUNNING OR enabled = true", "ab"),
        ("NOT tags:*", "bd"),
        ("labels:team", "ac"),
        ("labels:x", "a"),
        ("-labels:*", "bd"),
        ('labels.team = "pets"', "a"),
        ('labels.team:"*s"', "ac"),
        ("labels.team != pets", "c"),
        ("NOT labels.team = pets", "bcd"),
        ("labels.x:*", "a"),
        ('labels.x = ""', "a"),
        ("tags:red", "a"),
        ("tags:RED", ""),
        ('tags:"*e"', "c"),
        ('display_name:"ÄT"', "c"),
        ('display_name = "*A"', "ab"),
        ('display_name != "*a*"', "cd"),
        ("display_name >= b", "bc"),
        ("rank = (1 OR 2)", "bd"),
        ('end_time < "2030-01-01"', "b"),
        ('NOT end_time < "2030-01-01"', "acd"),
        ("base_model = tiny AND rank != 3", "bd"),
        ('base_model:"TINY"', "abcd"),
    ],
)
def test_what_passes_a_filter(text: str, ids: str) -> None:
    found, total = memory.page(FOUND, asked(filter=text, order_by="create_time"), THINGS)
    assert ("".join(thing.id for thing in found), total) == (ids, len(ids))


@pytest.mark.parametrize(
    ("order_by", "ids"),
    [
        ("", "dcba"),
        ("create_time", "abcd"),
        ("rank desc", "cadb"),
        ("rank, display_name desc", "bdca"),
        ("display_name", "dabc"),
        ("rank desc, create_time", "acdb"),
    ],
)
async def test_pages_are_one_list_whatever_the_order(order_by: str, ids: str) -> None:
    async def read(query: Query) -> list[Thing]:
        return memory.page(FOUND, query, THINGS)[0]

    for page_size in (1, 2, 3, 50):
        rows = await every_page(THINGS, read, page_size=page_size, order_by=order_by)
        assert "".join(thing.id for thing in rows) == ids


def test_rows_that_come_meanwhile_neither_repeat_nor_hide_others() -> None:
    token = token_after(FOUND[1], order_by="create_time")
    later = [*FOUND, Thing("aa"), Thing("bb", create_time=FOUND[0].create_time + timedelta(days=1))]
    found, _ = memory.page(later, asked(order_by="create_time", page_token=token), THINGS)
    assert [thing.id for thing in found] == ["c", "d", "bb"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [Order("create_time", True), Order("id", True)]),
        ("rank", [Order("rank"), Order("id")]),
        ("rank desc, display_name asc", [Order("rank", True), Order("display_name"), Order("id")]),
        ("createTime desc, displayName", [Order("create_time", True), Order("display_name"), Order("id")]),
    ],
)
def test_orders_end_with_the_key(text: str, expected: list[Order]) -> None:
    assert asked(order_by=text).orders == tuple(expected)


@pytest.mark.parametrize(
    "text",
    [
        "unknown",
        "id",
        "state",
        "rank, createTime, create_time",
        "rank down",
        "rank desc desc",
        ",",
        "rank,,create_time",
        "rank, rank desc",
    ],
)
def test_wrong_orders_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        asked(order_by=text)
    assert (caught.value.field, caught.value.reason) == ("order_by", "ORDER_BY_INVALID")


def test_all_that_is_wrong_with_a_question_is_named_at_once() -> None:
    with pytest.raises(InvalidArgument) as caught:
        asked(filter="rank = x", order_by="unknown", page_size=-1)
    assert [violation.field for violation in caught.value.violations] == ["page_size", "filter", "order_by"]
    assert "number" in caught.value.remedy
    assert "create_time" in caught.value.remedy
