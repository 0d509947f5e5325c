"""The API's reference as the gateway serves it, and calls that are made from nothing but the document."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.fakes import pictures
from tests.fixtures.openapi_caller import OpenApiCaller
from tests.fixtures.patience import scaled
from tests.fixtures.running_stack import RunningStack


async def test_document_and_page_are_for_everybody_and_the_page_forbids_scripts(running_stack: RunningStack) -> None:
    async with httpx.AsyncClient(base_url=f"http://{running_stack.server}", timeout=scaled(30)) as http:
        plain = await http.get("/openapi.json", headers={"accept-encoding": "identity"})
        zipped = await http.get("/openapi.json")
        assert (plain.status_code, "content-encoding" in plain.headers) == (200, False)
        assert zipped.headers["content-encoding"] == "gzip"
        assert plain.json() == zipped.json()
        assert plain.headers["vary"] == "accept-encoding"
        page = await http.get("/docs")
        assert page.status_code == 200
        assert 'href="/docs/style.css"' in page.text
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self'")
        assert "script-src" not in policy
        assert (await http.get("/docs/style.css")).headers["content-type"].startswith("text/css")
        assert (await http.post("/openapi.json")).status_code in (401, 404)


async def test_calls_made_from_the_document_are_answered_as_it_says(running_stack: RunningStack) -> None:
    photo = pictures.png(80, 64, seed=3)
    at: dict[str, Any] = {"project": "default", "dataset": "by-document"}
    async with OpenApiCaller(f"http://{running_stack.server}", running_stack.api_key) as api:
        await api.call(
            "CreateDataset",
            {"datasetId": "by-document", "dataset": {"triggerWord": "sks", "labels": {"team": "pets"}}},
            project="default",
        )
        try:
            made = await api.call("UploadImageContent", photo, **at, fileName="a.png", tags=["cat", "sofa"])
            image = made.value["name"].rpartition("/")[2]
            for number in (1, 2):
                await api.call("UploadImageContent", pictures.png(80, 64, seed=number), **at, fileName=f"{number}.png")
            file = await api.call("GetImageContent", **at, image=image)
            assert file.value == photo
            same: dict[str, Any] = {"if-none-match": file.headers["etag"]}
            assert (await api.call("GetImageContent", **at, image=image, **same)).status == 304
            crop = {"left": 0.1, "top": 0.1, "right": 0.9, "bottom": 0.9}
            changed = await api.call("UpdateImage", {"caption": "a cat", "crop": crop}, **at, image=image)
            assert changed.value["caption"] == "a cat"
            listed = await api.call("ListImages", **at, pageSize=1, filter='file_name = "a.png"')
            assert [each["name"] for each in listed.value["images"]] == [made.value["name"]]
            await api.call("ListTagStats", **at)
            await api.call("CreateDatasetVersion", {}, **at)
            zipped = await api.call("ExportDatasetVersion", **at, version="1", layout="kohya")
            assert zipped.value[:2] == b"PK"
            imported = await api.call("ImportImages", zipped.value, **at)
            assert len(imported.value["results"]) == 3
            await api.call("DatasetGetUsage", project="default")
            await api.call("ListBaseModels")
            await api.call("GetBaseModel", base_model="fiveshot-tiny")
            await api.call("ListTaggers")
            await api.call("ListTrainingJobs", project="default")
            version = "projects/default/datasets/by-document/versions/1"
            job = {"trainingJob": {"baseModel": "baseModels/fiveshot-tiny", "datasetVersion": version}}
            estimate = await api.call("EstimateTrainingJob", job, project="default")
            assert int(estimate.value["totalSteps"]) > 0
        finally:
            await api.call("DeleteDataset", **at, force=True)


@pytest.mark.parametrize(
    ("name", "body", "given", "status", "reason"),
    [
        ("GetDataset", None, {"dataset": "nowhere"}, 404, "RESOURCE_NOT_FOUND"),
        ("CreateDataset", {"datasetId": "Not An Id"}, {}, 400, "REQUEST_INVALID"),
        ("CreateDataset", {"datset": {}}, {}, 400, "FIELD_UNKNOWN"),
    ],
)
async def test_a_refusal_has_the_form_that_the_document_gives_it(
    running_stack: RunningStack, name: str, body: object, given: dict[str, Any], status: int, reason: str
) -> None:
    async with OpenApiCaller(f"http://{running_stack.server}", running_stack.api_key) as api:
        answer = await api.call(name, body, refused=True, checked=False, project="default", **given)
        assert answer.status == status
        details = {each["@type"].rpartition(".")[2]: each for each in answer.value["details"]}
        assert details["ErrorInfo"]["reason"] == reason
        assert details["ErrorInfo"]["metadata"]["remedy"]
    async with OpenApiCaller(f"http://{running_stack.server}", "") as stranger:
        answer = await stranger.call(name, body, refused=True, checked=False, project="default", **given)
        assert answer.status == 401
