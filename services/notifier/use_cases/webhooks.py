"""Webhooks and their secrets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.chassis import names
from services.chassis.budgets import UNLIMITED, WEBHOOKS, Budgets, BudgetUse
from services.chassis.errors import InvalidArgument, NotFound, refuse_all
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.logging import get_logger
from services.chassis.requests.keys import RequestKey
from services.notifier import ports
from services.notifier.models.addresses import parse_url
from services.notifier.models.event_types import check_event_types
from services.notifier.models.webhooks import PROJECT_NAME, WEBHOOK_NAME, NewWebhook, Webhook, changed_fields
from services.notifier.use_cases.signing import new_secret

log = get_logger(__name__)


class Webhooks:
    """Create, read, list, change and delete webhooks; give them other secrets."""

    def __init__(
        self,
        store: ports.WebhookStore,
        sender: ports.Sender,
        tokens: PageTokens,
        *,
        clock: Callable[[], datetime],
        budgets: Budgets = UNLIMITED,
    ) -> None:
        self._store = store
        self._sender = sender
        self._tokens = tokens
        self._clock = clock
        self._budgets = budgets

    async def create(self, new: NewWebhook, key: RequestKey) -> Webhook:
        """Adds a webhook with a secret of its own; a repeated request returns the first answer.

        An empty id is made by the service, an empty display name is the id. Raises AlreadyExists, InvalidArgument,
        ResourceExhausted(BUDGET_USED_UP).
        """
        earlier = await self._store.recall(key)
        if earlier is not None:
            return await self._repeated(earlier)
        webhook_id = names.check_id(new.webhook_id, field="webhook_id") if new.webhook_id else names.new_id("hook")
        tidy = replace(
            new,
            webhook_id=webhook_id,
            display_name=new.display_name.strip() or webhook_id,
            event_types=await self.checked(new.event_types, new.url),
        )

        def admit(webhooks: int) -> None:
            self._budgets.check(new.project, WEBHOOKS, webhooks, field="parent")

        limited = self._budgets.limit(new.project, WEBHOOKS) > 0
        webhook = await self._store.create(tidy, new_secret(), key, admit if limited else None)
        log.info("webhook_created", webhook=webhook.name)
        return webhook

    async def get(self, name: str) -> Webhook:
        """Raises NotFound."""
        return await self._store.get(*ids_of(name))

    async def list(self, request: ListRequest) -> tuple[list[Webhook], str, int]:
        """A page of webhooks, the token of the next page ("" on the last), and how many match.

        Raises InvalidArgument.
        """
        project = PROJECT_NAME.parse(request.parent, field="parent")["project"]
        asked = ports.WEBHOOKS.open(request, self._tokens)
        found, total = await self._store.list(project, asked.query)
        return *asked.answer(found), total

    async def update(self, given: NewWebhook, mask: Collection[str], etag: str) -> Webhook:
        """Changes the masked fields. Raises InvalidArgument, NotFound, Aborted for an old etag."""
        changes = changed_fields(mask, replace(given, display_name=given.display_name.strip()))
        wanted = await self.checked(changes.event_types or (), changes.url)
        changes = replace(changes, event_types=None if changes.event_types is None else wanted)
        webhook = await self._store.update(given.project, given.webhook_id, changes, etag)
        log.info("webhook_changed", webhook=webhook.name, disabled=webhook.disabled)
        return webhook

    async def delete(self, name: str, *, etag: str) -> None:
        """Deletes a webhook with its deliveries. Raises NotFound, Aborted for an old etag."""
        await self._store.delete(*ids_of(name), etag)
        log.info("webhook_deleted", webhook=name)

    async def rotate(self, name: str, overlap: timedelta, key: RequestKey) -> Webhook:
        """A new secret; the one of now signs as well for `overlap`. Raises NotFound."""
        earlier = await self._store.recall(key)
        if earlier is not None:
            return await self._repeated(earlier)
        until = self._clock() + overlap if overlap else None
        webhook = await self._store.rotate(*ids_of(name), new_secret(), until, key)
        log.info("webhook_secret_rotated", webhook=name)
        return webhook

    async def usage(self, project: str) -> Sequence[BudgetUse]:
        """The use of the one budget that is kept here."""
        return [self._budgets.use(project, WEBHOOKS, await self._store.count(project))]

    async def checked(self, event_types: Sequence[str], url: str | None) -> tuple[str, ...]:
        """The filter without repeats. Raises InvalidArgument for all that is wrong with it and with the address."""
        wrong: list[InvalidArgument] = []
        wanted: tuple[str, ...] = ()
        try:
            wanted = check_event_types(event_types)
        except InvalidArgument as error:
            wrong.append(error)
        try:
            if url is not None:
                await self._check_url(url)
        except InvalidArgument as error:
            wrong.append(error)
        refuse_all(wrong)
        return wanted

    async def _check_url(self, url: str) -> None:
        parse_url(url)
        await self._sender.check(url)

    async def _repeated(self, name: str) -> Webhook:
        try:
            return await self.get(name)
        except NotFound as error:
            raise NotFound(
                f"This request made {name}, which has been deleted since",
                reason="DELETED_SINCE",
                remedy="Use a new request_id to make it again.",
            ) from error


def ids_of(name: str, *, field: str = "name") -> tuple[str, str]:
    """Project and id of a webhook's name. Raises InvalidArgument."""
    ids = WEBHOOK_NAME.parse(name, field=field)
    return ids["project"], ids["webhook"]
