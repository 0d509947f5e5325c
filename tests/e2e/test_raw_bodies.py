"""Files as raw HTTP bodies through the whole stack, as curl and browsers send and take them."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest

from tests.e2e.test_bad_input import EMPTY, SET
from tests.fakes import pictures
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
