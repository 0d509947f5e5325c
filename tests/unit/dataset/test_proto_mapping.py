"""Messages to models and back: what goes in comes out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.errors import InvalidArgument
from services.dataset.models.names import DatasetRef, ImageRef, VersionImageRef, VersionRef
from services.dataset.models.resources import (
    Crop,
    Dataset,
    DatasetFields,
    DatasetVersion,
    Image,
    ImageFields,
    Picture,
    PictureFeatures,
    VersionImage,
)
from services.dataset.models.tags import (
    AddTag,
    DeduplicateTags,
    PrependTag,
    RemoveTag,
    ReplaceTag,
    Tag,
    TagEdit,
    TagSource,
    TagStat,
)
from services.dataset.proto_mapping import resources, transfers
from services.dataset.use_cases.images import View
from services.dataset.use_cases.uploads import UploadHeader

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)
SET = DatasetRef("acme", "dogs")
PICTURE = Picture("a.png", "image/png", 64, 48, 5_000_000_000, "a" * 64, "o", "t", 90)

_text = st.text(max_size=20)
_fraction = st.floats(0.01, 1)
_tag = st.builds(
    Tag,
    label=_text,
    source=st.sampled_from(TagSource),
    score=st.floats(0, 1, width=32),
    tagger=_text,
    model_sha256=_text,
    category=_text,
)
_fields = st.builds(
    ImageFields,
    caption=_text,
    tags=st.lists(_tag, max_size=4).map(tuple),
    crop=st.none() | st.builds(Crop, _fraction, _fraction, _fraction, _fraction),
    num_repeats=st.integers(0, 1000),
    features=st.none() | st.builds(PictureFeatures, _text, st.binary(max_size=800)),
)


@given(_fields)
def test_image_fields_round_trip(fields: ImageFields) -> None:
    image = Image(ImageRef(SET, "img-1"), 1, PICTURE, fields, NOW, NOW)
    message = resources.image_proto(image, DatasetFields(trigger_word="sks"), with_features=True)
    assert resources.image_proto(image, DatasetFields()).features.places == b""
    assert "sks" in message.training_text
    assert resources.image_fields(message) == fields
    assert (message.name, message.etag) == ("projects/acme/datasets/dogs/images/img-1", image.etag)
    assert (message.width, message.height, message.size_bytes, message.sha256) == (64, 48, 5_000_000_000, "a" * 64)
    pinned = VersionImage(VersionImageRef(VersionRef(SET, 2), "img-1"), 1, PICTURE, fields)
    frozen = resources.version_image_proto(pinned, with_features=True)
    assert (frozen.features, resources.version_image_proto(pinned).features.places) == (message.features, b"")
    assert frozen.name == "projects/acme/datasets/dogs/versions/2/images/img-1"
    assert (frozen.caption, list(frozen.tags), frozen.num_repeats) == (
        message.caption, list(message.tags), message.num_repeats,
    )  # fmt: skip


@given(st.builds(DatasetFields, _text, _text, _text, st.integers(0, 1000)))
def test_dataset_fields_round_trip(fields: DatasetFields) -> None:
    message = resources.dataset_proto(Dataset(SET, fields, NOW, NOW, image_count=3, size_bytes=9_000_000_000))
    assert resources.dataset_fields(message) == fields
    assert (message.image_count, message.size_bytes) == (3, 9_000_000_000)
    assert message.create_time.ToDatetime(tzinfo=UTC) == NOW


def test_a_version_and_a_stat() -> None:
    version = DatasetVersion(VersionRef(SET, 4), "d" * 64, 5, 9_000_000_000, "sks", "note", NOW)
    message = resources.version_proto(version)
    assert message == dataset_pb2.DatasetVersion(
        name="projects/acme/datasets/dogs/versions/4",
        digest="d" * 64,
        image_count=5,
        size_bytes=9_000_000_000,
        trigger_word="sks",
        description="note",
        create_time=resources.timestamp(NOW),
        etag=version.etag,
        text_from=dataset_pb2.TEXT_FROM_CAPTION_OR_TAGS,
    )
    assert resources.stat_proto(TagStat("red", 3, 1)) == pb.TagStat(label="red", image_count=3, manual_count=1)


def test_an_unsaid_source_is_manual_and_a_zero_crop_is_none() -> None:
    image = dataset_pb2.Image(tags=[dataset_pb2.Tag(label="a")], crop=dataset_pb2.Crop())
    assert resources.image_fields(image) == ImageFields(tags=(Tag("a", TagSource.MANUAL),))


@pytest.mark.parametrize(
    ("message", "edit"),
    [
        (pb.TagEdit(add="a"), AddTag("a")),
        (pb.TagEdit(prepend="a"), PrependTag("a")),
        (pb.TagEdit(remove="a"), RemoveTag("a")),
        (pb.TagEdit(replace=pb.TagReplacement(old_label="a", new_label="b")), ReplaceTag("a", "b")),
        (pb.TagEdit(deduplicate=True), DeduplicateTags()),
    ],
)
def test_edits(message: pb.TagEdit, edit: TagEdit) -> None:
    assert resources.tag_edit(message) == edit


def test_views() -> None:
    request = pb.DownloadImageRequest
    assert transfers.view(request.VIEW_UNSPECIFIED) is View.ORIGINAL
    assert transfers.view(request.VIEW_ORIGINAL) is View.ORIGINAL
    assert transfers.view(request.VIEW_THUMBNAIL) is View.THUMBNAIL


def test_lists_without_filter_or_order() -> None:
    query = resources.list_request(pb.ListDatasetVersionsRequest(parent="p", page_size=3, page_token="t"))
    assert (query.parent, query.page_size, query.page_token, query.filter, query.order_by) == ("p", 3, "t", "", "")


async def test_an_upload_stream() -> None:
    header = pb.UploadImageHeader(
        parent=SET.name, file_name="a.png", size_bytes=3, sha256="s", caption="c", tags=["x", "y"], request_id="r"
    )

    async def requests() -> AsyncIterator[pb.UploadImageRequest]:
        yield pb.UploadImageRequest(header=header)
        yield pb.UploadImageRequest(chunk=b"abc")
        yield pb.UploadImageRequest(chunk=b"")

    messages = [message async for message in transfers.upload_messages(requests())]
    assert messages == [UploadHeader(SET, "a.png", 3, "s", "c", ("x", "y"), "r"), b"abc", b""]


def test_names_are_parsed_with_the_field_that_is_wrong() -> None:
    with pytest.raises(InvalidArgument) as caught:
        resources.new_dataset(pb.CreateDatasetRequest(parent="nothing"))
    assert caught.value.field == "parent"
