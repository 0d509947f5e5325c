"""Files as raw HTTP bodies through the whole stack, as curl and browsers send and take them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest

from tests.e2e.test_bad_input import EMPTY, SET
from tests.fakes import lora_files, pictures
from tests.fakes.archives import unzipped, zipped
from tests.fixtures.patience import scaled
from tests.fixtures.running_stack import PARENT, RunningStack, Stored


@pytest.fixture
async def http(filled_stack: RunningStack) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client with the stack's key."""
    headers = {"x-api-key": filled_stack.api_key}
    async with httpx.AsyncClient(
        base_url=f"http://{filled_stack.server}", headers=headers, timeout=scaled(60)
    ) as client:
        yield client


async def test_a_picture_goes_up_and_comes_back_as_it_is(http: httpx.AsyncClient) -> None:
    await http.post(f"/v1/{PARENT}/datasets", json={"datasetId": "raw", "dataset": {"triggerWord": "sks"}})
    parent = f"/v1/{PARENT}/datasets/raw"
    name, data = "Käthe 1.jpg", pictures.jpeg(3000, 2500, seed=77)
    assert len(data) > 256 * 1024
    query = f"file_name={quote(name)}&caption=a%20cat&tags=cat&tags=grey"
    form = {"content-type": "application/x-www-form-urlencoded"}
    made = await http.post(f"{parent}/images:upload?{query}", content=data, headers=form)
    assert made.status_code == 200, made.text
    image = made.json()
    assert (image["fileName"], image["contentType"], image["caption"]) == (name, "image/jpeg", "a cat")
    assert [tag["label"] for tag in image["tags"]] == ["cat", "grey"]

    got = await http.get(f"/v1/{image['name']}:download")
    assert got.content == data
    assert got.headers["content-type"] == "image/jpeg"
    assert got.headers["content-length"] == str(len(data))
    assert got.headers["etag"] == f'"{hashlib.sha256(data).hexdigest()}"'
    assert got.headers["content-disposition"] == (
        "attachment; filename=\"K_the 1.jpg\"; filename*=UTF-8''K%C3%A4the%201.jpg"
    )
    assert got.headers["x-content-type-options"] == "nosniff"
    assert not [header for header in got.headers if header.startswith("x-fiveshot")]

    known = await http.get(f"/v1/{image['name']}:download", headers={"if-none-match": got.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")

    small = await http.get(f"/v1/{image['name']}:download?view=VIEW_THUMBNAIL")
    assert small.headers["content-type"] == "image/jpeg"
    assert small.content[:2] == b"\xff\xd8"
    assert len(small.content) == int(small.headers["content-length"])
    assert small.headers["etag"] != got.headers["etag"]

    version = (await http.post(f"{parent}/versions", json={})).json()
    pinned = (await http.get(f"/v1/{version['name']}/images")).json()["images"][0]
    assert (await http.get(f"/v1/{pinned['name']}:download")).content == data


async def test_an_archive_goes_up_and_a_version_comes_back_as_one(http: httpx.AsyncClient) -> None:
    await http.post(f"/v1/{PARENT}/datasets", json={"datasetId": "zips"})
    parent = f"/v1/{PARENT}/datasets/zips"
    large = pictures.jpeg(3000, 2500, seed=78)
    files = {"5_cat/a.jpg": large, "5_cat/a.txt": b"a cat", "b.png": pictures.png(seed=1), "c.png": b"x"}
    archive = zipped(files)
    for _ in range(2):
        made = await http.post(f"{parent}/images:import?request_id=one", content=archive)
        assert made.status_code == 200, made.text
        results = made.json()["results"]
        assert [(one["fileName"], "image" in one) for one in results] == [
            ("b.png", True), ("c.png", False), ("5_cat/a.jpg", True),
        ]  # fmt: skip
    version = (await http.post(f"{parent}/versions", json={})).json()
    got = await http.get(f"/v1/{version['name']}:export?layout=kohya")
    assert got.headers["content-type"] == "application/zip"
    assert got.headers["content-length"] == str(len(got.content))
    assert got.headers["content-disposition"] == 'attachment; filename="zips-v1-kohya.zip"'
    assert unzipped(got.content)["5_zips/a.jpg"] == large
    known = await http.get(f"/v1/{version['name']}:export?layout=kohya", headers={"if-none-match": got.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")


@pytest.mark.parametrize(
    ("parent", "query", "body", "status", "reason", "field"),
    [
        (SET, "", b"", 400, "ARCHIVE_UNREADABLE", "content"),
        (SET, "", zipped({"a.png": bytes(2_000_000)}), 400, "ARCHIVE_RATIO", "content"),
        (SET, "sha256=0", b"x", 400, "REQUEST_INVALID", "sha256"),
        (f"{PARENT}/datasets/none", "", b"x", 404, "RESOURCE_NOT_FOUND", "parent"),
        ("projects/other/datasets/photos", "", b"x", 403, "PROJECT_FORBIDDEN", "parent"),
    ],
)
async def test_an_archive_that_is_refused_is_named_and_stores_nothing(
    filled_stack: RunningStack,
    http: httpx.AsyncClient,
    parent: str,
    query: str,
    body: bytes,
    status: int,
    reason: str,
    field: str,
) -> None:
    before: Stored = await filled_stack.stored()
    answer = await http.post(f"/v1/{parent}/images:import?{query}", content=body)
    details = {item["@type"].rpartition(".")[2]: item for item in answer.json()["details"]}
    assert (answer.status_code, details["ErrorInfo"]["reason"]) == (status, reason), answer.text
    assert [each["field"] for each in details["BadRequest"]["fieldViolations"]] == [field]
    assert await filled_stack.stored() == before


async def test_a_lora_from_elsewhere_is_kept_and_comes_back_as_it_is(http: httpx.AsyncClient) -> None:
    large = ("U8", (4, 250_000), bytes(1_000_000))
    data = lora_files.safetensors({**lora_files.KOHYA, "lora_unet_x.lora_down.weight": large})
    model = f"/v1/{PARENT}/models/found"
    for _ in range(2):
        query = "file_name=Cat.safetensors&create_model=true&base_model=baseModels/fiveshot-tiny&request_id=lora"
        made = await http.post(f"{model}/versions:import?{query}", content=data)
        assert made.status_code == 200, made.text
        assert made.json()["name"] == f"{PARENT}/models/found/versions/1"
    assert made.json()["lineage"] == {"baseModel": "baseModels/fiveshot-tiny", "uploadedFile": "Cat.safetensors"}
    assert (made.json()["rank"], made.json()["alpha"]) == (4, 2)
    got = await http.get(f"{model}/versions/latest:download")
    assert (got.content, got.headers["content-disposition"]) == (data, 'attachment; filename="Cat.safetensors"')
    await resumed(http, f"{model}/versions/latest:download", data)
    refused = await http.post(f"{model}/versions:import?file_name=Cat.safetensors", content=b"PK\3\4" + bytes(99))
    assert (refused.status_code, refused.json()["details"][0]["reason"]) == (400, "MODEL_FILE_PICKLE")
    assert (await http.get(f"{model}")).json()["versionCount"] == 1
    await http.delete(f"{model}?force=true")


async def test_a_form_that_is_made_on_the_way_goes_on_where_it_ended_too(http: httpx.AsyncClient) -> None:
    model = f"/v1/{PARENT}/models/formed"
    data = lora_files.safetensors(lora_files.KOHYA_WHOLE)
    made = await http.post(f"{model}/versions:import?file_name=x.safetensors&create_model=true", content=data)
    assert made.status_code == 200, made.text
    address = f"{model}/versions/1:download?file_id=diffusers"
    await resumed(http, address, (await http.get(address)).content)
    await http.delete(f"{model}?force=true")


async def resumed(http: httpx.AsyncClient, address: str, data: bytes) -> None:
    """Fetches a file in three parts and compares them with the whole, by its etag too."""
    ends, got = [0, len(data) // 3, len(data) // 3 + 1, len(data)], b""
    etag = f'"{hashlib.sha256(data).hexdigest()}"'
    for start, stop in itertools.pairwise(ends):
        part = await http.get(address, headers={"range": f"bytes={start}-{stop - 1}", "if-range": etag})
        assert (part.status_code, part.headers["content-length"]) == (206, str(stop - start)), part.text
        assert part.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(data)}"
        assert part.headers["etag"] == etag
        got += part.content
    assert got == data
    beyond = await http.get(address, headers={"range": f"bytes={len(data)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(data)}")
    assert beyond.json()["details"][0]["reason"] == "RANGE_NOT_SATISFIABLE"


BAD_UPLOADS = [
    (SET, "file_name=a.png", b"", 400, "IMAGE_EMPTY", "content"),
    (SET, "file_name=a.png", b"GIF89a", 400, "IMAGE_TYPE_MISMATCH", "content"),
    (SET, "file_name=a.jpg", pictures.png(16, 16, seed=501), 400, "IMAGE_TYPE_MISMATCH", "content"),
    (SET, "file_name=a.png", pictures.png(16, 16, seed=501)[:100], 400, "IMAGE_UNREADABLE", "content"),
    (SET, "file_name=a.png", bytes(5 * 1024 * 1024 + 1), 400, "IMAGE_TOO_LARGE", "content"),
    (SET, "", b"x", 400, "FILE_NAME_INVALID", "file_name"),
    (SET, "file_name=..%2Fa.png", b"x", 400, "FILE_NAME_INVALID", "file_name"),
    (SET, "file_name=a.png&tags=a,b", b"x", 400, "REQUEST_INVALID", "tags[0]"),
    (SET, f"file_name=a.png&sha256={'0' * 64}", pictures.png(16, 16, seed=502), 400, "IMAGE_DIGEST_MISMATCH", "sha256"),
    (SET, "file_name=a.png", pictures.png(16, 16, seed=1000), 409, "IMAGE_DUPLICATE", "content"),
    (SET, "colour=red", b"x", 400, "FIELD_UNKNOWN", "colour"),
    (f"{PARENT}/datasets/full", "file_name=a.png", pictures.png(16, 16, seed=503), 429, "DATASET_FULL", "parent"),
    (f"{PARENT}/datasets/none", "file_name=a.png", b"x", 404, "RESOURCE_NOT_FOUND", "parent"),
    ("projects/other/datasets/photos", "file_name=a.png", b"x", 403, "PROJECT_FORBIDDEN", "parent"),
]


@pytest.mark.parametrize(("parent", "query", "body", "status", "reason", "field"), BAD_UPLOADS)
async def test_a_body_that_is_refused_is_named_and_stores_nothing(
    filled_stack: RunningStack,
    http: httpx.AsyncClient,
    parent: str,
    query: str,
    body: bytes,
    status: int,
    reason: str,
    field: str | None,
) -> None:
    before: Stored = await filled_stack.stored()
    answer = await http.post(f"/v1/{parent}/images:upload?{query}", content=body)
    details = {item["@type"].rpartition(".")[2]: item for item in answer.json()["details"]}
    assert (answer.status_code, details["ErrorInfo"]["reason"]) == (status, reason), answer.text
    assert details["ErrorInfo"]["metadata"]["remedy"]
    if field:
        assert [each["field"] for each in details["BadRequest"]["fieldViolations"]] == [field]
    assert await filled_stack.stored() == before


@pytest.mark.parametrize(
    "path",
    [
        f"{EMPTY}/images/none:download",
        f"{SET}/versions/9/images/none:download",
        f"{PARENT}/trainingJobs/none/epochs/1:download",
        f"{PARENT}/models/none/versions/latest:download?file_id=kohya",
    ],
)
async def test_a_file_that_is_not_there_is_a_404_with_a_remedy(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(f"/v1/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, 5)
    assert answer.json()["details"][0]["metadata"]["remedy"]
    assert "content-disposition" not in answer.headers
