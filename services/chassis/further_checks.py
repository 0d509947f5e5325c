"""What else is wrong with a request that is refused.

Field rules are checked before a verb sees a request, and a verb refuses what it meets first. Whoever corrects a request
wants to hear all at once, so each service lists here, by the type of the request, the checks of it that need the
service: bounds of a base model, a filter, an update mask. They run only once a request is refused, and change nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from inspect import isawaitable
from typing import Any

from google.protobuf.message import Message

from services.chassis.errors import DomainError, FieldViolation, InvalidArgument, NotFound, joined, parts_of
from services.chassis.listing.pages import Listing, ListRequest, PageTokens
from services.chassis.logging import get_logger

log = get_logger(__name__)

Check = Callable[[Any], Awaitable[object] | object]
"""Takes the request as it came, but for choices that no enum has, with whatever else may be wrong with it, and raises
what it finds."""


class FurtherChecks:
    """checks: of each type of request, independent of each other. Of a stream the first message is checked."""

    def __init__(self, checks: Mapping[type[Message], Sequence[Check]]) -> None:
        self.checks = dict(checks)

    async def completed(self, error: InvalidArgument, request: Message) -> InvalidArgument:
        """The error with the fields that the checks find wrong and that it does not name yet."""
        named = {violation.field for violation in error.violations}
        others = []
        for found in await self._wrong(known_choices(request)):
            news = [violation for violation in found.violations if violation.field not in named]
            if news:
                others.append(found if len(news) == len(found.violations) else _about(found, news))
                named |= {violation.field for violation in news}
        return joined(error, others)

    async def _wrong(self, request: Message) -> list[DomainError]:
        wrong: list[DomainError] = []
        for check in self.checks.get(type(request), ()):
            try:
                found = check(request)
                if isawaitable(found):
                    await found
            except (InvalidArgument, NotFound) as error:
                wrong += parts_of(error)
            except DomainError as error:
                # About a state, which the caller meets once the request is right; or something needed is away.
                log.debug("further_check_left_out", reason=error.reason)
        return wrong


def known_choices(request: Message) -> Message:
    """A copy in which numbers that its enums do not have are left out. The field rules name them; what a service makes
    of a choice is defined for its own choices alone."""
    copy = type(request)()
    copy.CopyFrom(request)
    _leave_out_unknown(copy)
    return copy


def _leave_out_unknown(message: Message) -> None:
    for field, value in message.ListFields():
        entry = field.message_type
        of_map = entry is not None and entry.GetOptions().map_entry
        kind = entry.fields_by_name["value"] if entry is not None and of_map else field
        if kind.message_type is not None:
            inner = value.values() if of_map else value if field.is_repeated else (value,)
            for each in inner:
                _leave_out_unknown(each)
        elif kind.enum_type is not None:
            known = kind.enum_type.values_by_number
            if not field.is_repeated:
                if value not in known:
                    message.ClearField(field.name)
                continue
            # Places in a list stay, so that what is found is named where the caller wrote it.
            for place, each in list(value.items() if of_map else enumerate(value)):
                if each not in known:
                    value[place] = 0


def _about(error: DomainError, violations: Sequence[FieldViolation]) -> DomainError:
    return type(error)(violations[0].description, **{**error.facts(), "violations": violations})


NONE = FurtherChecks({})


def list_check(listing: Listing[Any], tokens: PageTokens) -> Check:
    """Page size, filter, order and token of a list call."""

    def check(request: Any) -> None:
        asked = ListRequest(
            parent=request.parent,
            page_size=request.page_size,
            page_token=request.page_token,
            filter=getattr(request, "filter", ""),
            order_by=getattr(request, "order_by", ""),
        )
        listing.open(asked, tokens)

    return check
