"""A job on two datasets and regularisation pictures, on a real worker."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fiveshot.trainer.v1 import training_job_pb2, training_service_pb2

from services.chassis.errors import Unavailable
from services.chassis.grpc_client import channel
from services.trainer.worker.inputs import Inputs
from tests.fakes.dataset_server import FakeDatasetServer, PhotoSet, photo
from tests.fixtures.patience import scaled
from tests.fixtures.trainer import Trainer
from tests.fixtures.worker import StartWorker, wait_for

Job = training_job_pb2.TrainingJob
Dataset = training_job_pb2.TrainedDataset
_ENDED = (Job.STATE_SUCCEEDED, Job.STATE_FAILED, Job.STATE_CANCELLED)


async def test_a_job_on_two_datasets_trains_both_by_weight(
    trainer: Trainer, project: str, dataset_service: FakeDatasetServer, start_worker: StartWorker
) -> None:
    folder = f"projects/{project}/datasets"
    dogs = dataset_service.sets[f"{folder}/dog"].photos
    dataset_service.sets[f"{folder}/cat"] = PhotoSet(
        "qux", [photo((30 * n, 90, 9 * n), f"qux cat, picture {n}") for n in range(3)]
    )
    dataset_service.sets[f"{folder}/dogs"] = PhotoSet("", [replace(each, caption="dog") for each in dogs[:2]])
    start_worker(trainer.target)
    job = await trainer.create(
        project,
        dataset_version="",
        datasets=[
            Dataset(dataset_version=f"{folder}/dog"),
            Dataset(dataset_version=f"{folder}/cat", weight=3.0),
            Dataset(dataset_version=f"{folder}/dogs", regularization=True),
        ],
        parameters=training_job_pb2.TrainingParameters(num_epochs=1),
    )
    done = await wait_for(trainer, job.name, lambda job: job.state in _ENDED)
    assert done.state == Job.STATE_SUCCEEDED, done.error
    asked = training_service_pb2.DownloadEpochFileRequest(name=f"{job.name}/epochs/1", file_id="kohya")
    data = b"".join([part.chunk async for part in trainer.stub.DownloadEpochFile(asked, timeout=scaled(30))])
    metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    # Eight pictures twice: four samples of the five dogs (each at least once), twelve of the three cats.
    assert json.loads(metadata["ss_dataset_dirs"]) == {
        "dog": {"n_repeats": 1, "img_count": 5},
        "cat": {"n_repeats": 4, "img_count": 3},
    }
    assert metadata["ss_num_reg_images"] == "2"
    assert json.loads(metadata["fiveshot.dataset_digests"]) == {
        each.dataset_version.split("/")[3]: each.dataset_digest for each in done.datasets[:2]
    }


async def test_a_worker_trains_no_part_of_a_job_that_an_older_trainer_hands_out(
    trainer: Trainer, project: str, dataset_service: FakeDatasetServer, dataset_target: str, tmp_path: Path
) -> None:
    folder = f"projects/{project}/datasets"
    dataset_service.sets[f"{folder}/pup"] = PhotoSet("qux", dataset_service.sets[f"{folder}/dog"].photos)
    both = [Dataset(dataset_version=f"{folder}/dog"), Dataset(dataset_version=f"{folder}/pup", weight=3.0)]
    job = await trainer.create(project, dataset_version="", datasets=both)
    async with channel(dataset_target) as datasets:
        inputs = Inputs(datasets, trainer.objects, patience_s=10)
        assert len((await inputs.of_job(job, tmp_path / "all", masks=False)).items) == 10
        job.ClearField("datasets")
        with pytest.raises(Unavailable) as refused:
            await inputs.of_job(job, tmp_path / "some", masks=False)
    assert refused.value.reason == "PICTURES_DIFFER"
