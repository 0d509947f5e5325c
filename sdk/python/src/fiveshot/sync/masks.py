# Made of fiveshot/aio/masks.py by tools/sync_client.py; change that file.
"""Masks on their way to the server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fiveshot import errors
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.sync import platform
from fiveshot.sync.calls import Stubs
from google.api.httpbody_pb2 import HttpBody

_PIECE_BYTES = 256 * 1024


def upload_mask(stubs: Stubs, image: str, file: Path | bytes, *, etag: str = "") -> dataset_pb2.Image:
    """Sets the mask of an image. file: a PNG, or its bytes. Raises what is wrong with it."""
    if isinstance(file, bytes):
        data = file
    else:
        try:
            data = platform.read_bytes(file)
        except OSError as error:
            raise errors.InvalidArgument(
                f"{file.name} cannot be read: {error.strerror}", field="file_name", reason="FILE_UNREADABLE",
                remedy="Check its path and its permissions.",
            ) from None  # fmt: skip
    first = pb.UploadImageMaskRequest(name=image, sha256=hashlib.sha256(data).hexdigest(), etag=etag)

    def requests() -> Iterator[pb.UploadImageMaskRequest]:
        yield first
        for start in range(0, len(data), _PIECE_BYTES):
            yield pb.UploadImageMaskRequest(content=HttpBody(data=data[start : start + _PIECE_BYTES]))

    def once(left: float | None) -> Any:
        return stubs.dataset.UploadImageMask(requests())

    masked: dataset_pb2.Image = stubs.channel.repeated(once)
    return masked
