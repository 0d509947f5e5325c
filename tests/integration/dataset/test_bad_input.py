"""Every bad input gets its status, the field and a remedy, and leaves neither a row nor an object behind."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable

import pytest
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb

from services.chassis import errors
from services.chassis.listing.pages import PageTokens
from services.chassis.request_context import RequestContext, use
from services.chassis.store_settings import S3Settings
from tests.fakes import pictures
from tests.fixtures.dataset import SET_NAME, DatasetServer, running_dataset, upload_requests
from tests.fixtures.patience import until

CROP = pb.DownloadImageRequest.VIEW_CROP
PNG = pictures.png()
MIB = 1024 * 1024
PROJECT = "projects/acme"
# Its offset leads out of the years that there are.
TOO_EARLY = "0001-01-01T00:00:00+23:59"
LATE = "create_time > 9999-12-31T23:59:59-23:59"


def forged() -> str:
    """A page token signed with a key that is not the deployment's."""
    return PageTokens(b"fiveshot-page").seal([0, "dogs"], scope=f"ListDatasets|{PROJECT}||")


UPLOADS: list[tuple[str, Callable[[], bytes], dict[str, object], str, str]] = [
    ("wrong type under a right extension", pictures.jpeg, {}, "IMAGE_TYPE_MISMATCH", "chunk"),
    ("text under a right extension", lambda: b"no picture" * 50, {}, "IMAGE_TYPE_MISMATCH", "chunk"),
    ("a type that is not taken", pictures.gif, {"file_name": "a.gif"}, "IMAGE_TYPE_UNSUPPORTED", "header.file_name"),
    ("truncated", lambda: pictures.png()[:-400], {}, "IMAGE_UNREADABLE", "chunk"),
    ("6 MB", lambda: pictures.heavy_png(6 * MIB), {}, "IMAGE_TOO_LARGE", "chunk"),
    ("6 MB announced", lambda: PNG, {"size_bytes": 6 * MIB}, "IMAGE_TOO_LARGE", "header.size_bytes"),
    ("zero bytes", lambda: b"", {}, "IMAGE_EMPTY", "chunk"),
    ("400 MP", lambda: pictures.png_of_declared_size(20_000, 20_000), {}, "IMAGE_TOO_MANY_PIXELS", "chunk"),
    ("ends midway", lambda: PNG[:100], {"size_bytes": len(PNG)}, "IMAGE_INCOMPLETE", "header.size_bytes"),
    ("longer than announced", lambda: PNG, {"size_bytes": 10}, "IMAGE_INCOMPLETE", "header.size_bytes"),
    ("wrong digest", lambda: PNG, {"sha256": "0" * 64}, "IMAGE_DIGEST_MISMATCH", "header.sha256"),
    ("path up", lambda: PNG, {"file_name": "../a.png"}, "FILE_NAME_INVALID", "header.file_name"),
    ("path", lambda: PNG, {"file_name": "x/a.png"}, "FILE_NAME_INVALID", "header.file_name"),
    ("windows path", lambda: PNG, {"file_name": "x\\a.png"}, "FILE_NAME_INVALID", "header.file_name"),
    ("NUL", lambda: PNG, {"file_name": "a\x00.png"}, "TEXT_INVALID", "header.file_name"),
    ("control character", lambda: PNG, {"file_name": "a\x1b.png"}, "TEXT_INVALID", "header.file_name"),
    ("no name", lambda: PNG, {"file_name": ""}, "REQUEST_INVALID", "header.file_name"),
    ("NUL in the caption", lambda: PNG, {"caption": "a\x00"}, "TEXT_INVALID", "header.caption"),
    ("parent with ../", lambda: PNG, {"parent": "projects/acme/datasets/../x"}, "REQUEST_INVALID", "header.parent"),
]


async def test_bad_uploads(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    before = await dataset_server.stored()
    for what, data, header, reason, field in UPLOADS:
        with pytest.raises(errors.InvalidArgument) as caught:
            await dataset_server.upload(data(), **header)  # type: ignore[arg-type]
        assert (caught.value.reason, caught.value.field) == (reason, field), what
        assert caught.value.remedy, what
        assert await dataset_server.stored() == before, what
    assert before["objects"] == 0


async def test_an_unknown_dataset(dataset_server: DatasetServer) -> None:
    with pytest.raises(errors.NotFound) as caught:
        await dataset_server.upload(PNG)
    assert caught.value.metadata["name"] == SET_NAME
    assert not any((await dataset_server.stored()).values())


async def test_messages_in_the_wrong_order(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    header, chunk = upload_requests(PNG)
    before = await dataset_server.stored()
    for requests in ([], [chunk], [header, chunk, header], [header, pb.UploadImageRequest()]):
        with pytest.raises(errors.InvalidArgument):
            await dataset_server.stub.UploadImage(iter(requests))
        assert await dataset_server.stored() == before


async def test_a_chunk_over_one_mebibyte(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    with pytest.raises(errors.InvalidArgument) as caught:
        await dataset_server.stub.UploadImage(upload_requests(pictures.heavy_png(2 * MIB), chunk_bytes=2 * MIB))
    assert caught.value.field == "chunk"


async def test_a_caller_that_cancels_midway_leaves_nothing(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    before = await dataset_server.stored()
    sent = asyncio.Event()

    async def requests() -> AsyncIterator[pb.UploadImageRequest]:
        header, chunk = upload_requests(PNG)
        yield header
        yield pb.UploadImageRequest(chunk=chunk.chunk[:50])
        sent.set()
        await asyncio.Event().wait()

    call = asyncio.ensure_future(dataset_server.stub.UploadImage(requests()))
    await sent.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    async def as_before() -> bool:
        return await dataset_server.stored() == before

    await until(as_before, what="the stores to be as before")
    # The service is well: the same picture goes in afterwards.
    assert (await dataset_server.upload(PNG)).size_bytes == len(PNG)


async def test_a_stream_that_stalls_is_ended(s3_settings: S3Settings, sqlite_url: str) -> None:
    async def requests() -> AsyncIterator[pb.UploadImageRequest]:
        header, chunk = upload_requests(PNG)
        yield header
        yield chunk
        await asyncio.Event().wait()

    async with running_dataset(s3_settings, sqlite_url, upload_idle_s=1) as server:
        await server.new_set()
        before = await server.stored()
        with pytest.raises(errors.DeadlineExceeded) as caught:
            await server.stub.UploadImage(requests())
        assert caught.value.reason == "UPLOAD_STALLED"
        assert await server.stored() == before


async def test_the_101st_image(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    turns = asyncio.Semaphore(8)

    async def upload(seed: int) -> dataset_pb2.Image | BaseException:
        async with turns:
            try:
                return await dataset_server.upload(pictures.png(16, 16, seed=seed), file_name=f"{seed}.png")
            except errors.ResourceExhausted as error:
                return error

    results = await asyncio.gather(*(upload(seed) for seed in range(103)))
    refused = [result for result in results if isinstance(result, errors.ResourceExhausted)]
    assert len(refused) == 3
    assert {error.reason for error in refused} == {"DATASET_FULL"}
    assert refused[0].metadata["limit"] == "100"
    stored = await dataset_server.stored()
    assert (stored["images"], stored["objects"], stored["noted_keys"]) == (100, 200, 0)
    dataset = await dataset_server.stub.GetDataset(pb.GetDatasetRequest(name=SET_NAME))
    assert dataset.image_count == 100


async def test_the_same_bytes_twice(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    first = await dataset_server.upload(PNG, file_name="first.png")
    before = await dataset_server.stored()
    digest = hashlib.sha256(PNG).hexdigest()
    for header in ({"sha256": digest}, {}):
        with pytest.raises(errors.AlreadyExists) as caught:
            await dataset_server.upload(PNG, file_name="second.png", **header)
        assert (caught.value.reason, caught.value.metadata["image"]) == ("IMAGE_DUPLICATE", first.name)
    assert await dataset_server.stored() == before
    assert [m.chunk for m in await dataset_server.download(first.name)] == [PNG]


async def test_another_projects_name(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    image = await dataset_server.upload(PNG)
    before = await dataset_server.stored()
    stub = dataset_server.stub
    with use(RequestContext(request_id="r", projects=frozenset({"other"}))):
        for call in (
            lambda: stub.GetDataset(pb.GetDatasetRequest(name=SET_NAME)),
            lambda: stub.DeleteDataset(pb.DeleteDatasetRequest(name=SET_NAME, force=True)),
            lambda: stub.UpdateImage(pb.UpdateImageRequest(image=dataset_pb2.Image(name=image.name, caption="x"))),
            lambda: stub.CreateDataset(pb.CreateDatasetRequest(parent="projects/acme", dataset_id="x")),
            lambda: dataset_server.upload(pictures.png(seed=1)),
            lambda: dataset_server.download(image.name),
        ):
            with pytest.raises(errors.PermissionDenied) as caught:
                await call()
            assert caught.value.reason == "PROJECT_FORBIDDEN"
    assert await dataset_server.stored() == before


async def test_bad_requests_name_the_field(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    image = await dataset_server.upload(PNG)
    before, stub = await dataset_server.stored(), dataset_server.stub
    tag, crop = dataset_pb2.Tag, dataset_pb2.Crop

    def update(mask: list[str], **fields: object) -> object:
        wanted = dataset_pb2.Image(name=image.name, **fields)  # type: ignore[arg-type]
        return stub.UpdateImage(pb.UpdateImageRequest(image=wanted, update_mask={"paths": mask}))  # type: ignore[arg-type]

    async def drawn(**fields: object) -> object:
        request = pb.DownloadImageRequest(name=image.name, **fields)  # type: ignore[arg-type]
        return [part async for part in stub.DownloadImage(request)]

    cases: list[tuple[Callable[[], object], str]] = [
        (lambda: update(["sha256"], caption="x"), "update_mask"),
        (lambda: update([], tags=[tag(label="a,b")]), "image.tags[0].label"),
        (lambda: update([], tags=[tag(label="a", score=2)]), "image.tags[0].score"),
        (lambda: update([], tags=[tag(label="  ")]), "image.tags[0].label"),
        (lambda: update([], crop=crop(left=0.9, right=0.1, bottom=1)), "image.crop"),
        (lambda: update([], num_repeats=5000), "image.num_repeats"),
        (lambda: drawn(view=CROP, width=64), "height"),
        (lambda: drawn(view=CROP, width=5000, height=64), "width"),
        (lambda: drawn(view=CROP, crop=crop(left=0.9, right=0.1, bottom=1)), "crop"),
        (lambda: drawn(width=64, height=64), "view"),
        (lambda: stub.GetImageDownloadUrl(pb.GetImageDownloadUrlRequest(name=image.name, view=CROP)), "view"),
        (lambda: dataset_server.new_set("Dogs"), "dataset_id"),
        (lambda: dataset_server.new_set("cats", trigger_word="a,b"), "dataset.trigger_word"),
        (lambda: dataset_server.new_set("cats", display_name="\x00"), "dataset.display_name"),
        (lambda: stub.EditTags(pb.EditTagsRequest(parent=SET_NAME)), "edits"),
        (lambda: stub.ListImages(pb.ListImagesRequest(parent=SET_NAME, filter="size > 1")), "filter"),
        (lambda: stub.ListImages(pb.ListImagesRequest(parent=SET_NAME, page_token="x")), "page_token"),
        (lambda: stub.ListImages(pb.ListImagesRequest(parent=SET_NAME, order_by="caption")), "order_by"),
        (lambda: stub.ListImages(pb.ListImagesRequest(parent=SET_NAME, filter=f"create_time > {TOO_EARLY}")), "filter"),
        (lambda: stub.ListDatasets(pb.ListDatasetsRequest(parent=PROJECT, filter=f"NOT ({LATE})")), "filter"),
        (lambda: stub.ListDatasets(pb.ListDatasetsRequest(parent=PROJECT, page_token=forged())), "page_token"),
        (lambda: stub.GetImage(pb.GetImageRequest(name=f"{SET_NAME}/images/../x")), "name"),
    ]
    for call, field in cases:
        with pytest.raises(errors.InvalidArgument) as caught:
            await call()  # type: ignore[misc]
        assert caught.value.field == field
    assert await dataset_server.stored() == before
    assert await stub.GetImage(pb.GetImageRequest(name=image.name)) == image
