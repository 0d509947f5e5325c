# Made of fiveshot/aio/base_models.py by tools/sync_client.py; change that file.
"""Base models that a project has uploaded for itself: a checkpoint of gigabytes, sent in one go or in several."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fiveshot import errors
from fiveshot.records import OwnBaseModelRecord
from fiveshot.sync import platform
from fiveshot.sync.calls import Listing, Stubs
from fiveshot.trainer.v1 import base_model_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb
from fiveshot.transfers import UploadProgress
from fiveshot.words import labelled
from google.protobuf.field_mask_pb2 import FieldMask

OnProgress = Callable[[UploadProgress], None]
CHUNK_BYTES = 256 * 1024
LONGEST_HEADER = 6 * 1024 * 1024
"""Bytes of a file's beginning that are sent before the rest of it."""
_HASHED_AT_ONCE = 4 * 1024 * 1024
_PAUSE_S = 2.0


class OwnBaseModel(OwnBaseModelRecord):
    """A base model of the project's own; jobs of the project take its `name` as their `base_model`."""

    def __init__(self, stubs: Stubs, message: base_model_pb2.BaseModel) -> None:
        super().__init__(message)
        self._stubs = stubs

    def refresh(self) -> OwnBaseModel:
        """Reads it anew."""
        self.message = self._stubs.trainer.GetBaseModel(pb.GetBaseModelRequest(name=self.name))
        return self

    def wait(self) -> OwnBaseModel:
        """Waits for the end of its check. Raises FailedPrecondition with the reason when it cannot be trained on."""
        self.refresh()
        while self.state == "checking":
            platform.sleep(_PAUSE_S)
            self.refresh()
        if self.state == "failed":
            why = self.message.error
            raise errors.FailedPrecondition(why.message, field="name", reason=why.reason, remedy=why.remedy)
        return self

    def update(
        self,
        *,
        display_name: str | None = None,
        description: str | None = None,
        license: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> OwnBaseModel:
        """Changes what is given. labels: instead of those that it has. Raises Aborted when it has changed since."""
        given: dict[str, Any] = {
            "display_name": display_name, "description": description, "license": license, "labels": labelled(labels),
        }  # fmt: skip
        values = {name: value for name, value in given.items() if value is not None}
        changed = base_model_pb2.BaseModel(name=self.name, etag=self.message.etag, **values)
        request = pb.UpdateBaseModelRequest(base_model=changed, update_mask=FieldMask(paths=list(values)))
        self.message = self._stubs.trainer.UpdateBaseModel(request)
        return self

    def delete(self, *, force: bool = False) -> None:
        """Deletes it with its file. force: although ended jobs or saved models were trained on it."""
        self._stubs.trainer.DeleteBaseModel(pb.DeleteBaseModelRequest(name=self.name, force=force))


class OwnBaseModels:
    """The base models of a project's own; those of all projects are in `client.base_models()`."""

    def __init__(self, stubs: Stubs) -> None:
        self._stubs = stubs
        self._endpoint = stubs.channel.endpoint

    def get(self, base_model: str) -> OwnBaseModel:
        """One by id or full name. Raises NotFound."""
        request = pb.GetBaseModelRequest(name=self._name(base_model))
        return OwnBaseModel(self._stubs, self._stubs.trainer.GetBaseModel(request))

    def list(self, filter: str = "", *, order_by: str = "") -> Listing[OwnBaseModel]:
        """Those that match an AIP-160 filter such as `state = READY`, the newest first."""
        request = pb.ListOwnBaseModelsRequest(parent=self._endpoint.parent, filter=filter, order_by=order_by)
        return Listing(
            self._stubs.trainer.ListOwnBaseModels, request, "base_models", lambda each: OwnBaseModel(self._stubs, each)
        )  # fmt: skip

    def upload(
        self, file: str | os.PathLike[str], id: str = "", *, license: str, display_name: str = "",
        description: str = "", based_on: str = "", labels: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> OwnBaseModel:  # fmt: skip
        """Sends a checkpoint (.safetensors), after which the server checks it: `wait()` waits for that.

        id: of the base model; called again with the same file and id, an upload that broke off goes on. license: its
        SPDX id, or where the right to train on it comes from. based_on: id of the base model of the catalogue that it
        is a fine-tune of; found by the server when empty.
        Raises InvalidArgument for a file that is no checkpoint, before it is sent.
        """
        path = Path(file)
        size, sha256, header = _measured(path)
        fields = base_model_pb2.BaseModel(
            display_name=display_name, description=description, license=license, file_name=path.name,
            size_bytes=size, sha256=sha256, labels=labelled(labels),
            based_on=self._endpoint.resource("baseModels", based_on) if based_on else "",
        )  # fmt: skip
        request = pb.CreateBaseModelRequest(
            parent=self._endpoint.parent, base_model_id=id, base_model=fields, header=header
        )  # fmt: skip
        try:
            made = OwnBaseModel(self._stubs, self._stubs.trainer.CreateBaseModel(request))
        except errors.AlreadyExists:
            made = self._begun(id, sha256)
        return self._send(made, path, on_progress)

    def _begun(self, id: str, sha256: str) -> OwnBaseModel:
        """The base model whose upload of the same file was begun before. Raises what made it impossible to begin."""
        try:
            found = self.get(id)
        except errors.NotFound:
            found = None
        if found is None or found.message.sha256 != sha256 or found.state == "failed":
            raise errors.AlreadyExists(
                f"There is a base model '{id}' with another file", field="base_model_id", reason="BASE_MODEL_EXISTS",
                remedy="Choose another id, or delete the one that is there.",
            )  # fmt: skip
        return found

    def _send(self, model: OwnBaseModel, path: Path, on_progress: OnProgress | None) -> OwnBaseModel:
        """Sends the file from where the server has it, again and again for as long as that gets on."""
        attempt, reached = 0, -1
        while model.state == "uploading":
            offset = model.message.uploaded_bytes
            attempt, reached = (1, offset) if offset > reached else (attempt + 1, reached)
            try:
                model.message = self._stubs.trainer.UploadBaseModel(_requests(model.name, path, offset, on_progress))
            except errors.FiveshotError as failure:
                pause = self._stubs.channel.patience.pause(failure, attempt, None)
                if pause is None:
                    raise
                platform.sleep(pause)
                model.refresh()
        return model

    def _name(self, given: str) -> str:
        return given if given.startswith("projects/") else f"{self._endpoint.parent}/baseModels/{given}"


def _requests(
    name: str, path: Path, offset: int, on_progress: OnProgress | None
) -> Iterator[pb.UploadBaseModelRequest]:
    header = pb.UploadBaseModelRequest.Header(name=name, offset=offset)
    yield pb.UploadBaseModelRequest(header=header)
    with path.open("rb") as opened:
        total = os.fstat(opened.fileno()).st_size
        opened.seek(offset)
        while data := opened.read(CHUNK_BYTES):
            yield pb.UploadBaseModelRequest(chunk=data)
            if on_progress:
                on_progress(UploadProgress(path, opened.tell(), total, 0, 1))


def _measured(path: Path) -> tuple[int, str, bytes]:
    """Size, SHA-256 and beginning of a file: its header where it has one, else enough to see what it is."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            beginning = opened.read(8)
            length = int.from_bytes(beginning, "little")
            beginning += opened.read(length if 8 + length <= LONGEST_HEADER else 64)
            opened.seek(0)
            while data := opened.read(_HASHED_AT_ONCE):
                digest.update(data)
    except OSError as error:
        raise errors.InvalidArgument(
            f"{path.name} cannot be read: {error.strerror}", field="file_name", reason="FILE_UNREADABLE",
            remedy="Check its path and its permissions.",
        ) from None  # fmt: skip
    if not beginning:
        raise errors.InvalidArgument(
            f"{path.name} is empty", field="file_name", reason="FILE_UNREADABLE", remedy="Download it again."
        )  # fmt: skip
    return size, digest.hexdigest(), beginning
