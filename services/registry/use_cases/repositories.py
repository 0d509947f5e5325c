"""Models and their aliases."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from services.chassis import filters, names
from services.chassis.errors import NotFound
from services.chassis.filters import Order, Predicate
from services.chassis.logging import get_logger
from services.chassis.pagination import PageTokens
from services.registry.models import (
    MODEL_NAME,
    Model,
    NewModel,
    RequestKey,
    changed_fields,
    check_alias,
    clean_tags,
    list_cursor,
)
from services.registry.ports import FileStore, ModelStore

log = get_logger(__name__)

FILTER_FIELDS = {"display_name": "string", "tags": "repeated"}
ORDER_FIELDS = ("create_time", "update_time", "display_name")


class Repositories:
    """Create, read, list, change and delete models; move their aliases."""

    def __init__(self, store: ModelStore, files: FileStore, tokens: PageTokens) -> None:
        self._store = store
        self._files = files
        self._tokens = tokens

    async def create(self, new: NewModel, key: RequestKey) -> Model:
        """Adds an empty model; a repeated request returns the first answer.

        An empty id is made by the service, an empty display name is the id. Raises AlreadyExists, InvalidArgument.
        """
        earlier = await self._store.recall(new.project, key)
        if earlier is not None:
            return await self._repeated(earlier)
        model_id = names.check_id(new.model_id, field="model_id") if new.model_id else names.new_id("model")
        tidy = NewModel(
            project=new.project,
            model_id=model_id,
            display_name=new.display_name.strip() or model_id,
            description=new.description,
            tags=clean_tags(new.tags),
        )
        model = await self._store.create_model(tidy, key)
        log.info("model_created", model=model.name)
        return model

    async def get(self, name: str) -> Model:
        """Raises NotFound."""
        return await self._store.get_model(*_ids(name))

    async def list(
        self, project: str, *, page_size: int, page_token: str, filter_text: str, order_by: str
    ) -> tuple[list[Model], str, int]:
        """A page of models, the token of the next page ("" on the last), and how many match. Raises InvalidArgument."""
        scope = f"ListModels|{project}|{filter_text}|{order_by}"
        page = self._tokens.open(page_size=page_size, page_token=page_token, scope=scope)
        predicates: list[Predicate] = filters.parse_filter(filter_text, FILTER_FIELDS)
        order: Order = filters.parse_order_by(order_by, ORDER_FIELDS, default="create_time desc")[0]
        # One model more than asked for tells whether another page follows.
        wider = replace(page, limit=page.limit + 1)
        models, total = await self._store.list_models(project, predicates, order, wider)
        shown = models[: page.limit]
        more = len(models) > page.limit
        return shown, self._tokens.next(list_cursor(shown[-1], order), scope=scope) if more else "", total

    async def update(self, given: NewModel, mask: Collection[str], etag: str) -> Model:
        """Changes the masked fields. Raises InvalidArgument, NotFound, Aborted for an old etag."""
        tidy = NewModel(
            given.project, given.model_id, given.display_name.strip(), given.description, clean_tags(given.tags)
        )
        return await self._store.update_model(given.project, given.model_id, changed_fields(mask, tidy), etag)

    async def delete(self, name: str, *, etag: str, force: bool) -> None:
        """Deletes a model; with versions in it only with `force`, then their files too.

        Raises NotFound, Aborted for an old etag, FailedPrecondition.
        """
        project, model_id = _ids(name)
        object_keys = await self._store.delete_model(project, model_id, etag=etag, force=force)
        # The rows are gone first: a crash here leaves files that nothing names, which the sweeper removes.
        await self._files.delete(object_keys)
        log.info("model_deleted", model=name, files=len(object_keys))

    async def set_alias(self, name: str, alias: str, number: int) -> Model:
        """Points an alias at a version. Raises InvalidArgument for `latest`, NotFound."""
        check_alias(alias)
        return await self._store.set_alias(*_ids(name), alias, number)

    async def delete_alias(self, name: str, alias: str) -> Model:
        """Takes an alias away. Raises InvalidArgument for `latest`, NotFound."""
        check_alias(alias)
        return await self._store.delete_alias(*_ids(name), alias)

    async def _repeated(self, name: str) -> Model:
        try:
            return await self._store.get_model(*_ids(name))
        except NotFound as error:
            raise deleted_since(name) from error


def deleted_since(name: str) -> NotFound:
    """The answer to a repeated request whose resource is gone by now."""
    return NotFound(
        f"This request made {name}, which has been deleted since",
        reason="DELETED_SINCE",
        remedy="Use a new request_id to make it again.",
    )


def _ids(name: str) -> tuple[str, str]:
    ids = MODEL_NAME.parse(name)
    return ids["project"], ids["model"]
