"""Masks and undoing over the wire, on the real stores: in, out, frozen, exported, counted and gone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from google.api.httpbody_pb2 import HttpBody

from services.chassis.errors import Aborted, DomainError, InvalidArgument, NotFound
from tests.fakes import pictures
from tests.fakes.archives import pieces, unzipped, zipped
from tests.fixtures.dataset import SET_NAME, DatasetServer
from tests.unit.dataset.test_masks import mask

VIEW = pb.DownloadImageRequest.VIEW_MASK


def _requests(name: str, data: bytes, **first: object) -> Iterator[pb.UploadImageMaskRequest]:
    yield pb.UploadImageMaskRequest(name=name, **first)  # type: ignore[arg-type]
    for piece in pieces(data):
        yield pb.UploadImageMaskRequest(content=HttpBody(data=piece))


def _import(data: bytes, parent: str) -> Iterator[pb.ImportImagesRequest]:
    yield pb.ImportImagesRequest(parent=parent)
    for piece in pieces(data):
        yield pb.ImportImagesRequest(content=HttpBody(data=piece))


async def _filled(server: DatasetServer, count: int = 2) -> list[dataset_pb2.Image]:
    await server.new_set(trigger_word="sks")
    return [await server.upload(pictures.png(64, 48, seed=n), file_name=f"{n}.png") for n in range(count)]


async def test_a_mask_goes_in_and_out_and_every_export_keeps_it(dataset_server: DatasetServer) -> None:
    stub = dataset_server.stub
    one, two = await _filled(dataset_server)
    plain = await stub.CreateDatasetVersion(pb.CreateDatasetVersionRequest(parent=SET_NAME))
    sha256 = hashlib.sha256(mask()).hexdigest()
    image = await stub.UploadImageMask(_requests(one.name, mask(), sha256=sha256, etag=one.etag))
    assert (image.mask.sha256, image.mask.width, image.mask.covered_share) == (sha256, 64, 0.5)
    assert image.mask.source == dataset_pb2.MASK_SOURCE_UPLOADED
    messages = await dataset_server.download(one.name, VIEW)
    assert (b"".join(each.chunk for each in messages), messages[0].content_type) == (mask(), "image/png")
    part = pb.DownloadImageRequest(
        name=one.name, view=VIEW, crop=dataset_pb2.Crop(right=0.5, bottom=1), width=8, height=8
    )
    drawn = b"".join([each.chunk async for each in stub.DownloadImage(part)])
    assert drawn[:4] == b"\x89PNG"
    with pytest.raises(NotFound) as none:
        await dataset_server.download(two.name, VIEW)
    assert none.value.reason == "MASK_NOT_FOUND"
    version = await stub.CreateDatasetVersion(pb.CreateDatasetVersionRequest(parent=SET_NAME))
    assert version.digest != plain.digest
    for number, layout in enumerate(("kohya", "imagefolder")):
        request = pb.ExportDatasetVersionRequest(name=version.name, layout=layout)
        data = b"".join([body.data async for body in stub.ExportDatasetVersion(request)])
        assert unzipped(data)["masks/0.png"] == mask()
        copy = await dataset_server.new_set(f"copy{number}")
        answer = await stub.ImportImages(_import(data, copy.name))
        assert [one.image.HasField("mask") for one in answer.results] == [True, False]
        frozen = await stub.CreateDatasetVersion(pb.CreateDatasetVersionRequest(parent=copy.name))
        assert frozen.digest == version.digest


async def test_masks_of_other_programs_come_along_and_bad_ones_are_named(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    archive = zipped({
        "a.png": pictures.png(64, 48, seed=1), "a-masklabel.png": mask(),
        "5_sks/b.png": pictures.png(64, 48, seed=2), "5_sks/masks/b.png": mask((64, 64)),
        "masks/gone.png": mask(),
    })  # fmt: skip
    answer = await dataset_server.stub.ImportImages(_import(archive, SET_NAME))
    told = [(one.file_name, one.image.HasField("mask"), one.error.message) for one in answer.results]
    assert told[0] == ("a.png", True, "")
    assert told[1][:2] == ("5_sks/b.png", False)
    assert (told[2][0], "another shape" in told[2][2]) == ("5_sks/masks/b.png", True)
    assert list(answer.passed_over) == [
        pb.PassedOver(path="masks/gone.png", reason=pb.PassedOver.REASON_MASK_WITHOUT_PICTURE)
    ]


@pytest.mark.parametrize(
    ("data", "first", "reason", "field"),
    [
        (pictures.gif(), {}, "MASK_TYPE_UNSUPPORTED", "content"),
        (pictures.jpeg(), {}, "MASK_TYPE_UNSUPPORTED", "content"),
        (pictures.png_of_declared_size(30_000, 30_000), {}, "IMAGE_TOO_MANY_PIXELS", "content"),
        (mask((64, 64)), {}, "MASK_SHAPE_MISMATCH", "content"),
        (mask(marked=3), {}, "MASK_EMPTY", "content"),
        (b"", {}, "IMAGE_EMPTY", "content"),
        (mask(), {"sha256": "0" * 64}, "MASK_DIGEST_MISMATCH", "sha256"),
        (mask(), {"etag": "old"}, "ETAG_MISMATCH", "etag"),
        (mask(), {"name": f"{SET_NAME}/images/none"}, "RESOURCE_NOT_FOUND", "name"),
    ],
)
async def test_what_is_refused_stores_nothing(
    dataset_server: DatasetServer, data: bytes, first: dict[str, str], reason: str, field: str
) -> None:
    (image,) = await _filled(dataset_server, 1)
    before = await dataset_server.stored()
    given = {"name": image.name} | first
    with pytest.raises(DomainError) as refused:
        await dataset_server.stub.UploadImageMask(_requests(given.pop("name"), data, **given))
    assert (refused.value.reason, refused.value.field) == (reason, field)
    assert await dataset_server.stored() == before


async def test_a_batch_is_undone_in_one_call_and_who_came_between_is_named(dataset_server: DatasetServer) -> None:
    stub = dataset_server.stub
    images = await _filled(dataset_server)
    requests = [
        pb.SetImageMaskRequest(
            name=each.name, png=mask(), etag=each.etag, source=dataset_pb2.MASK_SOURCE_SUGGESTED, tagger="photo"
        )
        for each in images
    ]
    answer = await stub.BatchSetImageMasks(pb.BatchSetImageMasksRequest(parent=SET_NAME, requests=requests))
    assert [each.mask.tagger for each in answer.images] == ["photo", "photo"]
    with pytest.raises(Aborted, match="changed mask of 2 images") as late:
        await stub.BatchSetImageMasks(pb.BatchSetImageMasksRequest(parent=SET_NAME, requests=requests))
    assert late.value.field == "requests[0].etag"
    undone = await stub.UndoEdit(pb.UndoEditRequest(name=answer.edit))
    assert (undone.undoes, list(undone.fields), undone.changed_images) == (answer.edit, ["mask"], 2)
    listed = await stub.ListImages(pb.ListImagesRequest(parent=SET_NAME))
    assert not any(each.HasField("mask") for each in listed.images)
    await stub.UndoEdit(pb.UndoEditRequest(name=undone.name))
    assert (await dataset_server.download(images[1].name, VIEW))[0].chunk == mask()
    tags = pb.EditTagsRequest(parent=SET_NAME, edits=[pb.TagEdit(add="red")])
    edited = await stub.EditTags(tags)
    changed = dataset_pb2.Image(name=images[0].name, tags=[dataset_pb2.Tag(label="blue")])
    await stub.UpdateImage(pb.UpdateImageRequest(image=changed))
    with pytest.raises(Aborted, match=r"tags of 0\.png changed since") as overtaken:
        await stub.UndoEdit(pb.UndoEditRequest(name=edited.edit))
    assert overtaken.value.reason == "EDIT_OVERTAKEN"
    edits = (await stub.ListEdits(pb.ListEditsRequest(parent=SET_NAME))).edits
    assert [each.method for each in edits] == [
        "UpdateImage", "EditTags", "UndoEdit", "UndoEdit", "BatchSetImageMasks"
    ]  # fmt: skip
    with pytest.raises(InvalidArgument):
        await stub.UndoEdit(pb.UndoEditRequest(name=f"{SET_NAME}/edits/0"))


async def test_masks_are_counted_and_go_with_their_dataset(dataset_server: DatasetServer) -> None:
    stub = dataset_server.stub
    (image,) = await _filled(dataset_server, 1)
    usage = pb.GetUsageRequest(name="projects/acme/datasetUsage")

    async def used() -> float:
        return next(each.used for each in (await stub.GetUsage(usage)).budgets if each.budget == "stored_bytes")

    before, objects = await used(), (await dataset_server.stored())["objects"]
    await stub.UploadImageMask(_requests(image.name, mask()))
    assert await used() == before + len(mask())
    await stub.BatchSetImageMasks(
        pb.BatchSetImageMasksRequest(parent=SET_NAME, requests=[pb.SetImageMaskRequest(name=image.name)])
    )
    assert (await used(), (await dataset_server.stored())["objects"]) == (before + len(mask()), objects + 1)
    await stub.DeleteDataset(pb.DeleteDatasetRequest(name=SET_NAME))
    assert await used() == 0
    stored = await dataset_server.stored()
    assert (stored["objects"], stored["edits"], stored["edit_images"]) == (0, 0, 0)
