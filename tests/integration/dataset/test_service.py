"""The dataset service as its callers use it: over gRPC, with a real database and a real S3 server."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import UTC
from io import BytesIO

import pytest
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from google.protobuf.field_mask_pb2 import FieldMask
from PIL import Image
from sqlalchemy import insert

from services.chassis import errors
from services.chassis.store_settings import S3Settings
from services.dataset.adapters.sql_tables import noted_keys
from tests.fakes import pictures
from tests.fixtures.dataset import SET_NAME, DatasetServer, running_dataset
from tests.fixtures.patience import until

THUMBNAIL = pb.DownloadImageRequest.VIEW_THUMBNAIL


async def test_from_photos_to_a_version(dataset_server: DatasetServer) -> None:
    stub = dataset_server.stub
    made = await dataset_server.new_set(display_name="Dogs", trigger_word="sks", num_repeats=4)
    assert (made.name, made.image_count, bool(made.etag)) == (SET_NAME, 0, True)

    files = [pictures.jpeg(640, 480, seed=seed, orientation=6 if seed == 2 else 1) for seed in range(5)]
    for index, data in enumerate(files):
        image = await dataset_server.upload(
            data, file_name=f"{index}.jpg", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), tags=["dog"]
        )
        assert image.sha256 == hashlib.sha256(data).hexdigest()

    page = await stub.ListImages(pb.ListImagesRequest(parent=SET_NAME, page_size=3))
    rest = await stub.ListImages(pb.ListImagesRequest(parent=SET_NAME, page_size=3, page_token=page.next_page_token))
    images = [*page.images, *rest.images]
    assert [image.file_name for image in images] == [f"{index}.jpg" for index in range(5)]
    assert (page.total_size, rest.next_page_token) == (5, "")
    assert (images[2].width, images[2].height, images[2].content_type) == (480, 640, "image/jpeg")

    image = images[0]
    automatic = dataset_pb2.Tag(
        label="red",
        source=dataset_pb2.TAG_SOURCE_AUTO,
        score=0.35,
        tagger="wd",
        model_sha256="f" * 64,
        category="general",
    )
    image.tags.append(automatic)
    image.crop.CopyFrom(dataset_pb2.Crop(left=0.25, top=0.0, right=1.0, bottom=1.0))
    image.num_repeats = 2
    changed = await stub.UpdateImage(pb.UpdateImageRequest(image=image))
    assert [tag.source for tag in changed.tags] == [dataset_pb2.TAG_SOURCE_MANUAL, dataset_pb2.TAG_SOURCE_AUTO]
    assert changed.tags[1] == automatic
    assert changed.etag != image.etag
    with pytest.raises(errors.Aborted):
        await stub.UpdateImage(pb.UpdateImageRequest(image=image))

    edit = pb.EditTagsRequest(
        parent=SET_NAME,
        filter='tags:"dog"',
        edits=[{"replace": {"old_label": "Dog", "new_label": "puppy"}}, {"add": "pet_animal"}],  # type: ignore[list-item]
        validate_only=True,
    )
    assert await stub.EditTags(edit) == pb.EditTagsResponse(matched_images=5, changed_images=5)
    edit.validate_only = False
    assert (await stub.EditTags(edit)).changed_images == 5
    assert (await stub.EditTags(edit)).matched_images == 0
    stats = (await stub.ListTagStats(pb.ListTagStatsRequest(parent=SET_NAME))).stats
    assert [(s.label, s.image_count, s.manual_count) for s in stats] == [
        ("pet_animal", 5, 5), ("puppy", 5, 5), ("red", 1, 0),
    ]  # fmt: skip

    version = await stub.CreateDatasetVersion(pb.CreateDatasetVersionRequest(parent=SET_NAME, description="first"))
    assert (version.name, version.image_count) == (f"{SET_NAME}/versions/1", 5)
    assert (version.trigger_word, version.size_bytes) == ("sks", sum(map(len, files)))
    again = await stub.CreateDatasetVersion(pb.CreateDatasetVersionRequest(parent=SET_NAME))
    assert again == version
    assert await stub.GetDatasetVersion(pb.GetDatasetVersionRequest(name=version.name)) == version
    pinned = (await stub.ListDatasetVersionImages(pb.ListDatasetVersionImagesRequest(parent=version.name))).images
    assert [image.num_repeats for image in pinned] == [2, 4, 4, 4, 4]
    assert pinned[0].caption == "sks, puppy, red, pet_animal"
    assert pinned[0].crop == changed.crop
    assert not pinned[1].HasField("crop")

    for image, data in zip(images, files, strict=True):
        await stub.DeleteImage(pb.DeleteImageRequest(name=image.name))
        name = f"{version.name}/images/{image.name.rsplit('/', 1)[1]}"
        assert b"".join(m.chunk for m in await dataset_server.download(name)) == data
    with pytest.raises(errors.FailedPrecondition):
        await stub.DeleteDataset(pb.DeleteDatasetRequest(name=SET_NAME))
    await stub.DeleteDataset(pb.DeleteDatasetRequest(name=SET_NAME, force=True))
    stored = await dataset_server.stored()
    # The counters of a project stay, at nothing.
    assert stored.pop("project_usage") == 1
    assert not any(stored.values())
    usage = await stub.GetUsage(pb.GetUsageRequest(name="projects/acme/datasetUsage"))
    assert [budget.used for budget in usage.budgets] == [0, 0, 0, 0, 0]


async def test_a_picture_without_words_is_frozen_with_the_subject(dataset_server: DatasetServer) -> None:
    stub = dataset_server.stub
    await dataset_server.new_set(trigger_word="sks", subject="gray cat")
    image = await dataset_server.upload(pictures.png())
    assert image.training_text == "sks gray cat"
    request = pb.CreateDatasetVersionRequest(parent=SET_NAME)
    first = await stub.CreateDatasetVersion(request)
    assert first.subject == "gray cat"
    for words, text in ((("sks", "cat"), "sks cat"), (("", "cat"), "cat"), (("", ""), "")):
        given = dataset_pb2.Dataset(name=SET_NAME, trigger_word=words[0], subject=words[1])
        mask = FieldMask(paths=["trigger_word", "subject"])
        await stub.UpdateDataset(pb.UpdateDatasetRequest(dataset=given, update_mask=mask))
        version = await stub.CreateDatasetVersion(request)
        pinned = (await stub.ListDatasetVersionImages(pb.ListDatasetVersionImagesRequest(parent=version.name))).images
        assert ([each.caption for each in pinned], version.subject) == ([text], words[1])
    listed = await stub.ListDatasets(pb.ListDatasetsRequest(parent="projects/acme", filter='subject = "cat"'))
    assert not listed.datasets
    # What was frozen first stays as it was.
    pinned = (await stub.ListDatasetVersionImages(pb.ListDatasetVersionImagesRequest(parent=first.name))).images
    assert [each.caption for each in pinned] == ["sks gray cat"]
    with pytest.raises(errors.InvalidArgument) as refused:
        await stub.CreateDataset(
            pb.CreateDatasetRequest(parent="projects/acme", dataset=dataset_pb2.Dataset(subject="a, b"))
        )
    assert refused.value.field == "dataset.subject"


async def test_downloads_say_type_and_size_first(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    data = pictures.heavy_png(2_000_000)
    image = await dataset_server.upload(data)
    original = await dataset_server.download(image.name)
    assert b"".join(message.chunk for message in original) == data
    assert (original[0].content_type, original[0].size_bytes) == ("image/png", len(data))
    assert max(len(message.chunk) for message in original) <= 256 * 1024
    assert original[1].content_type == ""
    thumbnail = await dataset_server.download(image.name, THUMBNAIL)
    assert thumbnail[0].content_type == "image/jpeg"
    assert thumbnail[0].size_bytes == sum(len(message.chunk) for message in thumbnail)


async def test_a_thumbnail_is_upright_and_small(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    image = await dataset_server.upload(pictures.jpeg(1000, 500, orientation=6), file_name="a.jpg")
    data = b"".join(message.chunk for message in await dataset_server.download(image.name, THUMBNAIL))
    assert Image.open(BytesIO(data)).size == (128, 256)


async def test_an_edit_of_the_same_image_by_many_is_never_lost(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set()
    image = await dataset_server.upload(pictures.png())
    stub = dataset_server.stub

    async def append(label: str) -> None:
        while True:
            current = await stub.GetImage(pb.GetImageRequest(name=image.name))
            current.tags.add(label=label)
            try:
                await stub.UpdateImage(pb.UpdateImageRequest(image=current, update_mask={"paths": ["tags"]}))  # type: ignore[arg-type]
            except errors.Aborted:
                continue
            return

    labels = [f"t{index}" for index in range(8)]
    await asyncio.gather(*(append(label) for label in labels))
    tags = (await stub.GetImage(pb.GetImageRequest(name=image.name))).tags
    assert sorted(tag.label for tag in tags) == labels


async def test_request_ids_make_creates_repeatable(dataset_server: DatasetServer) -> None:
    stub = dataset_server.stub
    request = pb.CreateDatasetRequest(parent="projects/acme", request_id="r-1")
    first = await stub.CreateDataset(request)
    assert await stub.CreateDataset(request) == first
    await dataset_server.new_set()
    images = await asyncio.gather(*(dataset_server.upload(pictures.png(), request_id="r-2") for _ in range(4)))
    assert len({image.name for image in images}) == 1
    version = pb.CreateDatasetVersionRequest(parent=SET_NAME, request_id="r-3")
    frozen = await stub.CreateDatasetVersion(version)
    await dataset_server.upload(pictures.png(seed=1))
    assert await stub.CreateDatasetVersion(version) == frozen
    stored = await dataset_server.stored()
    assert (stored["datasets"], stored["images"], stored["objects"], stored["noted_keys"]) == (2, 2, 4, 0)


async def test_datasets_are_listed_in_pages_and_updated(dataset_server: DatasetServer) -> None:
    stub = dataset_server.stub
    for index in range(5):
        await dataset_server.new_set(f"d-{index}", display_name=f"Dog {index}")
    names, token = [], ""
    while True:
        page = await stub.ListDatasets(
            pb.ListDatasetsRequest(parent="projects/acme", page_size=2, page_token=token, order_by="display_name desc")
        )
        names += [dataset.display_name for dataset in page.datasets]
        token = page.next_page_token
        if not token:
            break
    assert names == ["Dog 4", "Dog 3", "Dog 2", "Dog 1", "Dog 0"]
    changed = await stub.UpdateDataset(
        pb.UpdateDatasetRequest(dataset=dataset_pb2.Dataset(name="projects/acme/datasets/d-1", description="text"))
    )
    assert (changed.display_name, changed.description) == ("Dog 1", "text")


async def test_bytes_of_an_upload_that_died_are_swept_and_others_stay(s3_settings: S3Settings, sqlite_url: str) -> None:
    async with running_dataset(s3_settings, sqlite_url, sweep_interval_s=1) as server:
        await server.new_set()
        image = await server.upload(pictures.png())
        await server.objects.put("datasets/acme/dogs/originals/x/img-died", b"half a picture")
        async with server.db.begin() as conn:
            note = {"key": "datasets/acme/dogs/originals/x/img-died", "due": image.create_time.ToDatetime(UTC)}
            await conn.execute(insert(noted_keys).values(**note, claimed=False))

        async def swept() -> bool:
            return (await server.stored())["noted_keys"] == 0

        await until(swept, what="the sweep")
        assert (await server.stored())["objects"] == 2
        assert b"".join(m.chunk for m in await server.download(image.name)) == pictures.png()


async def test_what_was_stored_is_there_after_a_restart(s3_settings: S3Settings, database_url: str) -> None:
    async with running_dataset(s3_settings, database_url) as server:
        await server.new_set()
        image = await server.upload(pictures.png())
    async with running_dataset(s3_settings, database_url) as server:
        assert await server.stub.GetImage(pb.GetImageRequest(name=image.name)) == image
        assert b"".join(m.chunk for m in await server.download(image.name)) == pictures.png()
