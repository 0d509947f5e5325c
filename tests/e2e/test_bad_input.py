"""What callers get wrong, sent through the gateway of a whole stack: status, field, remedy, and nothing stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from fiveshot.dataset.v1 import dataset_service_pb2 as ds
from fiveshot.trainer.v1 import training_service_pb2 as tr
from fiveshot.trainer.v1.training_job_pb2 import TrainingJob, TrainingParameters

from services.chassis import errors
from tests.fakes import pictures
from tests.fixtures.cut_line import CutLine
from tests.fixtures.patience import within
from tests.fixtures.running_stack import CHUNK_BYTES, PARENT, Caller, RunningStack, Stored, refusal, upload_messages

SET = f"{PARENT}/datasets/photos"
FULL = f"{PARENT}/datasets/full"
EMPTY = f"{PARENT}/datasets/empty"
TINY = "baseModels/fiveshot-tiny"
PNG = pictures.png()
MIB = 1024 * 1024
# Several chunks.
LARGE = pictures.heavy_png(4 * MIB)

Call = Callable[[Caller], Awaitable[object]]


class Case(NamedTuple):
    """A call that must be refused, and how."""

    what: str
    call: Call
    kind: type[errors.DomainError]
    reason: str
    field: str


def _upload(data: bytes, **header: Any) -> Call:
    given = {"parent": SET, "file_name": "a.png"} | header
    return lambda caller: caller.upload(data, **given)


def _train(dataset: str = SET, base_model: str = TINY, **parameters: Any) -> Call:
    job = TrainingJob(base_model=base_model, dataset_version=dataset, parameters=TrainingParameters(**parameters))
    request = tr.CreateTrainingJobRequest(parent=PARENT, training_job=job)
    return lambda caller: caller.call(caller.trainer.CreateTrainingJob, request)


def _get(name: str) -> Call:
    return lambda caller: caller.call(caller.dataset.GetDataset, ds.GetDatasetRequest(name=name))


def _create(dataset_id: str, parent: str = PARENT) -> Call:
    request = ds.CreateDatasetRequest(parent=parent, dataset_id=dataset_id)
    return lambda caller: caller.call(caller.dataset.CreateDataset, request)


def _freeze(name: str) -> Call:
    request = ds.CreateDatasetVersionRequest(parent=name)
    return lambda caller: caller.call(caller.dataset.CreateDatasetVersion, request)


CASES = [
    Case("jpeg named png", _upload(pictures.jpeg()), errors.InvalidArgument, "IMAGE_TYPE_MISMATCH", "chunk"),
    Case("text named png", _upload(b"text" * 99), errors.InvalidArgument, "IMAGE_TYPE_MISMATCH", "chunk"),
    Case("truncated", _upload(PNG[: len(PNG) // 2]), errors.InvalidArgument, "IMAGE_UNREADABLE", "chunk"),
    Case("6 MB", _upload(pictures.heavy_png(6 * MIB)), errors.InvalidArgument, "IMAGE_TOO_LARGE", "chunk"),
    Case(
        "6 MB announced", _upload(pictures.heavy_png(6 * MIB), size_bytes=6 * MIB),
        errors.InvalidArgument, "IMAGE_TOO_LARGE", "header.size_bytes",
    ),
    Case(
        "the 101st image", _upload(pictures.png(seed=101), parent=FULL),
        errors.ResourceExhausted, "DATASET_FULL", "header.parent",
    ),
    Case("zero bytes", _upload(b""), errors.InvalidArgument, "IMAGE_EMPTY", "chunk"),
    Case(
        "400 megapixels", _upload(pictures.png_of_declared_size(20_000, 20_000)),
        errors.InvalidArgument, "IMAGE_TOO_MANY_PIXELS", "chunk",
    ),
    Case(
        "a stream that ends midway", _upload(PNG[:500], size_bytes=len(PNG)),
        errors.InvalidArgument, "IMAGE_INCOMPLETE", "header.size_bytes",
    ),
    Case(
        "a file name with ../", _upload(PNG, file_name="../a.png"),
        errors.InvalidArgument, "FILE_NAME_INVALID", "header.file_name",
    ),
    Case("an unknown dataset", _get(f"{PARENT}/datasets/none"), errors.NotFound, "RESOURCE_NOT_FOUND", "name"),
    Case(
        "an upload to an unknown dataset", _upload(PNG, parent=f"{PARENT}/datasets/none"),
        errors.NotFound, "RESOURCE_NOT_FOUND", "header.parent",
    ),
    Case(
        "an unknown base model", _train(base_model="baseModels/none"),
        errors.NotFound, "BASE_MODEL_NOT_FOUND", "training_job.base_model",
    ),
    Case(
        "0 epochs", _train(num_epochs=0),
        errors.InvalidArgument, "PARAMETER_INVALID", "training_job.parameters.num_epochs",
    ),
    Case(
        "10,000 epochs", _train(num_epochs=10_000),
        errors.InvalidArgument, "PARAMETER_INVALID", "training_job.parameters.num_epochs",
    ),
    Case(
        "training on an unknown dataset", _train(dataset=f"{PARENT}/datasets/none"),
        errors.NotFound, "DATASET_NOT_FOUND", "training_job.dataset_version",
    ),
    Case(
        "training on an empty dataset", _train(dataset=EMPTY),
        errors.FailedPrecondition, "DATASET_EMPTY", "training_job.dataset_version",
    ),
    Case("freezing an empty dataset", _freeze(EMPTY), errors.FailedPrecondition, "DATASET_EMPTY", "parent"),
    Case(
        "another project's dataset", _get("projects/other/datasets/photos"),
        errors.PermissionDenied, "PROJECT_FORBIDDEN", "name",
    ),
    Case(
        "an upload into another project", _upload(PNG, parent="projects/other/datasets/photos"),
        errors.PermissionDenied, "PROJECT_FORBIDDEN", "header.parent",
    ),
    Case(
        "a dataset in another project", _create("mine", "projects/other"),
        errors.PermissionDenied, "PROJECT_FORBIDDEN", "parent",
    ),
    Case("an id with ../", _create("../evil"), errors.InvalidArgument, "REQUEST_INVALID", "dataset_id"),
    Case(
        "a name with ../", _get(f"{PARENT}/datasets/../../other/datasets/photos"),
        errors.InvalidArgument, "REQUEST_INVALID", "name",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
async def test_a_bad_call_is_refused_and_stores_nothing(filled_stack: RunningStack, before: Stored, case: Case) -> None:
    async with filled_stack.caller() as caller:
        error = await refusal(case.call(caller))
    assert (type(error), error.reason, error.field) == (case.kind, case.reason, case.field)
    assert error.message
    assert error.remedy
    assert await filled_stack.stored() == before


@pytest.mark.parametrize(
    ("key", "reason"), [("fs_wrong", "API_KEY_INVALID"), ("", "CREDENTIALS_MISSING")], ids=["wrong key", "no key"]
)
@pytest.mark.parametrize("call", [_get(SET), _train()], ids=["get", "train"])
async def test_who_is_not_known_gets_nowhere(
    filled_stack: RunningStack, before: Stored, call: Call, key: str, reason: str
) -> None:
    async with filled_stack.caller(key) as caller:
        error = await refusal(call(caller))
    assert (type(error), error.reason) == (errors.Unauthenticated, reason)
    assert error.remedy
    assert await filled_stack.stored() == before


async def test_a_caller_that_goes_away_midway(filled_stack: RunningStack, before: Stored) -> None:
    sent = asyncio.Event()

    async def half() -> AsyncIterator[ds.UploadImageRequest]:
        messages = upload_messages(LARGE, CHUNK_BYTES, {"parent": SET, "file_name": "a.png", "size_bytes": len(LARGE)})
        for _ in range(4):
            yield next(messages)
        sent.set()
        await asyncio.Event().wait()

    async with filled_stack.caller() as caller:
        call = asyncio.ensure_future(caller.call(caller.dataset.UploadImage, half()))
        async with within():
            await sent.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    await filled_stack.back_to(before)


async def test_a_line_that_breaks_midway(filled_stack: RunningStack, before: Stored) -> None:
    with CutLine(filled_stack.server, after_bytes=1 * MIB) as line:
        async with filled_stack.caller(server=line.address) as caller:
            error = await refusal(caller.upload(LARGE, parent=SET, file_name="a.png", size_bytes=len(LARGE)))
    assert isinstance(error, errors.Unavailable)
    assert error.remedy
    assert line.cut
    await filled_stack.back_to(before)


def _job_body(**job: Any) -> dict[str, Any]:
    return {"trainingJob": {"baseModel": TINY, "datasetVersion": SET} | job}


HTTP_CASES = [
    ("GET", f"/v1/{PARENT}/datasets/none", None, 404, 5, "RESOURCE_NOT_FOUND"),
    ("GET", "/v1/projects/other/datasets", None, 403, 7, "PROJECT_FORBIDDEN"),
    ("GET", f"/v1/{PARENT}/../other/datasets", None, 403, 7, "PROJECT_FORBIDDEN"),
    ("GET", f"/v1/{PARENT}/datasets/..%2f..%2fother", None, 400, 3, "PATH_INVALID"),
    ("POST", f"/v1/{PARENT}/datasets", {"datasetId": "../evil"}, 400, 3, "REQUEST_INVALID"),
    ("POST", f"/v1/{PARENT}/trainingJobs", _job_body(baseModel="baseModels/none"), 404, 5, "BASE_MODEL_NOT_FOUND"),
    ("POST", f"/v1/{PARENT}/trainingJobs", _job_body(parameters={"numEpochs": 0}), 400, 3, "PARAMETER_INVALID"),
    ("POST", f"/v1/{PARENT}/trainingJobs", _job_body(parameters={"numEpochs": 10000}), 400, 3, "PARAMETER_INVALID"),
    ("POST", f"/v1/{PARENT}/trainingJobs", _job_body(datasetVersion=EMPTY), 400, 9, "DATASET_EMPTY"),
    ("POST", f"/v1/{PARENT}/trainingJobs", _job_body(datasetVersion=f"{SET}x"), 404, 5, "DATASET_NOT_FOUND"),
    ("POST", f"/v1/{SET}/images:upload?file_name=a.png", {"not": "a picture"}, 400, 3, "IMAGE_TYPE_MISMATCH"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "status", "code", "reason"), HTTP_CASES)
async def test_the_same_over_json(
    filled_stack: RunningStack,
    before: Stored,
    method: str,
    path: str,
    body: object,
    status: int,
    code: int,
    reason: str,
) -> None:
    got, answer = await filled_stack.http(method, path, body)
    info = next(item for item in answer["details"] if item["@type"].endswith("ErrorInfo"))
    assert (got, answer["code"], info["reason"]) == (status, code, reason)
    assert info["metadata"]["remedy"]
    assert await filled_stack.stored() == before


@pytest.mark.parametrize(("key", "reason"), [("fs_wrong", "API_KEY_INVALID"), ("", "CREDENTIALS_MISSING")])
async def test_who_is_not_known_gets_nowhere_over_json(
    filled_stack: RunningStack, before: Stored, key: str, reason: str
) -> None:
    got, answer = await filled_stack.http("POST", f"/v1/{PARENT}/datasets", {"datasetId": "evil"}, api_key=key)
    assert (got, answer["code"], answer["details"][0]["reason"]) == (401, 16, reason)
    assert answer["details"][0]["metadata"]["remedy"]
    assert await filled_stack.stored() == before
