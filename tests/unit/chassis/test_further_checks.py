"""A refusal names everything that is wrong with a request, whoever finds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from fiveshot.dataset.v1 import dataset_service_pb2
from google.protobuf.message import Message

from services.chassis.errors import (
    DomainError,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from services.chassis.further_checks import FurtherChecks, list_check
from services.chassis.listing.pages import PageTokens
from services.dataset.ports import DATASETS
from services.dataset.proto_mapping.checks import further_checks as of_dataset
from services.notifier.proto_mapping.checks import further_checks as of_notifier
from services.registry.proto_mapping.checks import further_checks as of_registry
from services.tagger.proto_mapping.checks import further_checks as of_tagger
from services.trainer.proto_mapping.checks import further_checks as of_trainer

Request = dataset_service_pb2.ListDatasetsRequest
TOKENS = PageTokens(b"k" * 32)
FIRST = InvalidArgument("parent: is wrong", field="parent", reason="REQUEST_INVALID", remedy="Correct it.")


def raising(error: DomainError) -> Callable[[Any], None]:
    def check(request: Any) -> None:
        raise error

    return check


def later(error: DomainError) -> Callable[[Any], Awaitable[None]]:
    async def check(request: Any) -> None:
        raise error

    return check


async def completed(*checks: Callable[[Any], object]) -> InvalidArgument:
    return await FurtherChecks({Request: checks}).completed(FIRST, Request())


async def test_fields_that_the_first_error_does_not_name_are_added() -> None:
    two = InvalidArgument("a and b", violations=[FieldViolation("a", "is odd"), FieldViolation("parent", "is odd")])
    error = await completed(raising(two), later(NotFound("There is no c", field="c", remedy="Make one.")))
    assert error.reason == "REQUEST_INVALID"
    assert [each.field for each in error.violations] == ["parent", "a", "c"]
    assert error.message == "parent: is wrong (and 2 more)"
    assert error.remedy == "Correct it. Make one."


async def test_what_is_about_a_state_or_names_no_field_is_left_out() -> None:
    others = [FailedPrecondition("empty", field="a"), Unavailable("away"), InvalidArgument("something")]
    assert await completed(*map(raising, others)) is FIRST


async def test_a_request_without_checks_keeps_its_error() -> None:
    assert await FurtherChecks({}).completed(FIRST, Request()) is FIRST


async def test_joined_errors_are_counted_once() -> None:
    wrong = Request(parent="projects/p", filter="nothing = 1", order_by="neither")
    error = await completed(list_check(DATASETS, TOKENS))
    assert error is FIRST
    checks = FurtherChecks({Request: (list_check(DATASETS, TOKENS),)})
    error = await checks.completed(FIRST, wrong)
    assert [each.field for each in error.violations] == ["parent", "filter", "order_by"]
    assert error.message.endswith("(and 2 more)")
    assert error.message.count("more)") == 1


class Anything:
    """Stands for the verbs of a service, which these requests do not reach."""

    def __getattr__(self, name: str) -> Any:
        raise FailedPrecondition("not asked")


def tables() -> Iterable[FurtherChecks]:
    verbs: Any = Anything()
    yield of_dataset(verbs, TOKENS)
    yield of_registry(TOKENS)
    yield of_tagger(verbs, TOKENS)
    yield of_notifier(verbs, TOKENS)
    yield of_trainer(verbs, verbs, verbs, verbs, TOKENS)


@pytest.mark.parametrize("choice", [0, -5, 9999])
@pytest.mark.parametrize("text", ["", "/", "projects/", "projects/p", "\ud7ff\x01" * 40, "a/b/c/d/e/f/g"])
async def test_a_check_bears_a_request_in_which_everything_is_wrong(text: str, choice: int) -> None:
    """Field rules may be broken when a check runs: what it finds is a typed error all the same."""
    for table in tables():
        for kind in table.checks:
            request = filled(kind(), text, choice)
            before = request.SerializeToString(deterministic=True)
            await table.completed(FIRST, request)
            assert request.SerializeToString(deterministic=True) == before


def filled(message: Message, text: str, choice: int, depth: int = 3) -> Message:
    """The message with the text in all strings, the choice in all enums, and 1 or 0 in all numbers."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            if depth:
                inner = getattr(message, field.name)
                filled(inner.add() if field.is_repeated else inner, text, choice, depth - 1)
                if not field.is_repeated:
                    inner.SetInParent()
            continue
        numbers = {field.CPPTYPE_STRING: text, field.CPPTYPE_BOOL: True, field.CPPTYPE_ENUM: choice}
        value: Any = numbers.get(field.cpp_type, 0 if "UINT" in str(field.cpp_type) else 1)
        if field.type == field.TYPE_BYTES:
            value = text.encode()
        if field.is_repeated:
            getattr(message, field.name).append(value)
        elif field.containing_oneof is None:
            setattr(message, field.name, value)
    return message
