"""Pictures that go to the object store by address, and are checked when they are said to be there."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import httpx
import pytest
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from google.rpc import error_details_pb2

from services.chassis.errors import DomainError, InvalidArgument, NotFound
from tests.fakes import pictures
from tests.fixtures.dataset import SET_NAME, DatasetServer


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


async def _put(server: DatasetServer, http: httpx.AsyncClient, *files: bytes) -> list[str]:
    """Upload ids of pictures that lie at their addresses."""
    asked = pb.CreateImageUploadsRequest(parent=SET_NAME, count=len(files))
    uploads = (await server.stub.CreateImageUploads(asked)).uploads
    for upload, data in zip(uploads, files, strict=True):
        if data:
            assert (await http.put(upload.url, content=data)).status_code == 200
    return [upload.upload_id for upload in uploads]


def _completed(*uploads: pb.CompletedUpload) -> pb.CompleteImageUploadsRequest:
    return pb.CompleteImageUploadsRequest(parent=SET_NAME, uploads=uploads)


async def test_pictures_go_past_the_service_and_are_checked_as_any(
    dataset_server: DatasetServer, http: httpx.AsyncClient
) -> None:
    await dataset_server.new_set(trigger_word="sks")
    files = [pictures.png(20, 20, seed=seed) for seed in range(5)]
    ids = await _put(dataset_server, http, *files)
    request = _completed(
        *(
            pb.CompletedUpload(
                upload_id=one,
                file_name=f"{n}.png",
                caption=f"cat {n}",
                tags=["cat"],
                sha256=hashlib.sha256(files[n]).hexdigest(),
            )
            for n, one in enumerate(ids)
        )
    )
    results = (await dataset_server.stub.CompleteImageUploads(request)).results
    assert [result.file_name for result in results] == [f"{n}.png" for n in range(5)]
    assert [result.image.training_text for result in results] == [f"sks, cat {n}" for n in range(5)]
    assert (await dataset_server.download(results[3].image.name))[0].chunk == files[3]
    # The answer was lost: the same call gives the same images.
    again = (await dataset_server.stub.CompleteImageUploads(request)).results
    assert [result.image.name for result in again] == [result.image.name for result in results]

    asked = pb.GetImageDownloadUrlRequest(name=results[0].image.name)
    url = (await dataset_server.stub.GetImageDownloadUrl(asked)).url
    whole = await http.get(url)
    assert whole.content == files[0]
    assert '"0.png"' in whole.headers["content-disposition"]
    part = await http.get(url, headers={"range": "bytes=4-9"})
    assert (part.status_code, part.content) == (206, files[0][4:10])


async def test_what_fails_is_named_by_file_and_nothing_of_it_is_stored(
    dataset_server: DatasetServer, http: httpx.AsyncClient
) -> None:
    await dataset_server.new_set()
    good, other = pictures.png(20, 20, seed=1), pictures.png(20, 20, seed=2)
    ids = await _put(dataset_server, http, good, b"GIF89a", b"", bytes(5 * 1024 * 1024 + 1), other, good)
    request = _completed(
        pb.CompletedUpload(upload_id=ids[0], file_name="good.png"),
        pb.CompletedUpload(upload_id=ids[1], file_name="a.png"),
        pb.CompletedUpload(upload_id=ids[2], file_name="b.png"),
        pb.CompletedUpload(upload_id=ids[3], file_name="c.png"),
        pb.CompletedUpload(upload_id=ids[4], file_name="../d.png"),
        pb.CompletedUpload(upload_id=ids[4], file_name="e.png", sha256="0" * 64),
        pb.CompletedUpload(upload_id="upl-unknown", file_name="f.png"),
    )
    results = (await dataset_server.stub.CompleteImageUploads(request)).results
    assert results[0].image.file_name == "good.png"
    found = []
    for result in results[1:]:
        assert not result.HasField("image")
        info, fields = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        for detail in result.error.details:
            detail.Unpack(info)
            detail.Unpack(fields)
        assert info.metadata["remedy"]
        found.append((result.file_name, info.reason, fields.field_violations[0].field))
    assert found == [
        ("a.png", "IMAGE_TYPE_MISMATCH", "uploads[1].upload_id"),
        ("b.png", "UPLOAD_NOT_FOUND", "uploads[2].upload_id"),
        ("c.png", "IMAGE_TOO_LARGE", "uploads[3].upload_id"),
        ("../d.png", "FILE_NAME_INVALID", "uploads[4].file_name"),
        ("e.png", "IMAGE_DIGEST_MISMATCH", "uploads[5].sha256"),
        ("f.png", "UPLOAD_NOT_FOUND", "uploads[6].upload_id"),
    ]
    twice = await dataset_server.stub.CompleteImageUploads(
        _completed(pb.CompletedUpload(upload_id=ids[5], file_name="twice.png"))
    )
    assert "already holds this picture" in twice.results[0].error.message
    stored = await dataset_server.stored()
    # One image of two objects; beside it only what lies at the addresses, noted for the sweeper.
    assert (stored["images"], stored["objects"]) == (1, 2 + 5)
    assert stored["noted_keys"] == 6


async def test_a_bad_request_gives_out_no_address(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    before = await dataset_server.stored()
    refused: list[tuple[type[DomainError], object, object]] = [
        (InvalidArgument, dataset_server.stub.CreateImageUploads,
         pb.CreateImageUploadsRequest(parent=SET_NAME, count=101)),
        (InvalidArgument, dataset_server.stub.CreateImageUploads, pb.CreateImageUploadsRequest(parent=SET_NAME)),
        (NotFound, dataset_server.stub.CreateImageUploads, pb.CreateImageUploadsRequest(parent=f"{SET_NAME}x", count=1)),  # noqa: E501
        (InvalidArgument, dataset_server.stub.CompleteImageUploads, _completed()),
        (InvalidArgument, dataset_server.stub.CompleteImageUploads,
         _completed(pb.CompletedUpload(upload_id="../../x", file_name="a.png"))),
        (NotFound, dataset_server.stub.GetImageDownloadUrl,
         pb.GetImageDownloadUrlRequest(name=f"{SET_NAME}/images/none")),
    ]  # fmt: skip
    for kind, method, request in refused:
        with pytest.raises(kind):
            await method(request)  # type: ignore[operator]
    assert await dataset_server.stored() == before
