"""Versions and their files, read."""

from __future__ import annotations

from collections.abc import AsyncIterator

from services.chassis.errors import DataLoss, NotFound
from services.chassis.listing.pages import ListRequest, PageTokens
from services.registry.models import KOHYA, MODEL_NAME, ModelFile, ModelVersion, parse_version_name
from services.registry.ports import VERSIONS, FileStore, ModelStore
from services.registry.use_cases.checked import checked


class Versions:
    """Get, list and download versions."""

    def __init__(self, store: ModelStore, files: FileStore, tokens: PageTokens) -> None:
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

    async def download(self, name: str, file_id: str) -> tuple[ModelFile, AsyncIterator[bytes]]:
        """One file and its bytes, which are checked against its digest while they go out.

        file_id: "" for kohya. Raises NotFound; the stream raises DataLoss when the stored bytes are not the saved ones.
        """
        version = await self.get(name)
        file = version.file(file_id or KOHYA)
        if file is None:
            has = ", ".join(item.file_id for item in version.draft.files)
            raise NotFound(
                f"{version.name} has no file '{file_id or KOHYA}'",
                field="file_id",
                reason="FILE_NOT_FOUND",
                remedy=f"It has {has}.",
            )
        return file, self._bytes(version, file)

    async def _bytes(self, version: ModelVersion, file: ModelFile) -> AsyncIterator[bytes]:
        what = f"{file.file_name} of {version.name}"
        stored = self._files.read(file.object_key)
        try:
            async for chunk in checked(stored, size_bytes=file.size_bytes, sha256=file.sha256, what=what):
                yield chunk
        except NotFound as error:
            raise DataLoss(
                f"{what} is missing from the object store",
                reason="FILE_LOST",
                remedy="Restore the bucket from its backup, or save the epoch again.",
            ) from error
