"""The end of every way to a version: its files are stored, and one transaction makes them the model's next version."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.chassis.errors import DomainError, NotFound
from services.chassis.logging import get_logger
from services.chassis.requests.keys import RequestKey
from services.registry.models.names import LATEST, parse_version_name
from services.registry.models.resources import ModelFile, ModelVersion, NewModel, VersionDraft
from services.registry.ports import FileStore, ModelStore
from services.registry.use_cases.budgeting import KeepBudgets
from services.registry.use_cases.repositories import deleted_since

log = get_logger(__name__)


class Commits:
    """Adds versions whose files are stored, and takes away files of which none became."""

    def __init__(self, store: ModelStore, files: FileStore, budgets: KeepBudgets | None = None) -> None:
        self._budgets = budgets or KeepBudgets()
        self._store = store
        self._files = files
        # The loop keeps only weak references to tasks.
        self._running: set[asyncio.Task[ModelVersion]] = set()

    async def target(self, model: NewModel, *, create: bool) -> tuple[str, int]:
        """The model's name for people and the number of its next version; `create`: it may have to be made.

        Raises NotFound, before anything is copied, when there is no model.
        """
        try:
            found = await self._store.get_model(model.project, model.model_id)
            return found.display_name or model.model_id, found.last_version + 1
        except NotFound as error:
            if create:
                return model.display_name.strip() or model.model_id, 1
            raise NotFound(
                error.message,
                field="model_id",
                reason=error.reason,
                remedy="Set create_model to make it, or name an existing model.",
            ) from error

    async def check_room(self, project: str) -> None:
        """Raises ResourceExhausted when no version may be added; `add` decides in the end."""
        admit = self._budgets.admit(project)
        if admit is not None:
            admit(None, (await self._store.counts(project))[1])

    async def add(
        self,
        draft: VersionDraft,
        *,
        create: NewModel | None,
        aliases: Sequence[str],
        key: RequestKey,
        number: int | None = None,
    ) -> ModelVersion:
        """The version; its files are removed when it is none. As `ModelStore.add_version`, whose errors it raises.

        A caller that hangs up now must not tear the transaction from the clean-up that depends on its outcome.
        """
        commit = asyncio.create_task(self._add(draft, create, aliases, key, number))
        self._running.add(commit)
        commit.add_done_callback(self._running.discard)
        return await asyncio.shield(commit)

    async def remove(self, files: Sequence[ModelFile]) -> None:
        """Removes files of which no version became."""
        try:
            await self._files.delete([file.object_key for file in files])
        except DomainError as error:
            # The first failure is what the caller must hear of; the sweeper removes these later.
            log.warning("files_left_to_sweeper", reason=error.reason)

    async def repeated(self, name: str) -> ModelVersion:
        """What a request made before. Raises NotFound(DELETED_SINCE)."""
        try:
            return await self._store.get_version(*parse_version_name(name))
        except NotFound as error:
            raise deleted_since(name) from error

    async def _add(
        self,
        draft: VersionDraft,
        create: NewModel | None,
        aliases: Sequence[str],
        key: RequestKey,
        number: int | None,
    ) -> ModelVersion:
        named = [alias for alias in dict.fromkeys(aliases) if alias != LATEST]
        try:
            version = await self._store.add_version(
                draft, create=create, aliases=named, key=key, number=number, admit=self._budgets.admit(draft.project)
            )
        except BaseException:
            # A connection may break after the commit went through: only what no version refers to is removed.
            await self._remove_unreferenced(draft.files)
            raise
        if version.draft.files != draft.files:
            await self.remove(draft.files)
        return version

    async def _remove_unreferenced(self, files: Sequence[ModelFile]) -> None:
        try:
            keys = await self._store.unreferenced([file.object_key for file in files])
        except DomainError as error:
            log.warning("files_left_to_sweeper", reason=error.reason)
            return
        await self.remove([file for file in files if file.object_key in keys])
