"""A tenant's own base model through the gateway, by client and command line, on a stack that only pretends."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fiveshot import Client
from fiveshot.errors import FailedPrecondition, FiveshotError, InvalidArgument, NotFound, PermissionDenied
from fiveshot.trainer.v1 import base_model_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb
from fiveshot.transfers import UploadProgress

from gateway.cli import output
from tests.fixtures.patience import scaled, until_blocking
from tests.fixtures.running_stack import RunningStack

PART = 32 * 2**20
CHUNK = 256 * 1024
NAME = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A file a little longer than one part of an upload, which looks like a Stable Diffusion."""
    numbers = PART // 2 + CHUNK
    text = json.dumps({NAME: {"dtype": "F16", "shape": [numbers], "data_offsets": [0, 2 * numbers]}}).encode()
    path = tmp_path / "house.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(2 * numbers))
    return path


def announced(fs: Client, path: Path, identifier: str) -> base_model_pb2.BaseModel:
    """A base model whose file is still to come."""
    data = path.read_bytes()
    fields = base_model_pb2.BaseModel(
        license="CC0-1.0", file_name=path.name, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest()
    )
    request = pb.CreateBaseModelRequest(
        parent=fs.endpoint.parent, base_model_id=identifier, base_model=fields, header=data[:1000]
    )
    return fs.stubs.trainer.CreateBaseModel(request)


def cut(fs: Client, name: str, path: Path, after: int, stored: int) -> None:
    """Sends so many bytes; once so many of them are stored the line is gone, and what was under way with it."""

    def messages() -> Iterator[pb.UploadBaseModelRequest]:
        yield pb.UploadBaseModelRequest(header=pb.UploadBaseModelRequest.Header(name=name))
        with path.open("rb") as file:
            while file.tell() < after:
                yield pb.UploadBaseModelRequest(chunk=file.read(CHUNK))
        asked = pb.GetBaseModelRequest(name=name)
        until_blocking(
            lambda: fs.stubs.trainer.GetBaseModel(asked).uploaded_bytes == stored, limit_s=60.0, what="the first part"
        )
        raise ConnectionError

    with pytest.raises(FiveshotError):
        fs.stubs.trainer.UploadBaseModel(messages())


def test_a_tenant_brings_its_own_base_model_and_nobody_else_sees_it(
    pretending: RunningStack, photos: Path, checkpoint: Path, tmp_path: Path
) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        wrong = {"model.ckpt": b"PK\x03\x04" + bytes(99), "page.safetensors": b"<!doctype html>", "e.safetensors": b""}
        for file_name, data in wrong.items():
            path = tmp_path / file_name
            path.write_bytes(data)
            with pytest.raises(InvalidArgument):
                fs.own_base_models.upload(path, license="MIT")
        assert fs.own_base_models.list().all() == []

        begun = announced(fs, checkpoint, "house")
        cut(fs, begun.name, checkpoint, PART + CHUNK, PART)
        seen: list[UploadProgress] = []
        own = fs.own_base_models.upload(checkpoint, "house", license="CC0-1.0", on_progress=seen.append).wait()
        assert seen[0].sent_bytes > PART, "it goes on where the line was cut"
        assert (own.state, own.family, own.message.based_on) == (
            "ready",
            "stable-diffusion",
            "baseModels/fiveshot-tiny",
        )
        own.update(labels={"team": "art"})
        assert [each.name for each in fs.own_base_models.list("labels.team = art")] == [own.name]

        ds = fs.datasets.create("tenant", trigger="sks", subject="cat")
        ds.upload(photos)
        job = ds.train(epochs=1, base_model=own.name).wait()
        epoch = job.epoch(1)
        assert epoch.try_out(["a cat"]).wait().state == "succeeded"
        version = epoch.save("tenant")
        assert version.message.lineage.base_model == own.name
        assert epoch.download(tmp_path / "lora.safetensors").size > 0
        with pytest.raises(FailedPrecondition) as ended:
            own.delete()
        assert ended.value.metadata["ended_jobs"] == "1"
        job.delete(force=True)
        with pytest.raises(FailedPrecondition) as saved:
            own.delete()
        assert (saved.value.reason, saved.value.metadata["saved_models"]) == ("BASE_MODEL_IN_USE", "1")

        with Client(pretending.server, api_key=pretending.api_key, project="elsewhere") as other:
            with pytest.raises(PermissionDenied):
                other.own_base_models.list().all()
            with pytest.raises(NotFound):
                fs.own_base_models.get("none")

    listed = json.loads(pretending.command("--json", "base-models", "list", "--own").stdout)["baseModels"]
    assert [(each["name"], each["state"]) for each in listed] == [(own.name, "STATE_READY")]
    shown = pretending.command("base-models", "show", "house")
    assert "fiveshot-tiny" in shown.stdout, shown.output
    started = pretending.command("train", "start", ds.id, "--base-model", "house", "--epochs", "1")
    assert started.exit_code == 0, started.output
    used = json.loads(pretending.command("--json", "usage").stdout)
    assert "base_model_bytes" in json.dumps(used)
    refused = pretending.command("base-models", "delete", "house")
    assert (refused.exit_code, "BASE_MODEL_IN_USE" in refused.output) == (output.STATE, True)
    pickle = pretending.command(
        "base-models", "upload", str(tmp_path / "model.ckpt"), "--name", "wrong", "--licence", "MIT"
    )
    assert pickle.exit_code == output.USAGE, pickle.output
    cancelled = pretending.command("train", "watch", "last")
    assert cancelled.exit_code == 0, cancelled.output
    gone = pretending.command("base-models", "delete", "house", "--force")
    assert gone.exit_code == 0, gone.output
    assert pretending.command("base-models", "show", "house").exit_code == output.NOT_FOUND


def test_a_base_model_goes_up_by_plain_http_and_goes_on_where_it_ended(pretending: RunningStack) -> None:
    text = json.dumps({NAME: {"dtype": "F16", "shape": [2000], "data_offsets": [0, 4000]}}).encode()
    data = struct.pack("<Q", len(text)) + text + bytes(4000)
    announcement = {
        "baseModelId": "curled",
        "header": base64.b64encode(data[: 8 + len(text)]).decode(),
        "baseModel": {
            "license": "CC0-1.0", "fileName": "curled.safetensors", "sizeBytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        },
    }  # fmt: skip
    with httpx.Client(
        base_url=f"http://{pretending.server}/v1", headers={"x-api-key": pretending.api_key}, timeout=scaled(60)
    ) as http:
        made = http.post("/projects/default/baseModels", json=announcement)
        assert made.status_code == 200, made.text
        upload = f"/{made.json()['name']}:upload"
        half = http.post(upload, content=data[:2000])
        assert half.status_code == 200, half.text
        assert (half.json()["state"], half.json()["uploadedBytes"]) == ("STATE_UPLOADING", "2000")
        wrong = http.post(f"{upload}?offset=100", content=data[100:])
        assert (wrong.status_code, wrong.json()["details"][0]["reason"]) == (409, "UPLOAD_OFFSET")
        rest = http.post(f"{upload}?offset=2000", content=data[2000:])
        assert (rest.status_code, rest.json()["uploadedBytes"]) == (200, str(len(data)))
        absent = http.post("/projects/default/baseModels/nobody:upload", content=b"x")
        assert absent.status_code == 404
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        assert fs.own_base_models.get("curled").wait().state == "ready"
