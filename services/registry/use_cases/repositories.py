"""Models and their aliases."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from services.chassis import names
from services.chassis.errors import NotFound
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.logging import get_logger
from services.chassis.requests.keys import RequestKey
from services.registry.models.checks import changed_fields, check_alias, clean_tags
from services.registry.models.names import MODEL_NAME, PROJECT_NAME
from services.registry.models.resources import Model, NewModel
from services.registry.ports import MODELS, FileStore, ModelStore
from services.registry.use_cases.budgeting import KeepBudgets

log = get_logger(__name__)


class Repositories:
    """Create, read, list, change and delete models; move their aliases."""

    def __init__(
        self, store: ModelStore, files: FileStore, tokens: PageTokens, budgets: KeepBudgets | None = None
    ) -> None:
        self._budgets = budgets or KeepBudgets()
        self._store = store
        self._files = files
        self._tokens = tokens

    async def create(self, new: NewModel, key: RequestKey) -> Model:
        """Adds an empty model; a repeated request returns the first answer.

        An empty id is made by the service, an empty display name is the id. Raises AlreadyExists, InvalidArgument,
        ResourceExhausted(BUDGET_USED_UP).
        """
        earlier = await self._store.recall(key)
        if earlier is not None:
            return await self._repeated(earlier)
        model_id = names.check_id(new.model_id, field="model_id") if new.model_id else names.new_id("model")
        tidy = NewModel(
            project=new.project,
            model_id=model_id,
            display_name=new.display_name.strip() or model_id,
            description=new.description,
            tags=clean_tags(new.tags),
            labels=new.labels,
        )
        model = await self._store.create_model(tidy, key, self._budgets.admit(new.project))
        log.info("model_created", model=model.name)
        return model

    async def get(self, name: str) -> Model:
        """Raises NotFound."""
        return await self._store.get_model(*_ids(name))

    async def list(self, request: ListRequest) -> tuple[list[Model], str, int]:
        """A page of models, the token of the next page ("" on the last), and how many match. Raises InvalidArgument."""
        project = PROJECT_NAME.parse(request.parent, field="parent")["project"]
        asked = MODELS.open(request, self._tokens)
        found, total = await self._store.list_models(project, asked.query)
        return *asked.answer(found), total

    async def update(self, given: NewModel, mask: Collection[str], etag: str) -> Model:
        """Changes the masked fields. Raises InvalidArgument, NotFound, Aborted for an old etag."""
        tidy = replace(given, display_name=given.display_name.strip(), tags=clean_tags(given.tags))
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
