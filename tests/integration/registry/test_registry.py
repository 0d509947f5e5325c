"""The registry over real gRPC, SQLite and SeaweedFS, with a trainer over real gRPC beside it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from fiveshot.registry.v1 import model_pb2 as pb
from fiveshot.registry.v1 import registry_service_pb2 as service_pb
from fiveshot.registry.v1.registry_service_pb2_grpc import RegistryServiceStub
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.field_mask_pb2 import FieldMask

from services.chassis import request_context
from services.chassis.errors import (
    Aborted,
    AlreadyExists,
    DataLoss,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
)
from services.chassis.request_context import RequestContext
from services.chassis.s3 import ObjectStore
from services.chassis.store_settings import S3Settings
from services.registry.settings import Settings
from tests.fakes import lora_files
from tests.fakes.finished_epochs import EPOCH, JOB, contents
from tests.fakes.trainer_service import FakeTrainer, State
from tests.integration.registry.running import PETS, REX, Running, serving

if TYPE_CHECKING:
    pass


async def test_an_epoch_is_saved_listed_and_downloaded_in_every_form(running: Running) -> None:
    version = await running.save(display_name="Rex", description="the good one", aliases=["production"])
    assert version.name == f"{REX}/versions/1"
    assert list(version.aliases) == ["latest", "production"]
    assert version.lineage == pb.Lineage(
        dataset_version="projects/pets/datasets/rex/versions/1",
        dataset_digest="d" * 64,
        training_job=JOB,
        epoch=EPOCH,
        base_model="baseModels/tiny",
        step=180,
        parameters_sha256=version.lineage.parameters_sha256,
    )
    assert len(version.lineage.parameters_sha256) == 64
    assert (version.trigger_word, version.rank, version.alpha) == ("sks dog", 16, 8.0)
    assert "instance_prompt: sks dog" in version.model_card
    assert "license: apache-2.0" in version.model_card
    assert "| learning_rate | `0.0015` |" in version.model_card

    model = await running.stub.GetModel(service_pb.GetModelRequest(name=REX))
    assert (model.display_name, model.latest_version, model.version_count) == ("Rex", version.name, 1)
    assert dict(model.aliases) == {"latest": version.name, "production": version.name}
    assert (await running.models()).total_size == 1

    assert [file.file_id for file in version.files] == list(contents())
    assert "![The training pictures, and the previews of every epoch](rex-v1-contact-sheet.png)" in version.model_card
    for file in version.files:
        for selector in ("1", "latest", "production"):
            got, content = await running.download(f"{REX}/versions/{selector}", file.file_id)
            assert got == file
            assert content[-5000:] == contents()[file.file_id][-5000:]
            assert hashlib.sha256(content).hexdigest() == file.sha256
    assert (await running.download(f"{REX}/versions/1"))[0].file_id == "kohya"
    with pytest.raises(NotFound, match="has no file 'onnx'"):
        await running.download(f"{REX}/versions/1", "onnx")


async def test_what_cannot_be_saved_is_named_and_nothing_is_kept(running: Running) -> None:
    other_job = f"{PETS}/trainingJobs/unknown/epochs/1"
    cases = [
        (NotFound, "epoch", {"epoch": other_job}),
        (FailedPrecondition, "epoch", {"epoch": f"{JOB}/epochs/4"}),
        (NotFound, "epoch", {"epoch": f"{JOB}/epochs/6"}),
        (InvalidArgument, "epoch", {"epoch": "projects/zoo/trainingJobs/rex/epochs/1"}),
        (InvalidArgument, "epoch", {"epoch": f"{JOB}/epochs/0"}),
        (InvalidArgument, "epoch", {"epoch": f"{PETS}/trainingJobs/../epochs/1"}),
        (InvalidArgument, "model_id", {"model_id": "../rex"}),
        (InvalidArgument, "model_id", {"model_id": ""}),
        (InvalidArgument, "aliases[0]", {"aliases": ["1st"]}),
        (InvalidArgument, "display_name", {"display_name": "a\0b"}),
        (NotFound, "model_id", {"create_model": False}),
    ]
    for kind, field, changes in cases:
        error = await running.refused(kind, **changes)  # type: ignore[arg-type]
        assert error.field == field, changes
        assert error.remedy, changes


async def test_an_epoch_that_will_not_come_any_more_is_not_found(running: Running) -> None:
    error = await running.refused(FailedPrecondition, epoch=f"{JOB}/epochs/4")
    assert error.reason == "EPOCH_NOT_FINISHED"
    running.trainer.state = State.STATE_CANCELLED
    error = await running.refused(NotFound, epoch=f"{JOB}/epochs/4")
    assert error.reason == "EPOCH_NOT_FOUND"
    assert "1 to 3" in error.remedy


@pytest.mark.parametrize("file_id", ["kohya", "preview-3"])
async def test_a_file_that_arrives_damaged_is_data_loss(running: Running, file_id: str) -> None:
    content = running.trainer.contents[file_id]
    running.trainer.contents[file_id] = content[:-1] + bytes([content[-1] ^ 0x80])
    error = await running.refused(DataLoss)
    assert error.reason == "FILE_CORRUPT"
    running.trainer.contents[file_id] = content
    assert (await running.save()).name == f"{REX}/versions/1"


async def test_a_file_that_rots_in_the_store_is_noticed_on_its_way_out(running: Running) -> None:
    await running.save()
    key = next(key for key in await running.keys() if key.endswith("/kohya"))
    content = await running.objects.get(key)
    await running.objects.put(key, content[:1000] + b"rot" + content[1003:])
    with pytest.raises(DataLoss):
        await running.download(f"{REX}/versions/1")
    await running.objects.delete(key)
    with pytest.raises(DataLoss) as caught:
        await running.download(f"{REX}/versions/1")
    assert caught.value.reason == "FILE_LOST"


async def test_a_repeated_save_gives_the_same_version_and_another_body_is_refused(running: Running) -> None:
    first = await running.save(request_id="r-1")
    downloads = running.trainer.downloads
    assert await running.save(request_id="r-1") == first
    assert running.trainer.downloads == downloads
    error = await running.refused(InvalidArgument, request_id="r-1", description="other")
    assert (error.field, error.reason) == ("request_id", "REQUEST_ID_REUSED")


async def test_saves_at_once_get_versions_of_their_own(running: Running) -> None:
    versions = await asyncio.gather(*(running.save() for _ in range(6)))
    assert sorted(version.name[-1] for version in versions) == ["1", "2", "3", "4", "5", "6"]
    assert len(await running.keys()) == 6 * len(contents())


async def test_equal_saves_at_once_make_one_version(running: Running) -> None:
    versions = await asyncio.gather(*(running.save(request_id="r-1") for _ in range(4)))
    assert {version.name for version in versions} == {f"{REX}/versions/1"}
    assert len(await running.keys()) == len(contents())


async def test_the_trainer_hears_whose_call_it_is_and_others_are_kept_out(running: Running) -> None:
    with request_context.use(RequestContext(projects=frozenset({"pets"}), principal="me")):
        await running.save()
        assert running.trainer.projects == {"pets"}
        with pytest.raises(PermissionDenied) as caught:
            await running.save(epoch="projects/zoo/trainingJobs/rex/epochs/1")
        assert caught.value.reason == "PROJECT_FORBIDDEN"
        with pytest.raises(PermissionDenied):
            await running.stub.GetModel(service_pb.GetModelRequest(name="projects/zoo/models/rex"))


async def test_a_base_model_that_left_the_catalogue_does_not_hold_up_a_save(running: Running) -> None:
    running.trainer.hub_id = "someone/tiny"
    assert "base_model: someone/tiny" in (await running.save()).model_card
    running.trainer.has_base_model = False
    version = await running.save()
    assert "base_model: tiny" in version.model_card
    assert "license" not in version.model_card


async def test_models_are_made_changed_and_deleted(running: Running) -> None:
    stub = running.stub
    given = pb.Model(display_name="Max", tags=["dog"], name="ignored", version_count=7)
    made = await stub.CreateModel(service_pb.CreateModelRequest(parent=PETS, model_id="max", model=given))
    assert (made.name, made.display_name, made.version_count) == (f"{PETS}/models/max", "Max", 0)
    with pytest.raises(AlreadyExists):
        await stub.CreateModel(service_pb.CreateModelRequest(parent=PETS, model_id="max"))
    change = pb.Model(name=made.name, description="a dog", display_name="other", etag=made.etag)
    mask = FieldMask(paths=["description"])
    changed = await stub.UpdateModel(service_pb.UpdateModelRequest(model=change, update_mask=mask))
    assert (changed.description, changed.display_name, list(changed.tags)) == ("a dog", "Max", ["dog"])
    with pytest.raises(Aborted):
        await stub.UpdateModel(service_pb.UpdateModelRequest(model=change, update_mask=mask))

    await running.save()
    moved = await stub.SetModelAlias(service_pb.SetModelAliasRequest(name=REX, alias="best", version=1))
    assert moved.aliases["best"] == f"{REX}/versions/1"
    gone = await stub.DeleteModelAlias(service_pb.DeleteModelAliasRequest(name=REX, alias="best"))
    assert dict(gone.aliases) == {"latest": f"{REX}/versions/1"}
    with pytest.raises(FailedPrecondition):
        await stub.DeleteModel(service_pb.DeleteModelRequest(name=REX))
    await stub.DeleteModel(service_pb.DeleteModelRequest(name=REX, force=True))
    assert await running.keys() == []
    with pytest.raises(NotFound):
        await stub.GetModelVersion(service_pb.GetModelVersionRequest(name=f"{REX}/versions/1"))
    assert [model.name for model in (await running.models()).models] == [made.name]


async def test_versions_are_paged_newest_first(running: Running) -> None:
    for _ in range(3):
        await running.save()
    request = service_pb.ListModelVersionsRequest(parent=REX, page_size=2)
    first = await running.stub.ListModelVersions(request)
    request.page_token = first.next_page_token
    rest = await running.stub.ListModelVersions(request)
    assert [version.name[-1] for version in (*first.versions, *rest.versions)] == ["3", "2", "1"]
    assert (first.total_size, rest.next_page_token) == (3, "")


async def test_a_trainer_that_is_away_is_unavailable_and_leaves_nothing(
    s3_settings: S3Settings, object_store: ObjectStore, sqlite_url: str, free_port: int
) -> None:
    settings = Settings(**s3_settings.model_dump(), database_url=sqlite_url, trainer_target=f"127.0.0.1:{free_port}")
    async with serving(settings) as connection:
        running = Running(RegistryServiceStub(connection), FakeTrainer(), object_store)  # type: ignore[abstract]
        await running.refused(Unavailable)


async def test_a_version_goes_with_its_files_unless_an_alias_names_it(running: Running) -> None:
    first = await running.save(aliases=["production"])
    second = await running.save()
    refusals = [
        (FailedPrecondition, "force", service_pb.DeleteModelVersionRequest(name=first.name)),
        (Aborted, "etag", service_pb.DeleteModelVersionRequest(name=first.name, etag=second.etag, force=True)),
        (NotFound, "name", service_pb.DeleteModelVersionRequest(name=f"{REX}/versions/9")),
        (InvalidArgument, "name", service_pb.DeleteModelVersionRequest(name=f"{REX}/versions/latest")),
    ]
    before = {info.key async for info in running.objects.list("")}
    for kind, field, request in refusals:
        with pytest.raises(kind) as refused:
            await running.stub.DeleteModelVersion(request)
        assert refused.value.field == field, refused.value
    assert {info.key async for info in running.objects.list("")} == before

    await running.stub.DeleteModelVersion(service_pb.DeleteModelVersionRequest(name=second.name, etag=second.etag))
    model = await running.stub.GetModel(service_pb.GetModelRequest(name=REX))
    assert (model.latest_version, model.version_count) == (first.name, 1)
    current = await running.stub.GetModelVersion(service_pb.GetModelVersionRequest(name=f"{REX}/versions/latest"))
    assert sorted(current.aliases) == ["latest", "production"]
    await running.stub.DeleteModelVersion(
        service_pb.DeleteModelVersionRequest(name=first.name, etag=current.etag, force=True)
    )
    assert [info.key async for info in running.objects.list("")] == []
    third = await running.save()
    assert third.name == f"{REX}/versions/3"


async def test_a_lora_from_elsewhere_becomes_a_version(running: Running) -> None:
    data = lora_files.safetensors(lora_files.DIFFUSERS, lora_files.METADATA)

    def requests(data: bytes, **first: object) -> Iterator[service_pb.ImportModelVersionRequest]:
        fields = {"parent": REX, "file_name": "Rex.safetensors", "create_model": True, **first}
        for start in range(0, len(data), 100):
            content = HttpBody(data=data[start : start + 100])
            yield service_pb.ImportModelVersionRequest(content=content, **fields)  # type: ignore[arg-type]
            fields = {}

    made = await running.stub.ImportModelVersion(requests(data, request_id="r", base_model="baseModels/tiny"))
    assert made.lineage == pb.Lineage(base_model="baseModels/tiny", step=120, uploaded_file="Rex.safetensors")
    assert await running.stub.GetModelVersion(service_pb.GetModelVersionRequest(name=made.name)) == made
    file, stored = await running.download(made.name)
    assert (file.file_id, stored) == ("diffusers", data)
    again = await running.stub.ImportModelVersion(requests(data, request_id="r", base_model="baseModels/tiny"))
    assert again == made
    keys = await running.keys()
    with pytest.raises(InvalidArgument) as refused:
        await running.stub.ImportModelVersion(requests(data[:-1]))
    assert refused.value.reason == "MODEL_FILE_INCOMPLETE"
    assert await running.keys() == keys


async def test_of_saves_at_once_as_many_are_kept_as_fit_with_their_files(small: Running) -> None:
    await small.save(request_id="first")
    files = len(await small.keys())
    found = await asyncio.gather(*(small.save(request_id=f"r-{n}") for n in range(4)), return_exceptions=True)
    refused = [one for one in found if isinstance(one, ResourceExhausted)]
    assert (len(refused), len(found) - len(refused)) == (3, 1), found
    assert {error.metadata["budget"] for error in refused} == {"model_versions"}
    assert len(await small.keys()) == 2 * files
    assert (await small.save(request_id="first")).name == f"{REX}/versions/1"
    error = await small.refused(ResourceExhausted)
    assert (error.reason, error.field) == ("BUDGET_USED_UP", "parent")
    usage = await small.stub.GetUsage(service_pb.GetUsageRequest(name=f"{PETS}/modelUsage"))
    assert [(one.budget, one.used, one.limit) for one in usage.budgets] == [("models", 1, 1), ("model_versions", 2, 2)]
    with pytest.raises(ResourceExhausted):
        await small.stub.CreateModel(service_pb.CreateModelRequest(parent=PETS, model_id="max"))


async def test_labels_of_models_and_versions_are_set_changed_and_filtered_by(running: Running) -> None:
    version = await running.save(labels={"stage": "raw"})
    assert dict(version.labels) == {"stage": "raw"}
    given = pb.ModelVersion(name=version.name, labels={"stage": "final"}, etag=version.etag)
    mask = FieldMask(paths=["labels"])
    request = service_pb.UpdateModelVersionRequest(model_version=given, update_mask=mask)
    assert dict((await running.stub.UpdateModelVersion(request)).labels) == {"stage": "final"}
    with pytest.raises(Aborted):
        await running.stub.UpdateModelVersion(request)
    listing = service_pb.ListModelVersionsRequest(parent=REX, filter='labels.stage = "final"')
    assert [one.name for one in (await running.stub.ListModelVersions(listing)).versions] == [version.name]
    for name, paths, field in (
        (version.name, ["description"], "update_mask"),
        (f"{REX}/versions/latest", ["labels"], "model_version.name"),
    ):
        wrong = service_pb.UpdateModelVersionRequest(
            model_version=pb.ModelVersion(name=name), update_mask=FieldMask(paths=paths)
        )
        with pytest.raises(InvalidArgument) as caught:
            await running.stub.UpdateModelVersion(wrong)
        assert caught.value.field == field
    model = pb.Model(name=REX, labels={"team": "pets"})
    update = service_pb.UpdateModelRequest(model=model, update_mask=FieldMask(paths=["labels"]))
    assert dict((await running.stub.UpdateModel(update)).labels) == {"team": "pets"}
    found = await running.stub.ListModels(service_pb.ListModelsRequest(parent=PETS, filter="labels.team:p*"))
    assert [one.name for one in found.models] == [REX]
