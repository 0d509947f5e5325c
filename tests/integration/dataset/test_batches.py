"""Several images at once, all or none; and the end of a version."""

from __future__ import annotations

from typing import Any

import pytest
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb

from services.chassis.errors import Aborted, DomainError, FailedPrecondition, InvalidArgument, NotFound
from tests.fakes import pictures
from tests.fixtures.dataset import SET_NAME, DatasetServer


async def _filled(server: DatasetServer, count: int = 3) -> list[dataset_pb2.Image]:
    await server.new_set(trigger_word="sks")
    return [await server.upload(pictures.png(20, 20, seed=seed), file_name=f"{seed}.png") for seed in range(count)]


async def test_images_are_read_changed_and_deleted_together(dataset_server: DatasetServer) -> None:
    stub = dataset_server.stub
    images = await _filled(dataset_server)
    names = [image.name for image in reversed(images)]
    got = await stub.BatchGetImages(pb.BatchGetImagesRequest(parent=SET_NAME, names=names))
    assert [image.name for image in got.images] == names
    requests = [
        pb.UpdateImageRequest(image=dataset_pb2.Image(name=image.name, caption=f"cat {n}", etag=image.etag, width=9))
        for n, image in enumerate(images)
    ]
    changed = await stub.BatchUpdateImages(pb.BatchUpdateImagesRequest(parent=SET_NAME, requests=requests))
    assert [image.training_text for image in changed.images] == ["sks, cat 0", "sks, cat 1", "sks, cat 2"]
    assert {image.width for image in changed.images} == {20}
    deletes = [pb.DeleteImageRequest(name=image.name, etag=image.etag) for image in changed.images[:2]]
    await stub.BatchDeleteImages(pb.BatchDeleteImagesRequest(parent=SET_NAME, requests=deletes))
    left = await stub.ListImages(pb.ListImagesRequest(parent=SET_NAME))
    assert [image.file_name for image in left.images] == ["2.png"]
    dataset = await stub.GetDataset(pb.GetDatasetRequest(name=SET_NAME))
    assert (dataset.image_count, dataset.size_bytes) == (1, images[2].size_bytes)
    assert (await dataset_server.stored())["objects"] == 2


def _update(name: str, **fields: Any) -> pb.UpdateImageRequest:
    return pb.UpdateImageRequest(image=dataset_pb2.Image(name=name, **fields))


async def test_one_bad_entry_refuses_the_whole_batch_and_is_named(dataset_server: DatasetServer) -> None:
    stub = dataset_server.stub
    images = await _filled(dataset_server)
    before = [image.SerializeToString() for image in (await stub.ListImages(_all())).images]
    one, two = images[0].name, images[1].name
    missing, elsewhere = f"{SET_NAME}/images/none", one.replace("/dogs/", "/cats/")
    cases: list[tuple[type[DomainError], str, Any, Any]] = [
        (NotFound, "requests[1].image.name", stub.BatchUpdateImages, [_update(one, caption="x"), _update(missing)]),
        (Aborted, "requests[1].image.etag", stub.BatchUpdateImages, [_update(one), _update(two, etag="0")]),
        (InvalidArgument, "requests[1].image.name", stub.BatchUpdateImages, [_update(one), _update(elsewhere)]),
        (InvalidArgument, "requests[1].image.name", stub.BatchUpdateImages, [_update(one), _update(one)]),
        (InvalidArgument, "requests[1].image.caption", stub.BatchUpdateImages,
         [_update(one, caption="x"), _update(two, caption="a\x01b")]),
        (InvalidArgument, "requests[0].image.caption", stub.BatchUpdateImages, [_update(one, caption="x" * 2001)]),
        (InvalidArgument, "requests", stub.BatchUpdateImages, []),
        (InvalidArgument, "requests", stub.BatchDeleteImages, [pb.DeleteImageRequest(name=one)] * 101),
        (NotFound, "requests[1].name", stub.BatchDeleteImages,
         [pb.DeleteImageRequest(name=one), pb.DeleteImageRequest(name=missing)]),
        (Aborted, "requests[1].etag", stub.BatchDeleteImages,
         [pb.DeleteImageRequest(name=one), pb.DeleteImageRequest(name=two, etag="0")]),
        (InvalidArgument, "requests[1].name", stub.BatchDeleteImages, [pb.DeleteImageRequest(name=one)] * 2),
    ]  # fmt: skip
    for kind, field, method, requests in cases:
        batch = pb.BatchUpdateImagesRequest if method is stub.BatchUpdateImages else pb.BatchDeleteImagesRequest
        with pytest.raises(kind) as refused:
            await method(batch(parent=SET_NAME, requests=requests))
        assert refused.value.field == field, refused.value
        assert refused.value.remedy
    for names, found in (([one, missing], "names[1]"), ([one, elsewhere], "names[1]"), (["no name"], "names[0]")):
        with pytest.raises(DomainError) as unread:
            await stub.BatchGetImages(pb.BatchGetImagesRequest(parent=SET_NAME, names=names))
        assert unread.value.field == found
    assert [image.SerializeToString() for image in (await stub.ListImages(_all())).images] == before


def _all() -> pb.ListImagesRequest:
    return pb.ListImagesRequest(parent=SET_NAME)


async def test_a_version_takes_along_what_nothing_else_holds(dataset_server: DatasetServer) -> None:
    stub = dataset_server.stub
    images = await _filled(dataset_server)
    first = await stub.CreateDatasetVersion(pb.CreateDatasetVersionRequest(parent=SET_NAME))
    await stub.DeleteImage(pb.DeleteImageRequest(name=images[0].name))
    second = await stub.CreateDatasetVersion(pb.CreateDatasetVersionRequest(parent=SET_NAME))
    await stub.DeleteImage(pb.DeleteImageRequest(name=images[1].name))
    before = await dataset_server.stored()
    refusals: list[tuple[type[DomainError], str, pb.DeleteDatasetVersionRequest]] = [
        (FailedPrecondition, "force", pb.DeleteDatasetVersionRequest(name=first.name)),
        (Aborted, "etag", pb.DeleteDatasetVersionRequest(name=first.name, etag=second.etag, force=True)),
        (NotFound, "name", pb.DeleteDatasetVersionRequest(name=f"{SET_NAME}/versions/9", force=True)),
        (NotFound, "name", pb.DeleteDatasetVersionRequest(name="projects/acme/datasets/none/versions/1", force=True)),
    ]
    for kind, field, request in refusals:
        with pytest.raises(kind) as refused:
            await stub.DeleteDatasetVersion(request)
        assert refused.value.field == field
    assert await dataset_server.stored() == before
    assert before["objects"] == 6

    # The picture that only the first version held goes; the second version and the set keep theirs.
    await stub.DeleteDatasetVersion(pb.DeleteDatasetVersionRequest(name=first.name, etag=first.etag, force=True))
    assert (await dataset_server.stored())["objects"] == 4
    left = await stub.ListDatasetVersions(pb.ListDatasetVersionsRequest(parent=SET_NAME))
    assert [version.name for version in left.versions] == [second.name]
    await stub.DeleteDatasetVersion(pb.DeleteDatasetVersionRequest(name=second.name, force=True))
    assert (await dataset_server.stored())["objects"] == 2
    assert (await dataset_server.download(images[2].name))[0].size_bytes == images[2].size_bytes
    third = await stub.CreateDatasetVersion(pb.CreateDatasetVersionRequest(parent=SET_NAME))
    assert third.name == f"{SET_NAME}/versions/3"
