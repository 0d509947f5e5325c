"""The digests of requests that may be repeated, as services have stored them since the first release.

A request that an older release stored must be recognised when it comes again, so these values never change: whoever
sees this test fail has broken replays, and mends the code instead of the value.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.notifier.v1 import notifier_service_pb2, webhook_pb2
from fiveshot.registry.v1 import model_pb2, registry_service_pb2
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.trainer.v1 import base_model_pb2, preview_request_pb2, training_job_pb2
from fiveshot.trainer.v1 import training_service_pb2 as pb
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message

from services.chassis.byte_budget import ByteBudget
from services.chassis.listing.pages import PageTokens
from services.chassis.requests.keys import RequestKey
from services.chassis.signals import Signals
from services.chassis.zip_archives import ArchiveLimits
from services.dataset.models.checks import Limits
from services.dataset.servicer import DatasetServicer
from services.dataset.use_cases.datasets import DatasetVerbs
from services.dataset.use_cases.imports import ImportVerb
from services.dataset.use_cases.uploads import UploadVerb
from services.dataset.use_cases.versions import VersionVerbs
from services.notifier.servicer import NotifierServicer
from services.notifier.use_cases.webhooks import Webhooks
from services.registry.servicer import RegistryServicer
from services.registry.use_cases.repositories import Repositories
from services.registry.use_cases.save_epoch import SaveEpoch
from services.tagger.servicer import TaggerServicer
from services.tagger.use_cases.tag_jobs import TagJobVerbs
from services.tagger.use_cases.taggers import Taggers
from services.trainer.servicer.training import TrainingServicer, TrainingUseCases
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.creating import JobCreator
from services.trainer.use_cases.own_base_models import OwnBaseModels
from services.trainer.use_cases.requesting_previews import PreviewRequesting
from services.trainer.use_cases.steering import JobSteering
from tests.fakes.archives import raw_archive
from tests.fakes.tagger_world import ScriptedTagger, score

SHA = "ab" * 32
JOB = "projects/acme/trainingJobs/rex-1"
NO: Any = None
# The moves of a job have one body; the method is a column of its own.
STEERED = "aabb6b8bab258db92a748f815fa557d3bbfa904980c1fca6bfb7a6575c93416a"


class Asked(Exception):
    """What the store was asked to recall."""


class RecordingStore:
    """Any of the stores, up to the moment at which it is asked whether a request is known."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[RecordingStore]:
        yield self

    write = read

    async def dataset(self, ref: object) -> None:
        """The early check of an upload reads it first."""

    lock_dataset = dataset

    async def recall(self, *given: object, **named: object) -> None:
        raise Asked(*given, *named.values())

    request_is_known = change = recall


def now() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def dataset(store: Any) -> DatasetServicer:
    limits = Limits(extensions=("png",), max_image_bytes=1000, max_images=10, max_pixels=1000, min_side=1)
    budget = ByteBudget(total=1000, per_project=1000)
    upload = UploadVerb(store, NO, NO, NO, now, budget, limits=limits, idle_s=5, reservation=NO)
    versions = VersionVerbs(store, NO, now, PageTokens())
    datasets = DatasetVerbs(store, NO, now, PageTokens())
    imports = ImportVerb(store, NO, NO, budget, ArchiveLimits(), now, max_bytes=1000, idle_s=5)
    others = {"images": NO, "trained": NO, "batches": NO, "direct": NO, "tags": NO, "usage": NO}
    others |= {"imports": imports, "exports": NO, "masks": NO, "edits": NO, "project_verbs": NO}
    return DatasetServicer(datasets=datasets, uploads=upload, **others, versions=versions)


def tagger(store: Any) -> TaggerServicer:
    taggers = Taggers([ScriptedTagger(score("cat"))])
    return TaggerServicer(taggers, TagJobVerbs(store, NO, taggers, Signals(), now, PageTokens()), NO, NO, NO, NO)


def trainer(store: Any) -> TrainingServicer:
    creator = JobCreator(store, NO, NO, clock=now, new_id=NO, memory=NO)
    steering = JobSteering(store, BaseModels({}), clock=now)
    requesting = PreviewRequesting(store, NO, NO, BaseModels({}), clock=now, new_id=NO, cells=1, keep=timedelta(days=1))
    own = OwnBaseModels(store, NO, NO, NO, NO, NO, clock=now, new_id=NO, max_bytes=1)
    others = (NO,) * 5
    return TrainingServicer(
        TrainingUseCases(creator, NO, NO, NO, steering, NO, *others, requesting, NO, base_models=own, uploading=NO)
    )


def registry(store: Any) -> RegistryServicer:
    return RegistryServicer(Repositories(store, NO, NO), NO, SaveEpoch(store, NO, NO, max_bytes=1), NO, NO)


def notifier(store: Any) -> NotifierServicer:
    return NotifierServicer(Webhooks(store, NO, NO, clock=now), NO, clock=now)


async def upload(request: Message) -> AsyncIterator[Message]:
    yield request


REQUESTS: list[tuple[str, Callable[[Any], Any], Message, str]] = [
    (
        "CreateDataset",
        dataset,
        dataset_service_pb2.CreateDatasetRequest(
            parent="projects/acme",
            dataset_id="rex",
            request_id="r-1",
            dataset=dataset_pb2.Dataset(display_name="Rëx", description="my dog", trigger_word="sks", num_repeats=3),
        ),
        "ca984fb16f807d1147726db9aac3b23a61ca959c92f7606cf78c12bd140a0bc2",
    ),
    (
        "CreateDatasetVersion",
        dataset,
        dataset_service_pb2.CreateDatasetVersionRequest(
            parent="projects/acme/datasets/rex", description=" first\ntry ", request_id="r-1"
        ),
        "95276c7d16e1e08c51a0ab74786ccffab745e8e1dbe523908addef0524814c30",
    ),
    (
        "UploadImage",
        dataset,
        dataset_service_pb2.UploadImageRequest(
            header=dataset_service_pb2.UploadImageHeader(
                parent="projects/acme/datasets/rex", file_name="a.png", size_bytes=9, sha256=SHA, caption="Rëx runs",
                tags=["dog", "red hat"], request_id="r-1",
            )
        ),
        "60f6e458376a62d522763b8f41693ad9641f9fd3e52df0577357badb4b6e149f",
    ),
    (
        "ImportImages",
        dataset,
        dataset_service_pb2.ImportImagesRequest(
            parent="projects/acme/datasets/rex", content=HttpBody(data=raw_archive([(b"a.png", b"x")])),
            ignore_captions=True, request_id="r-1",
        ),
        "a9ec0be21c482d800f1d8650c4edf96869940f23093cbb2bb89aa22bca670868",
    ),
    (
        "TagImages",
        tagger,
        tagger_service_pb2.TagImagesRequest(
            parent="projects/acme",
            dataset="projects/acme/datasets/rex",
            filter='tags:"dog"',
            request_id="r-1",
            dry_run=True,
            options=tagger_pb2.TagOptions(
                threshold=0.35, max_tags=7, exclude=["cat"], mode=tagger_pb2.TAG_MODE_SKIP, prepend=["sks"],
                category_thresholds={"general": 0.5},
                replace=[tagger_pb2.LabelReplacement(old_label="a", new_label="b")],
            ),
        ),
        "7f4283f17beb35f8f38519080190d6e6133144f29dc86b02faa79aa3fabff96b",
    ),
    (
        "CreateTrainingJob",
        trainer,
        pb.CreateTrainingJobRequest(
            parent="projects/acme",
            training_job_id="rex-1",
            request_id="r-1",
            training_job=training_job_pb2.TrainingJob(
                display_name="Rëx", base_model="baseModels/fiveshot-tiny", priority=2,
                dataset_version="projects/acme/datasets/rex/versions/1",
                parameters=training_job_pb2.TrainingParameters(rank=8, num_epochs=3),
            ),
        ),
        "dde9b3543635990410e5177e6024beb0a5f37417dcfdcee331d8dff6fa563e93",
    ),
    (
        "RequestPreviews",
        trainer,
        pb.RequestPreviewsRequest(
            parent="projects/acme",
            request_id="r-1",
            preview_request=preview_request_pb2.PreviewRequest(
                sources=[f"{JOB}/epochs/2"], prompts=["a cat"], strengths=[0.5], seeds=[7], guidance=4.0
            ),
        ),
        "00f6ae66834b72f8c3c83b450db634690b98dc18fba9fa545ef7a4cc6f9e5449",
    ),
    (
        "CreateBaseModel",
        trainer,
        pb.CreateBaseModelRequest(
            parent="projects/acme",
            base_model_id="house",
            request_id="r-1",
            header=b"\x02\x00\x00\x00\x00\x00\x00\x00{}",
            base_model=base_model_pb2.BaseModel(
                license="MIT", file_name="house.safetensors", size_bytes=10, sha256=SHA, display_name="Hëüs"
            ),
        ),
        "9a5ce1ced63abc52b61e5b151e63aba3fd1cf20f33c1865e8a41a7d3868115e1",
    ),
    ("CancelTrainingJob", trainer, pb.CancelTrainingJobRequest(name=JOB, etag="e", request_id="r-1"), STEERED),
    ("PauseTrainingJob", trainer, pb.PauseTrainingJobRequest(name=JOB, etag="e", request_id="r-1"), STEERED),
    ("ResumeTrainingJob", trainer, pb.ResumeTrainingJobRequest(name=JOB, etag="e", request_id="r-1"), STEERED),
    ("StopTrainingJob", trainer, pb.StopTrainingJobRequest(name=JOB, etag="e", request_id="r-1"), STEERED),
    ("RetryTrainingJob", trainer, pb.RetryTrainingJobRequest(name=JOB, etag="e", request_id="r-1"), STEERED),
    (
        "ExtendTrainingJob",
        trainer,
        pb.ExtendTrainingJobRequest(name=JOB, additional_epochs=2, request_id="r-1"),
        "154512f4ad2cb1176d00ebcc454619f3164fbae9bbcb6c2a7d9733af5764a560",
    ),
    (
        "CreateModel",
        registry,
        registry_service_pb2.CreateModelRequest(
            parent="projects/acme",
            model_id="rex",
            request_id="r-1",
            model=model_pb2.Model(display_name="Rëx", description="my dog", tags=["dog", "red hat"]),
        ),
        "a74ab194b58a5acd6a28303778f78bba8579da349ecbd0a26264a0b53cefe361",
    ),
    (
        "SaveEpoch",
        registry,
        registry_service_pb2.SaveEpochRequest(
            parent="projects/acme", epoch=f"{JOB}/epochs/3", model_id="rex", create_model=True, display_name="Rëx",
            description="my dog", aliases=["best"], request_id="r-1",
        ),
        "b67069c10a0325fe5f70339c2b16ec65580958a363995c86fb45676327dad331",
    ),
    (
        "CreateWebhook",
        notifier,
        notifier_service_pb2.CreateWebhookRequest(
            parent="projects/acme", webhook_id="mine", request_id="r-1",
            webhook=webhook_pb2.Webhook(url="https://example.com/", event_types=["fiveshot.usage.*"]),
        ),
        "9c98b75a7c7822fbee07c4a75a4778273a7dcfe56459f59c4f012b3109bdd1a6",
    ),
    (
        "RotateWebhookSecret",
        notifier,
        notifier_service_pb2.RotateWebhookSecretRequest(
            name="projects/acme/webhooks/mine", overlap_hours=1, request_id="r-1"
        ),
        "f4081e8ded64d7f0deae8cc0b8d5a59d93c2cf8d2dcbba0ad13096707cd95adf",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("method", "build", "request_", "digest"), REQUESTS, ids=[row[0] for row in REQUESTS])
async def test_the_digest_of_a_request_is_what_it_always_was(
    method: str, build: Callable[[Any], Any], request_: Message, digest: str
) -> None:
    call: Callable[[Any, Any], Awaitable[object]] = getattr(build(RecordingStore()), method)
    with pytest.raises(Asked) as caught:
        await call(upload(request_) if method in ("UploadImage", "ImportImages") else request_, None)
    (key,) = (given for given in caught.value.args if isinstance(given, RequestKey))
    assert key == RequestKey("acme", method, "r-1", digest)
