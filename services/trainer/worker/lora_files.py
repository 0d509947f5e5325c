"""LoRA files that are drawn or gone on from, fetched and checked: epochs from S3, versions from the registry."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import grpc
from fiveshot.registry.v1 import registry_service_pb2, registry_service_pb2_grpc
from fiveshot.trainer.v1 import training_job_pb2, worker_service_pb2

from services.chassis.errors import DataLoss, NotFound
from services.chassis.patience import patiently
from services.chassis.s3 import ObjectStore
from services.trainer.worker.wire import PreviewTask

FORM = "diffusers"
_CALL_S = 300.0


class LoraFiles:
    """Fetches files; repeats while the registry or the object store is away."""

    def __init__(self, registry: grpc.aio.Channel, objects: ObjectStore, *, patience_s: float) -> None:
        self._registry = registry_service_pb2_grpc.RegistryServiceStub(registry)
        self._objects = objects
        self._patience_s = patience_s

    async def of(self, task: PreviewTask, folder: Path) -> dict[str, Path]:
        """A file in diffusers' form for each source of the cells that lack.

        Raises NotFound for a version that was deleted meanwhile, FailedPrecondition for one that has no such form, and
        DataLoss when bytes are not those that were written.
        """
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        found: dict[str, Path] = {}
        for number, source in enumerate(dict.fromkeys(cell.source for cell in task.cells)):
            path = folder / f"{number:03d}.safetensors"
            file = task.weights.get(source)
            await (self._of_version(source, FORM, path) if file is None else self._of_epoch(source, file, path))
            found[source] = path
        return found

    async def initial(self, name: str, asked: worker_service_pb2.InitialLora, path: Path) -> Path:
        """The file of the LoRA that a job goes on from.

        Raises NotFound(INITIAL_LORA_GONE) when it was deleted meanwhile, and DataLoss.
        """
        await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
        if "/epochs/" in name and not asked.HasField("file"):
            raise _gone(name)
        try:
            if asked.HasField("file"):
                await self._of_epoch(name, asked.file, path)
            else:
                await self._of_version(name, asked.form, path)
        except NotFound as error:
            raise _gone(name) from error
        return path

    async def _of_epoch(self, name: str, file: training_job_pb2.EpochFile, path: Path) -> None:
        async def fetch() -> None:
            await self._objects.download_to(file.object_key, path)

        await patiently(fetch, what="object store", patience_s=self._patience_s)
        _check(await asyncio.to_thread(path.read_bytes), file.sha256, name)

    async def _of_version(self, name: str, form: str, path: Path) -> None:
        request = registry_service_pb2.DownloadModelVersionRequest(name=name, file_id=form)

        async def call() -> tuple[bytes, str]:
            parts, sha256 = [], ""
            async for message in self._registry.DownloadModelVersion(request, timeout=_CALL_S):
                parts.append(message.chunk)
                sha256 = message.file.sha256 or sha256
            return b"".join(parts), sha256

        data, sha256 = await patiently(call, what="registry", patience_s=self._patience_s)
        _check(data, sha256, name)
        await asyncio.to_thread(path.write_bytes, data)


def _gone(name: str) -> NotFound:
    return NotFound(
        f"The LoRA to start from, {name}, was deleted before the job began",
        reason="INITIAL_LORA_GONE",
        remedy="Start a new job from another one.",
    )


def _check(data: bytes, sha256: str, name: str) -> None:
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise DataLoss(
            f"The stored LoRA of {name} is not what was written",
            reason="DIGEST_MISMATCH",
            remedy="Use another one; tell the operator that the object store lost data.",
        )
