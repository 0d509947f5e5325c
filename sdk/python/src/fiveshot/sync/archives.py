# Made of fiveshot/aio/archives.py by tools/sync_client.py; change that file.
"""Whole files that the server takes apart or keeps as they are: archives of pictures, LoRAs from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fiveshot import errors
from fiveshot.connection import new_request_id
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from fiveshot.folders import PassedOver
from fiveshot.layouts import Why
from fiveshot.registry.v1 import model_pb2
from fiveshot.registry.v1 import registry_service_pb2 as registry_pb
from fiveshot.sync.calls import Stubs
from fiveshot.sync.transfer import CHUNK_BYTES, DUPLICATE
from fiveshot.transfers import Refusal, Upload, UploadProgress
from google.api.httpbody_pb2 import HttpBody

OnProgress = Callable[[UploadProgress], None]
_WHY = {
    pb.PassedOver.REASON_HIDDEN: Why.HIDDEN,
    pb.PassedOver.REASON_NO_PICTURE: Why.OTHER,
    pb.PassedOver.REASON_CAPTION_WITHOUT_PICTURE: Why.CAPTION,
    pb.PassedOver.REASON_LINE_WITHOUT_PICTURE: Why.LINE,
    pb.PassedOver.REASON_MASK_WITHOUT_PICTURE: Why.MASK,
    pb.PassedOver.REASON_SECOND_CAPTION: Why.SECOND,
}


def is_archive(path: Path) -> bool:
    """Whether a path is a zip archive by its name."""
    return path.suffix.lower() == ".zip" and path.is_file()


def upload_archive(
    stubs: Stubs, dataset: str, archive: Path, result: Upload, *,
    captions: bool = True, folder_repeats: bool = True, update_present: bool = False,
    on_progress: OnProgress | None = None,
) -> list[str]:  # fmt: skip
    """Uploads a zip archive of pictures in one call, and adds what became of each of them to `result`.

    Returns the subjects that its folders name, such as `sks cat`. Raises what is wrong with the archive as a whole.
    """
    first = pb.ImportImagesRequest(
        parent=dataset, ignore_captions=not captions, ignore_folder_repeats=not folder_repeats,
        request_id=new_request_id(), update_present=update_present,
    )  # fmt: skip

    def requests() -> Iterator[pb.ImportImagesRequest]:
        yield first
        for data in _pieces(archive, on_progress):
            yield pb.ImportImagesRequest(content=HttpBody(data=data))

    def once(left: float | None) -> Any:
        return stubs.dataset.ImportImages(requests())

    answer: pb.ImportImagesResponse = stubs.channel.repeated(once)
    for one in answer.results:
        path = archive / one.file_name
        if one.updated:
            result.present.append(path)
            result.updated.append(path)
            continue
        if one.WhichOneof("outcome") == "image":
            result.images.append(one.image)
            continue
        error = errors.from_status(one.error)
        if error.reason == DUPLICATE:
            result.present.append(path)
            result.held_as[path] = error.metadata.get("file_name", "")
            if one.differing_fields:
                result.differing[path] = list(one.differing_fields)
        else:
            result.refused.append(Refusal(path, error))
    for each in answer.passed_over:
        result.passed_over.append(PassedOver(archive / each.path, _WHY.get(each.reason, Why.OTHER)))
    return list(answer.subjects)


def import_model(
    stubs: Stubs, first: registry_pb.ImportModelVersionRequest, file: Path, on_progress: OnProgress | None = None
) -> model_pb2.ModelVersion:
    """Keeps a LoRA file as the next version of a model. first: everything but the bytes."""
    if not first.request_id:
        first.request_id = new_request_id()

    def requests() -> Iterator[registry_pb.ImportModelVersionRequest]:
        yield first
        for data in _pieces(file, on_progress):
            yield registry_pb.ImportModelVersionRequest(content=HttpBody(data=data))

    def once(left: float | None) -> Any:
        return stubs.registry.ImportModelVersion(requests())

    version: model_pb2.ModelVersion = stubs.channel.repeated(once)
    return version


def _pieces(file: Path, on_progress: OnProgress | None) -> Iterator[bytes]:
    try:
        opened = file.open("rb")
    except OSError as error:
        raise errors.InvalidArgument(
            f"{file.name} cannot be read: {error.strerror}", field="file_name", reason="FILE_UNREADABLE",
            remedy="Check its path and its permissions.",
        ) from None  # fmt: skip
    with opened:
        total = os.fstat(opened.fileno()).st_size
        while data := opened.read(CHUNK_BYTES):
            yield data
            if on_progress:
                on_progress(UploadProgress(file, opened.tell(), total, 0, 1))
