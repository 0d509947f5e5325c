"""Photos of a dataset, one by one."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Mapping
from pathlib import Path
from typing import Any

from fiveshot.aio import transfer
from fiveshot.aio.calls import Stubs
from fiveshot.aio.masks import upload_mask
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.records import ImageRecord
from fiveshot.transfers import Saved
from fiveshot.words import labelled
from google.protobuf.field_mask_pb2 import FieldMask


class Image(ImageRecord):
    """One photo of a dataset."""

    def __init__(self, stubs: Stubs, message: dataset_pb2.Image) -> None:
        super().__init__(message)
        self._stubs = stubs

    async def update(
        self, *, caption: str | None = None, repeats: int | None = None, labels: Mapping[str, str] | None = None
    ) -> Image:
        """Sets its caption, how often it is used per epoch, or its labels; None leaves what there is."""
        given = {"caption": caption, "num_repeats": repeats, "labels": labelled(labels)}
        paths = [name for name, value in given.items() if value is not None]
        changed = dataset_pb2.Image(
            name=self.name, caption=caption or "", num_repeats=repeats or 0, labels=labelled(labels)
        )
        request = pb.UpdateImageRequest(image=changed, update_mask=FieldMask(paths=paths))
        self.message = await self._stubs.dataset.UpdateImage(request)
        return self

    async def download(self, to: str | os.PathLike[str] | None = None, *, overwrite: bool = True) -> Saved:
        """Writes the original; its digest is checked. to: a file or a folder; None is the working folder."""
        return await transfer.save(
            self._stubs.channel, self._chunks, to, name=self.file_name, sha256=self.sha256, overwrite=overwrite
        )

    async def read(self) -> bytes:
        """The original, checked against its digest."""
        return await transfer.content(self._stubs.channel, self._chunks, sha256=self.sha256)

    async def set_mask(self, file: str | os.PathLike[str] | bytes | None) -> Image:
        """Sets its mask from a PNG file or its bytes, white where it is trained; None takes the mask away.

        Raises InvalidArgument for another format or shape, and Aborted when somebody else has changed it.
        """
        if file is None:
            parent = self.name.partition("/images/")[0]
            entry = pb.SetImageMaskRequest(name=self.name, etag=self.message.etag)
            request = pb.BatchSetImageMasksRequest(parent=parent, requests=[entry])
            self.message = (await self._stubs.dataset.BatchSetImageMasks(request)).images[0]
            return self
        given = file if isinstance(file, bytes) else Path(file)
        self.message = await upload_mask(self._stubs, self.name, given, etag=self.message.etag)
        return self

    async def read_mask(self) -> bytes:
        """Its mask, a grey PNG, checked against its digest. Raises NotFound when it has none."""
        return await transfer.content(self._stubs.channel, self._mask_chunks, sha256=self.message.mask.sha256)

    async def delete(self) -> None:
        """Takes it out of the dataset; frozen versions keep it."""
        await self._stubs.dataset.DeleteImage(pb.DeleteImageRequest(name=self.name))

    def _mask_chunks(self) -> AsyncIterable[Any]:
        view = pb.DownloadImageRequest.VIEW_MASK
        return self._stubs.dataset.DownloadImage(pb.DownloadImageRequest(name=self.name, view=view))

    def _chunks(self) -> AsyncIterable[Any]:
        view = pb.DownloadImageRequest.VIEW_ORIGINAL
        return self._stubs.dataset.DownloadImage(pb.DownloadImageRequest(name=self.name, view=view))
