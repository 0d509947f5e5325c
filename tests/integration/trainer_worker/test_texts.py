"""From the captions of a dataset to what the engine trains and draws: one rule makes the texts, one the prompts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.dataset.v1 import dataset_service_pb2 as pb
from sqlalchemy import update

from services.chassis.s3 import ObjectStore
from services.chassis.store_settings import S3Settings
from services.dataset.adapters.sql_tables import version_images
from services.trainer.adapters.grpc_datasets import GrpcDatasets
from services.trainer.engine.batches import draw_pass, epoch_steps
from services.trainer.engine.job import Hooks, TrainJobSpec
from services.trainer.engine.preparation import Run, prepare
from services.trainer.engine.processes import Processes
from services.trainer.engine.warm import Warm
from services.trainer.recipe.catalogue import load_catalogue
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.planning import JobRequest, PlannedJob, Planner
from services.trainer.worker.files import files_of
from services.trainer.worker.inputs import Inputs
from services.trainer.worker.pictures import decode_original
from tests.fakes.pictures import png
from tests.fixtures.dataset import SET_NAME, DatasetServer, running_dataset
from tests.unit.dataset.test_masks import mask

CAPTIONS = ("a photo of sks gray cat.", "SKS gray cat, on grass", "“sks” gray cat", "", "risks gray cat")
TAGS = ("gray cat", "grass")
FINAL = [
    "a photo of sks gray cat.",
    "SKS gray cat, on grass",
    "“sks” gray cat",
    "sks, gray cat, grass",
    "sks, risks gray cat",
]


@pytest.fixture
async def datasets(s3_settings: S3Settings, sqlite_url: str) -> AsyncIterator[DatasetServer]:
    async with running_dataset(s3_settings, sqlite_url) as server:
        yield server


async def _upload(datasets: DatasetServer, captions: tuple[str, ...]) -> None:
    await datasets.new_set(trigger_word="sks")
    for number, caption in enumerate(captions):
        tags = TAGS if not caption else ()
        image = await datasets.upload(png(seed=number), file_name=f"{number}.png", caption=caption, tags=tags)
        assert "sks" in image.training_text.lower()


async def _planned(
    datasets: DatasetServer, catalogue_file: Path, dataset: str = SET_NAME, *, store: bool = True, **parameters: object
) -> PlannedJob:
    planner = Planner(BaseModels(load_catalogue(catalogue_file)), GrpcDatasets(datasets.connection), min_images=3)
    request = JobRequest("acme", "", "", "baseModels/tiny", dataset, parameters, 0)
    return await planner.plan(request, store=store)


async def _prepared(datasets: DatasetServer, object_store: ObjectStore, planned: PlannedJob, folder: Path) -> Run:
    inputs = Inputs(datasets.connection, object_store, patience_s=10)
    items = await inputs.pictures(planned.data.version, folder / "pictures", masks=planned.parameters.masked_loss)
    files = files_of(planned.model)
    spec = TrainJobSpec(files, planned.parameters, items, folder / "run", decode_original, device="cpu", processes=1)
    return prepare(spec, Hooks(), Processes(), Warm())


def _trained(run: Run) -> list[str]:
    """The texts of one epoch, by picture."""
    texts: dict[int, str] = {}
    for step, forwards in enumerate(epoch_steps(run.plan.buckets, run.spec.parameters, 0)):
        for position, forward in enumerate(forwards):
            latents = run.latents[forward.bucket]
            drawn = draw_pass(forward, latents, run.captions, [], run.spec.parameters, step=step, position=position)
            texts.update(zip(forward.items, drawn.captions, strict=True))
    return [texts[number] for number in sorted(texts)]


async def test_what_is_frozen_is_what_is_shown_planned_and_trained(
    datasets: DatasetServer, object_store: ObjectStore, catalogue_file: Path, tmp_path: Path
) -> None:
    await _upload(datasets, CAPTIONS)
    live = await datasets.stub.ListImages(pb.ListImagesRequest(parent=SET_NAME))
    looked = await _planned(datasets, catalogue_file, store=False)
    planned = await _planned(datasets, catalogue_file, caption_dropout=0.0)
    frozen = await datasets.stub.ListDatasetVersionImages(
        pb.ListDatasetVersionImagesRequest(parent=planned.data.version)
    )
    run = await _prepared(datasets, object_store, planned, tmp_path)
    assert [image.training_text for image in live.images] == FINAL
    assert [image.caption for image in looked.data.images] == FINAL
    assert [image.caption for image in frozen.images] == FINAL
    assert [image.caption for image in planned.data.images] == FINAL
    assert _trained(run) == FINAL


async def test_an_old_version_without_the_trigger_word_trains_with_it(
    datasets: DatasetServer, object_store: ObjectStore, catalogue_file: Path, tmp_path: Path
) -> None:
    await _upload(datasets, CAPTIONS[:3])
    planned = await _planned(datasets, catalogue_file)
    async with datasets.db.begin() as conn:
        await conn.execute(update(version_images).values(caption="a gray cat"))
    planned = await _planned(datasets, catalogue_file, planned.data.version, caption_dropout=0.0)
    run = await _prepared(datasets, object_store, planned, tmp_path)
    assert _trained(run) == ["sks, a gray cat"] * 3


async def test_a_version_tells_the_trainer_what_the_live_set_does(
    datasets: DatasetServer, catalogue_file: Path
) -> None:
    await _upload(datasets, ("a cat", "", "sks"))
    looked = await _planned(datasets, catalogue_file, store=False)
    planned = await _planned(datasets, catalogue_file)
    for live, frozen in zip(looked.data.images, planned.data.images, strict=True):
        assert live.facts
        assert live.perceptual_hash
        assert (frozen.facts, frozen.content_area) == (live.facts, live.content_area)
        assert frozen.perceptual_hash == live.perceptual_hash


@pytest.mark.parametrize(
    ("text_from", "sources", "texts"),
    [
        (dataset_pb2.TEXT_FROM_CAPTION, ["caption", "none"], ["sks cat", "sks"]),
        (dataset_pb2.TEXT_FROM_TAGS, ["tags", "tags"], ["sks, gray cat, grass"] * 2),
        (
            dataset_pb2.TEXT_FROM_CAPTION_AND_TAGS,
            ["caption_and_tags", "tags"],
            ["sks cat, gray cat, grass", "sks, gray cat, grass"],
        ),
    ],
)
async def test_what_the_dataset_chooses_is_what_a_training_would_read(
    datasets: DatasetServer, text_from: dataset_pb2.TextFrom.ValueType, sources: list[str], texts: list[str]
) -> None:
    await datasets.new_set(trigger_word="sks")
    for number, caption in enumerate(("sks cat", "")):
        await datasets.upload(png(seed=number), file_name=f"{number}.png", caption=caption, tags=TAGS)
    chosen = dataset_pb2.Dataset(name=SET_NAME, text_from=text_from)
    await datasets.stub.UpdateDataset(pb.UpdateDatasetRequest(dataset=chosen))
    reader = GrpcDatasets(datasets.connection)
    live, frozen = await reader.look(SET_NAME), await reader.pin(SET_NAME)
    assert [each.text_source for each in live.images] == sources
    assert [each.caption for each in live.images] == texts == [each.caption for each in frozen.images]
    assert [each.caption_unused for each in live.images] == [text_from == dataset_pb2.TEXT_FROM_TAGS, False]
    assert all(each.tags_unused == (text_from == dataset_pb2.TEXT_FROM_CAPTION) for each in live.images)


async def test_prompts_that_a_job_is_created_with_are_those_that_are_drawn(
    datasets: DatasetServer, object_store: ObjectStore, catalogue_file: Path, tmp_path: Path
) -> None:
    templates = '["{caption}", "a photo of {trigger_word} in the snow", "{trigger_word} at night"]'
    catalogue_file.write_text(catalogue_file.read_text().replace('["{caption}"]', templates))
    await _upload(datasets, ("sks gray cat",) * 3)
    planned = await _planned(datasets, catalogue_file)
    expected = ("sks gray cat", "a photo of sks gray cat in the snow", "sks gray cat at night")
    assert planned.parameters.preview_prompts == expected
    run = await _prepared(datasets, object_store, planned, tmp_path)
    assert run.previews.prompts == expected
    assert tuple(preview.prompt for preview in run.base_previews) == expected


async def test_a_trigger_word_of_the_dataset_changes_the_shown_text_of_all_images(datasets: DatasetServer) -> None:
    await _upload(datasets, ("sks cat", "a cat with sks"))
    made = await datasets.stub.GetDataset(pb.GetDatasetRequest(name=SET_NAME))
    changed = dataset_pb2.Dataset(name=SET_NAME, trigger_word="猫", etag=made.etag)
    await datasets.stub.UpdateDataset(pb.UpdateDatasetRequest(dataset=changed))
    live = await datasets.stub.ListImages(pb.ListImagesRequest(parent=SET_NAME))
    assert [image.training_text for image in live.images] == ["猫, sks cat", "猫, a cat with sks"]
    one = await datasets.stub.GetImage(pb.GetImageRequest(name=live.images[0].name))
    assert one.training_text == "猫, sks cat"
    one.caption = "一只猫"
    assert (await datasets.stub.UpdateImage(pb.UpdateImageRequest(image=one))).training_text == "一只猫"


@pytest.mark.parametrize("masked", [True, False])
async def test_a_masked_loss_gets_the_masks_of_the_version(
    datasets: DatasetServer, object_store: ObjectStore, catalogue_file: Path, tmp_path: Path, masked: bool
) -> None:
    await _upload(datasets, ("a cat", "another", "a third"))
    images = (await datasets.stub.ListImages(pb.ListImagesRequest(parent=SET_NAME))).images
    requests = [pb.SetImageMaskRequest(name=images[1].name, png=mask())]
    await datasets.stub.BatchSetImageMasks(pb.BatchSetImageMasksRequest(parent=SET_NAME, requests=requests))
    planned = await _planned(datasets, catalogue_file, masked_loss=masked)
    assert [image.size.masked for image in planned.data.images] == [False, True, False]
    run = await _prepared(datasets, object_store, planned, tmp_path)
    assert [item.mask_path is not None for item in run.spec.items] == [False, masked, False]
    assert any(bucket.mask is not None for bucket in run.latents) == masked
