"""UploadBaseModel: a file of gigabytes, taken part by part.

Each part is stored and noted before the next begins, so an upload that breaks off loses one part at most and goes on
behind the last. One part at a time lies in a temporary file; nothing of it is held in memory.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from services.chassis.budgets import AtOnce
from services.chassis.errors import Aborted, InvalidArgument
from services.chassis.names import project_of
from services.chassis.uploads import chunks_of, header_of
from services.trainer.models.own_base_model import OwnBaseModel, Part, check_upload, with_part
from services.trainer.ports.base_models import BaseModelFiles, BaseModelStore

PART_BYTES = 32 * 1024 * 1024
"""No less than the longest header, so that it lies in the first part whole."""


@dataclass(frozen=True, slots=True)
class BaseModelUpload:
    """What an upload brings: of which base model, and from which byte on."""

    name: str
    offset: int


class BaseModelUploading:
    """Takes files. idle_s: longest pause between two messages. at_once: counts uploads of a project."""

    def __init__(
        self,
        store: BaseModelStore,
        files: BaseModelFiles,
        *,
        clock: Callable[[], datetime],
        idle_s: float,
        at_once: AtOnce,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._store = store
        self._files = files
        self._clock = clock
        self._idle_s = idle_s
        self._at_once = at_once
        self._part_bytes = part_bytes

    async def upload(self, messages: AsyncIterator[BaseModelUpload | bytes]) -> OwnBaseModel:
        """Reads a header and then bytes, and returns the base model as it is then; with the last byte its check begins.

        Raises NotFound, FailedPrecondition(BASE_MODEL_STATE), Aborted(UPLOAD_OFFSET), InvalidArgument
        (UPLOAD_HEADER_MISSING, BASE_MODEL_FILE_DIFFERS, UPLOAD_TOO_LONG), DeadlineExceeded(UPLOAD_STALLED) and
        ResourceExhausted(BUDGET_USED_UP). Whole parts that came before are kept.
        """
        asked = await header_of(messages, BaseModelUpload, idle_s=self._idle_s)
        with self._at_once.one(project_of(asked.name), field="header.name"):
            model = await self._store.get(asked.name)
            check_upload(model, asked.offset)
            chunks = self._chunks(messages, model, asked.offset)
            with TemporaryDirectory(prefix="fiveshot-base-model-") as folder:
                path = Path(folder) / "part"
                while (part := await self._next_part(chunks, path)) is not None:
                    model = await self._keep(model, part, path)
        return model

    async def _keep(self, model: OwnBaseModel, part: tuple[int, str], path: Path) -> OwnBaseModel:
        """Stores a part, then notes it. A caller that goes away meanwhile changes nothing."""
        size, sha256 = part
        stored = Part(self._files.key(model.name), size, sha256)
        offset = model.uploaded_bytes

        async def keep() -> OwnBaseModel:
            await self._files.put(stored.object_key, path)
            try:
                return await self._store.change(
                    model.name, lambda found: with_part(found, stored, offset=offset, now=self._clock())
                )
            except Aborted:
                # Another upload of the same file was faster.
                await self._files.delete([stored])
                raise

        keeping = asyncio.create_task(keep())
        try:
            return await asyncio.shield(keeping)
        except asyncio.CancelledError:
            # The temporary file must outlive the storing of it.
            await asyncio.gather(keeping, return_exceptions=True)
            raise

    async def _next_part(self, chunks: AsyncIterator[bytes], path: Path) -> tuple[int, str] | None:
        """Size and digest of the next part, which lies at `path` then; None after the last."""
        digest, size = hashlib.sha256(), 0
        with path.open("wb") as file:
            while size < self._part_bytes and (chunk := await anext(chunks, None)) is not None:
                await asyncio.to_thread(_write, file, chunk)
                digest.update(chunk)
                size += len(chunk)
        return (size, digest.hexdigest()) if size else None

    async def _chunks(
        self, messages: AsyncIterator[BaseModelUpload | bytes], model: OwnBaseModel, offset: int
    ) -> AsyncIterator[bytes]:
        """The bytes, once their beginning is that of the announced file."""
        place, beginning = offset, bytearray()
        async for chunk in chunks_of(messages, idle_s=self._idle_s):
            place += len(chunk)
            if place > model.size_bytes:
                raise _differs(f"it has more than the {model.size_bytes} bytes that were announced", "UPLOAD_TOO_LONG")
            if offset == 0 and place - len(chunk) < model.header_bytes:
                beginning += chunk
                if len(beginning) < model.header_bytes:
                    continue
                _check_beginning(bytes(beginning[: model.header_bytes]), model)
                chunk = bytes(beginning)
            if chunk:
                yield chunk
        if offset == 0 and 0 < place < model.header_bytes:
            raise _differs("it ended within its header", "UPLOAD_TOO_SHORT")


def _check_beginning(header: bytes, model: OwnBaseModel) -> None:
    if hashlib.sha256(header).hexdigest() != model.header_sha256:
        raise _differs("it begins otherwise than the one that was announced", "BASE_MODEL_FILE_DIFFERS")


def _differs(why: str, reason: str) -> InvalidArgument:
    return InvalidArgument(
        f"This is not the announced file: {why}",
        field="chunk",
        reason=reason,
        remedy="Send the file that was announced, or delete the base model and announce this one.",
    )


def _write(file: IO[bytes], chunk: bytes) -> None:
    file.write(chunk)
