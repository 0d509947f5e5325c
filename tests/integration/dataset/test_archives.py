"""Archives over the wire: in bounded pieces, out as a file, and refused as the API refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from google.api.httpbody_pb2 import HttpBody
from google.rpc import error_details_pb2

from services.chassis.errors import InvalidArgument
from tests.fakes import pictures
from tests.fakes.archives import pieces, unzipped, zipped
from tests.fixtures.dataset import SET_NAME, DatasetServer


def _requests(data: bytes, **first: object) -> Iterator[pb.ImportImagesRequest]:
    fields = {"parent": SET_NAME, **first}
    for piece in pieces(data):
        yield pb.ImportImagesRequest(content=HttpBody(data=piece), **fields)  # type: ignore[arg-type]
        fields = {}


async def test_an_archive_goes_in_and_its_export_gives_the_same_version(dataset_server: DatasetServer) -> None:
    await dataset_server.new_set(trigger_word="sks")
    archive = zipped(
        {
            "3_sks cat/b.png": pictures.png(300, 300, seed=2),
            "3_sks cat/b.txt": b"a cat",
            "a.png": pictures.png(seed=1),
            "bad.png": b"GIF89a",
            "__MACOSX/._a.png": b"x",
        }
    )
    answer = await dataset_server.stub.ImportImages(_requests(archive, request_id="r"))
    assert [(one.file_name, one.image.training_text, one.image.num_repeats) for one in answer.results] == [
        ("a.png", "sks", 0), ("bad.png", "", 0), ("3_sks cat/b.png", "sks, a cat", 3),
    ]  # fmt: skip
    info, violations = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in answer.results[1].error.details:
        detail.Unpack(info)
        detail.Unpack(violations)
    assert info.reason == "IMAGE_TYPE_MISMATCH"
    assert violations.field_violations[0].field == "content"
    assert list(answer.passed_over) == [pb.PassedOver(path="__MACOSX/._a.png", reason=pb.PassedOver.REASON_HIDDEN)]
    assert list(answer.subjects) == ["sks cat"]
    again = await dataset_server.stub.ImportImages(_requests(archive, request_id="r"))
    assert [one.image.name for one in again.results] == [one.image.name for one in answer.results]

    image = dataset_pb2.Image(name=answer.results[0].image.name, crop=dataset_pb2.Crop(right=1 / 3, bottom=1))
    await dataset_server.stub.UpdateImage(pb.UpdateImageRequest(image=image))
    version = await dataset_server.stub.CreateDatasetVersion(pb.CreateDatasetVersionRequest(parent=SET_NAME))
    for number, layout in enumerate(("", "imagefolder")):
        request = pb.ExportDatasetVersionRequest(name=version.name, layout=layout)
        call = dataset_server.stub.ExportDatasetVersion(request)
        data = b"".join([body.data async for body in call])
        assert ("1_sks/a.png" in unzipped(data)) == (layout == "")
        copy = await dataset_server.new_set(f"copy{number}")
        await dataset_server.stub.ImportImages(_requests(data, parent=copy.name))
        frozen = await dataset_server.stub.CreateDatasetVersion(pb.CreateDatasetVersionRequest(parent=copy.name))
        assert frozen.digest == version.digest


@pytest.mark.parametrize(
    ("data", "first", "reason"),
    [
        (b"no zip", {}, "ARCHIVE_UNREADABLE"),
        (zipped({"../a.png": b"x"}), {}, "ARCHIVE_NAME_UNSAFE"),
        (zipped({"a.png": bytes(3_000_000)}), {}, "ARCHIVE_RATIO"),
        (zipped({"a.png": b"x"}), {"parent": ""}, "NAME_INVALID"),
        (zipped({"a.png": b"x"}), {"sha256": "0" * 64}, "ARCHIVE_DIGEST_MISMATCH"),
        (zipped({"a.png": b"x"}), {"sha256": "0"}, "REQUEST_INVALID"),
        (zipped({"a.png": b"x"}), {"request_id": "a\x07"}, "TEXT_INVALID"),
    ],
)
async def test_a_refused_archive_stores_nothing(
    dataset_server: DatasetServer, data: bytes, first: dict[str, object], reason: str
) -> None:
    await dataset_server.new_set()
    before = await dataset_server.stored()
    with pytest.raises(InvalidArgument) as refused:
        await dataset_server.stub.ImportImages(_requests(data, **first))
    assert refused.value.reason == reason
    assert await dataset_server.stored() == before


@pytest.mark.parametrize("layout", ["zip", "Kohya", "../x"])
async def test_a_layout_that_is_none_is_named(dataset_server: DatasetServer, layout: str) -> None:
    request = pb.ExportDatasetVersionRequest(name=f"{SET_NAME}/versions/1", layout=layout)
    with pytest.raises(InvalidArgument) as refused:
        _ = [body async for body in dataset_server.stub.ExportDatasetVersion(request)]
    assert refused.value.field == "layout"
