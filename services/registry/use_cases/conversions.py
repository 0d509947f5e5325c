"""A version's LoRA in a form that it was not stored in, made when it is asked for.

Both files lie on disk meanwhile, and of the tensors one at a time in memory. Equal versions give equal bytes. PEFT's
form is a folder for each network, so it is made as an archive of these.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
import zipfile
from collections.abc import AsyncIterator, Mapping
from typing import IO

from services.chassis.logging import get_logger
from services.registry.models.names import DIFFUSERS, KOHYA, PEFT, PEFT_CONFIG
from services.registry.models.resources import ModelFile, ModelVersion
from services.registry.ports import FileStore
from services.registry.use_cases.checked import stored_bytes
from services.registry.use_cases.forms import adapter_config, reading, tensors, writing
from services.registry.use_cases.titles import SUFFIX, output_name

log = get_logger(__name__)
FORMS = (KOHYA, DIFFUSERS, PEFT)
# Names in diffusers' form are a network's own; kohya's are taken apart again.
_SOURCES = (DIFFUSERS, PEFT, KOHYA)
_AT_ONCE = 2
_CHUNK = 256 * 1024
# As PEFT looks for them in a folder.
_WEIGHTS, _SETTINGS = "adapter_model.safetensors", "adapter_config.json"


def can_be_made(version: ModelVersion, file_id: str) -> bool:
    """Whether a file that a version does not have is a form of one that it has."""
    return file_id in FORMS and version.file(file_id) is None and _source(version) is not None


class Conversions:
    """Makes the missing forms, a few at once."""

    def __init__(self, files: FileStore) -> None:
        self._files = files
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def make(self, version: ModelVersion, file_id: str) -> tuple[ModelFile, AsyncIterator[bytes]]:
        """The file and its bytes, of a form for which `can_be_made` holds.

        Raises FailedPrecondition(FORM_NOT_POSSIBLE) for an adapter that the form cannot hold, DataLoss when the stored
        file is not the saved one.
        """
        source = _source(version)
        assert source is not None
        async with self._slots:
            with tempfile.TemporaryFile(prefix="fiveshot-registry-") as stored:
                async for chunk in stored_bytes(self._files, version, source):
                    await asyncio.to_thread(stored.write, chunk)
                stored.flush()
                settings = await self._settings(version, source)
                # It has no name on the disk, so it goes with its last reader, whatever becomes of the call.
                made = tempfile.TemporaryFile(prefix="fiveshot-registry-")  # noqa: SIM115
                name = output_name(version.draft.model_id, version.number)
                try:
                    size, sha256 = await asyncio.to_thread(_convert, stored, made, source, file_id, settings, name)
                except BaseException:
                    made.close()
                    raise
        log.info("form_made", version=version.name, form=file_id, of=source.file_id, size_bytes=size)
        kind = "application/zip" if file_id == PEFT else "application/octet-stream"
        return ModelFile(file_id, _file_name(name, file_id), kind, size, sha256, ""), _sent(made)

    async def _settings(self, version: ModelVersion, source: ModelFile) -> adapter_config.AdapterConfig:
        """What stands beside a file of PEFT's form; where it came without, alpha equals the rank."""
        beside = version.file(PEFT_CONFIG)
        if source.file_id != PEFT or beside is None:
            return adapter_config.AdapterConfig()
        text = b"".join([chunk async for chunk in stored_bytes(self._files, version, beside)])
        return adapter_config.read(text.decode())


def _source(version: ModelVersion) -> ModelFile | None:
    found = (version.file(form) for form in _SOURCES)
    return next((file for file in found if file is not None and file.file_name.endswith(SUFFIX)), None)


def _convert(
    stored: IO[bytes],
    made: IO[bytes],
    source: ModelFile,
    file_id: str,
    settings: adapter_config.AdapterConfig,
    name: str,
) -> tuple[int, str]:
    """Writes the file and returns its size and digest."""
    found, metadata = tensors.opened(stored)
    layers = reading.read(source.file_id, found, metadata, settings)
    kept = writing.about(metadata, source=f"{source.file_id} {source.sha256}", name=name)
    if file_id == PEFT:
        _archive(made, writing.for_peft(layers, kept))
    else:
        file = writing.rewritten(layers, file_id, metadata, kept)
        tensors.write(made, file.tensors, file.metadata)
    size, digest = made.tell(), hashlib.sha256()
    made.seek(0)
    while chunk := made.read(_CHUNK):
        digest.update(chunk)
    return size, digest.hexdigest()


def _archive(made: IO[bytes], networks: Mapping[str, writing.Rewritten]) -> None:
    # An entry made without a date has always the same one.
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, file in networks.items():
            archive.writestr(zipfile.ZipInfo(f"{name}/{_SETTINGS}"), file.settings)
            with archive.open(zipfile.ZipInfo(f"{name}/{_WEIGHTS}"), "w", force_zip64=True) as weights:
                tensors.write(weights, file.tensors, file.metadata)
    made.seek(0, 2)


async def _sent(made: IO[bytes]) -> AsyncIterator[bytes]:
    with made:
        await asyncio.to_thread(made.seek, 0)
        while chunk := await asyncio.to_thread(made.read, _CHUNK):
            yield chunk


def _file_name(name: str, file_id: str) -> str:
    return f"{name}{'' if file_id == KOHYA else f'-{file_id}'}{'.zip' if file_id == PEFT else SUFFIX}"
