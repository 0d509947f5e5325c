"""Versions and their files: read, labelled, and deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping

from services.chassis.budgets import DOWNLOADS, UNLIMITED, AtOnce
from services.chassis.errors import DataLoss, InvalidArgument, NotFound, Unavailable
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.logging import get_logger
from services.registry.models.checks import check_version_delete, check_version_mask
from services.registry.models.names import KOHYA, MODEL_NAME, parse_version_name
from services.registry.models.resources import ModelFile, ModelVersion
from services.registry.ports import VERSIONS, FileStore, ModelStore
from services.registry.use_cases.checked import stored_bytes, stored_part
from services.registry.use_cases.conversions import FORMS, Conversions, can_be_made

log = get_logger(__name__)


class Versions:
    """Get, list and download versions."""

    def __init__(self, store: ModelStore, files: FileStore, tokens: PageTokens, at_once: AtOnce | None = None) -> None:
        """at_once: counts downloads."""
        self._at_once = at_once or AtOnce(UNLIMITED, DOWNLOADS)
        self._conversions = Conversions(files)
        self._store = store
        self._files = files
        self._tokens = tokens

    async def get(self, name: str) -> ModelVersion:
        """By number or alias. Raises NotFound."""
        return await self._store.get_version(*parse_version_name(name))

    async def list(self, request: ListRequest) -> tuple[list[ModelVersion], str, int]:
        """A page of versions, newest first unless asked otherwise, the token of the next page and how many there are.

        Raises NotFound, InvalidArgument.
        """
        ids = MODEL_NAME.parse(request.parent, field="parent")
        asked = VERSIONS.open(request, self._tokens)
        found, total = await self._store.list_versions(ids["project"], ids["model"], asked.query)
        return *asked.answer(found), total

    async def label(self, name: str, labels: Mapping[str, str], mask: Collection[str], etag: str) -> ModelVersion:
        """Gives a version other labels. Raises InvalidArgument, NotFound, Aborted for an old etag."""
        check_version_mask(mask)
        project, model_id, number = parse_version_name(name)
        if isinstance(number, str):
            raise InvalidArgument(
                f"'{number[:100]}' is not the number of a version",
                field="model_version.name",
                reason="NAME_INVALID",
                remedy="Name the version by its number; an alias may move meanwhile.",
            )
        return await self._store.label_version(project, model_id, number, labels, etag)

    async def delete(self, name: str, *, etag: str, force: bool) -> None:
        """Deletes a version with its files. Raises NotFound, and what `check_version_delete` raises."""
        project, model_id, number = parse_version_name(name)
        object_keys = await self._store.delete_version(
            project, model_id, int(number), lambda version: check_version_delete(version, etag=etag, force=force)
        )
        # The rows are gone first: a crash here leaves files that nothing names, which the sweeper removes.
        try:
            await self._files.delete(object_keys)
        except Unavailable as error:
            log.warning("files_left_to_the_sweeper", version=name, reason=error.reason)
        log.info("version_deleted", version=name, files=len(object_keys))

    async def download(self, name: str, file_id: str) -> tuple[ModelFile, AsyncIterator[bytes]]:
        """One file and its bytes, which are checked against its digest while they go out.

        file_id: "" for kohya, or the first where there is none; a form that the version was not stored in is made of
        one that it was. Raises NotFound, and what `Conversions.make` raises; the stream raises ResourceExhausted when
        too many go out to the project already, and DataLoss when the stored bytes are not the saved ones.
        """
        version = await self.get(name)
        try:
            file, chunks = await self._opened(version, file_id)
        except DataLoss:
            await self.get(name)
            raise
        return file, self._at_once.during(version.draft.project, self._unless_deleted(name, chunks), field="name")

    def part(self, name: str, file: ModelFile, part: range) -> AsyncIterator[bytes]:
        """Some bytes of a file as `download` has found it, of a version as it is stored.

        Raises what the stream of `download` raises, but the digest is that of a whole file.
        """

        async def opened() -> AsyncIterator[bytes]:
            version = await self.get(name)
            async for chunk in stored_part(self._files, version, file, part):
                yield chunk

        project, _, _ = parse_version_name(name)
        return self._at_once.during(project, self._unless_deleted(name, opened()), field="name")

    async def _unless_deleted(self, name: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The chunks; bytes that went with their version are no loss. Raises NotFound then."""
        try:
            async for chunk in chunks:
                yield chunk
        except DataLoss:
            await self.get(name)
            raise

    async def _opened(self, version: ModelVersion, file_id: str) -> tuple[ModelFile, AsyncIterator[bytes]]:
        file = version.file(file_id or KOHYA)
        if file is None and not file_id:
            file = next(iter(version.draft.files), None)
        if file is None and can_be_made(version, file_id):
            return await self._conversions.make(version, file_id)
        if file is None:
            has = ", ".join(item.file_id for item in version.draft.files)
            made = [form for form in FORMS if can_be_made(version, form)]
            more = f" {', '.join(made)} can be made of them." if made else ""
            raise NotFound(
                f"{version.name} has no file '{file_id or KOHYA}'",
                field="file_id",
                reason="FILE_NOT_FOUND",
                remedy=f"It has {has}.{more}",
            )
        return file, stored_bytes(self._files, version, file)
