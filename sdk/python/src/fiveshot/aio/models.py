"""Models: named series of kept epochs, with the files that other tools read."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fiveshot import peft_folders
from fiveshot.aio import transfer
from fiveshot.aio.archives import OnProgress, import_model
from fiveshot.aio.calls import Listing, Stubs
from fiveshot.aio.previews import TriedOut
from fiveshot.errors import NotFound
from fiveshot.records import ModelRecord, ModelVersionRecord
from fiveshot.registry.v1 import model_pb2
from fiveshot.registry.v1 import registry_service_pb2 as pb
from fiveshot.transfers import Saved
from fiveshot.words import labelled, several
from google.protobuf.field_mask_pb2 import FieldMask

# Copying and checking every file of a large epoch takes its time.
SAVE_TIMEOUT_S = 600.0
PEFT = "peft"


class ModelVersion(ModelVersionRecord, TriedOut[model_pb2.ModelVersion]):
    """A kept epoch; it never changes."""

    def __init__(self, stubs: Stubs, message: model_pb2.ModelVersion) -> None:
        super().__init__(message)
        self._stubs = stubs

    async def download(
        self, to: str | os.PathLike[str] | None = None, *, format: str = "kohya", overwrite: bool = True
    ) -> Saved:
        """Writes one of its `files`; it gets its name only when it is complete and its digest is right.

        to: a file, or a folder to put it in under its own name; None is the working folder. format: `kohya` as
        A1111 and ComfyUI read it, `diffusers`, `peft`, or another of `files`; a LoRA that is stored in another form is
        rewritten. For `peft` `to` is a folder, as PEFT reads it: weights and settings, in a folder for each network.
        Raises NotFound, AlreadyExists, DataLoss, FailedPrecondition(FORM_NOT_POSSIBLE).
        """
        return await save_file(self._stubs, self.name, format, to, overwrite=overwrite)

    async def read(self, format: str = "kohya") -> bytes:
        """One of its files, checked against its digest."""
        return await transfer.content(self._stubs.channel, lambda: _chunks(self._stubs, self.name, format))

    async def update(self, *, labels: Mapping[str, str]) -> ModelVersion:
        """Gives it other labels; nothing else of a version changes. Raises Aborted when it has changed since."""
        given = model_pb2.ModelVersion(name=self.name, etag=self.message.etag, labels=labelled(labels))
        request = pb.UpdateModelVersionRequest(model_version=given, update_mask=FieldMask(paths=["labels"]))
        self.message = await self._stubs.registry.UpdateModelVersion(request)
        return self

    async def delete(self, *, force: bool = False) -> None:
        """Deletes it. force: also when an alias names it."""
        await self._stubs.registry.DeleteModelVersion(pb.DeleteModelVersionRequest(name=self.name, force=force))


class Model(ModelRecord):
    """A named series of trained adapters."""

    def __init__(self, stubs: Stubs, message: model_pb2.Model) -> None:
        super().__init__(message)
        self._stubs = stubs

    @property
    def versions(self) -> Listing[ModelVersion]:
        """Its versions, the newest first."""
        request = pb.ListModelVersionsRequest(parent=self.name)
        return Listing(
            self._stubs.registry.ListModelVersions, request, "versions", lambda each: ModelVersion(self._stubs, each)
        )  # fmt: skip

    async def version(self, which: str | int = "latest") -> ModelVersion:
        """A version by number or alias. Raises NotFound."""
        request = pb.GetModelVersionRequest(name=f"{self.name}/versions/{which}")
        return ModelVersion(self._stubs, await self._stubs.registry.GetModelVersion(request))

    async def update(
        self, *, display_name: str | None = None, description: str | None = None,
        tags: str | Sequence[str] | None = None, labels: Mapping[str, str] | None = None,
    ) -> Model:  # fmt: skip
        """Changes what is given; labels and tags take the place of those that it has.

        Raises Aborted when somebody else has changed it since it was read.
        """
        given: dict[str, Any] = {
            "display_name": display_name, "description": description, "labels": labelled(labels),
            "tags": None if tags is None else several(tags),
        }  # fmt: skip
        values = {name: value for name, value in given.items() if value is not None}
        changed = model_pb2.Model(name=self.name, etag=self.message.etag, **values)
        request = pb.UpdateModelRequest(model=changed, update_mask=FieldMask(paths=list(values)))
        self.message = await self._stubs.registry.UpdateModel(request)
        return self

    async def set_alias(self, alias: str, version: int) -> None:
        """Points an alias at a version."""
        request = pb.SetModelAliasRequest(name=self.name, alias=alias, version=version)
        self.message = await self._stubs.registry.SetModelAlias(request)

    async def delete_alias(self, alias: str) -> None:
        """Removes an alias."""
        request = pb.DeleteModelAliasRequest(name=self.name, alias=alias)
        self.message = await self._stubs.registry.DeleteModelAlias(request)

    async def delete(self, *, force: bool = False) -> None:
        """Deletes it. force: with its versions."""
        await self._stubs.registry.DeleteModel(pb.DeleteModelRequest(name=self.name, force=force))


class Models:
    """The models of a project."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs
        self._endpoint = stubs.channel.endpoint

    async def get(self, model: str) -> Model:
        """One by id or full name. Raises NotFound."""
        request = pb.GetModelRequest(name=self._endpoint.resource("models", model))
        return Model(self._stubs, await self._stubs.registry.GetModel(request))

    async def create(
        self, id: str = "", *, display_name: str = "", description: str = "", labels: Mapping[str, str] | None = None
    ) -> Model:
        """An empty model. id: chosen by the server when empty."""
        fields = model_pb2.Model(display_name=display_name, description=description, labels=labelled(labels))
        request = pb.CreateModelRequest(parent=self._endpoint.parent, model_id=id, model=fields)
        return Model(self._stubs, await self._stubs.registry.CreateModel(request))

    async def import_file(
        self, model: str, file: str | os.PathLike[str], *, create: bool = True, base_model: str = "", trigger: str = "",
        display_name: str = "", description: str = "", aliases: str | Sequence[str] = (),
        on_progress: OnProgress | None = None,
    ) -> ModelVersion:  # fmt: skip
        """Keeps a LoRA of kohya, diffusers or PEFT (.safetensors) as the next version of a model.

        file: or the folder that PEFT saved, whose adapter_config.json says how strongly the LoRA applies. create: the
        model, if there is none. base_model: id of that which it is made for. trigger: what the file says by default.
        Raises InvalidArgument for a file that is none.
        """
        path, settings = peft_folders.weights_of(Path(file))
        name = self._endpoint.resource("baseModels", base_model) if base_model else ""
        first = pb.ImportModelVersionRequest(
            parent=self._endpoint.resource("models", model), file_name=path.name, create_model=create,
            base_model=name, trigger_word=trigger, display_name=display_name, description=description,
            aliases=several(aliases), adapter_config=settings,
        )  # fmt: skip
        return ModelVersion(self._stubs, await import_model(self._stubs, first, path, on_progress))

    def list(self, filter: str = "", *, order_by: str = "") -> Listing[Model]:
        """Those that match an AIP-160 filter."""
        request = pb.ListModelsRequest(parent=self._endpoint.parent, filter=filter, order_by=order_by)
        return Listing(self._stubs.registry.ListModels, request, "models", lambda message: Model(self._stubs, message))


async def save_file(
    stubs: Stubs, version: str, file_id: str, to: str | os.PathLike[str] | None, *, overwrite: bool
) -> Saved:
    """Writes a file of a version (full name), as `ModelVersion.download`; file_id: "" for kohya."""
    if file_id != PEFT:
        return await transfer.save(stubs.channel, lambda: _chunks(stubs, version, file_id), to, overwrite=overwrite)
    with tempfile.TemporaryDirectory(prefix="fiveshot-") as spare:
        saved = await transfer.save(stubs.channel, lambda: _chunks(stubs, version, PEFT), spare)
        folder, settings = Path(to) if to is not None else Path(saved.path.stem), Path(spare) / peft_folders.SETTINGS
        if saved.path.suffix != ".zip":
            # It came in this form, perhaps without its settings.
            with contextlib.suppress(NotFound):
                await transfer.save(stubs.channel, lambda: _chunks(stubs, version, "peft-config"), settings)
        peft_folders.unpack(saved.path, settings, folder, overwrite=overwrite)
    return Saved(folder, saved.size, saved.sha256)


async def save_epoch(
    stubs: Stubs, epoch: str, model: str, *, create: bool, display_name: str, description: str,
    aliases: str | Sequence[str], labels: Mapping[str, str] | None,
) -> ModelVersion:  # fmt: skip
    """Copies an epoch (full name) into a model as its next version."""
    request = pb.SaveEpochRequest(
        parent=stubs.channel.endpoint.parent, epoch=epoch, model_id=model, create_model=create,
        display_name=display_name, description=description, aliases=several(aliases), labels=labelled(labels),
    )  # fmt: skip
    return ModelVersion(stubs, await stubs.registry.SaveEpoch(request, timeout=SAVE_TIMEOUT_S))


def _chunks(stubs: Stubs, version: str, file_id: str) -> AsyncIterable[Any]:
    return stubs.registry.DownloadModelVersion(pb.DownloadModelVersionRequest(name=version, file_id=file_id))
