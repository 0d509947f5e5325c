"""TaggerService: parse, call, map."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.tagger.v1.tagger_service_pb2_grpc import TaggerServiceServicer
from google.protobuf.empty_pb2 import Empty

from services.chassis.names import ResourceName
from services.tagger import proto_mapping
from services.tagger.models.jobs import project_of
from services.tagger.use_cases.crops import CropVerb
from services.tagger.use_cases.masks import MaskVerb
from services.tagger.use_cases.subject import SubjectVerb
from services.tagger.use_cases.tag_jobs import PROJECT, StartRequest, TagJobVerbs
from services.tagger.use_cases.tag_picture import TagPicture
from services.tagger.use_cases.taggers import Taggers

DATASET = ResourceName("projects/{project}/datasets/{dataset}")
TAG_JOB = ResourceName("projects/{project}/tagJobs/{tag_job}")


class TaggerServicer(TaggerServiceServicer):
    """Errors pass through to the interceptor; project and field rules were checked before a method is called."""

    def __init__(
        self,
        taggers: Taggers,
        jobs: TagJobVerbs,
        tag_picture: TagPicture,
        suggest_subject: SubjectVerb,
        suggest_crops: CropVerb,
        suggest_masks: MaskVerb,
    ) -> None:
        self._taggers = taggers
        self._jobs = jobs
        self._tag_picture = tag_picture
        self._suggest_subject = suggest_subject
        self._suggest_crops = suggest_crops
        self._suggest_masks = suggest_masks

    async def ListTaggers(
        self, request: tagger_service_pb2.ListTaggersRequest, context: Any
    ) -> tagger_service_pb2.ListTaggersResponse:
        """All taggers, the default first."""
        await self._taggers.refresh()
        return tagger_service_pb2.ListTaggersResponse(
            taggers=[
                proto_mapping.tagger_to_proto(info, is_default=self._taggers.is_default(info))
                for info in self._taggers.list()
            ]
        )

    async def TagImages(self, request: tagger_service_pb2.TagImagesRequest, context: Any) -> tagger_pb2.TagJob:
        """Starts a job."""
        DATASET.parse(request.dataset, field="dataset")
        job = await self._jobs.start(
            StartRequest(
                project=PROJECT.parse(request.parent, field="parent")["project"],
                dataset=request.dataset,
                options=proto_mapping.options_from_proto(request.options),
                filter=request.filter,
                request_id=request.request_id,
                dry_run=request.dry_run,
                labels=dict(request.labels),
            )
        )
        return proto_mapping.job_to_proto(job)

    async def GetTagJob(self, request: tagger_service_pb2.GetTagJobRequest, context: Any) -> tagger_pb2.TagJob:
        """Reads a job."""
        TAG_JOB.parse(request.name)
        return proto_mapping.job_to_proto(await self._jobs.get(request.name))

    async def ListTagJobs(
        self, request: tagger_service_pb2.ListTagJobsRequest, context: Any
    ) -> tagger_service_pb2.ListTagJobsResponse:
        """A page of jobs."""
        jobs, token, total = await self._jobs.page(proto_mapping.list_request(request))
        return tagger_service_pb2.ListTagJobsResponse(
            tag_jobs=[proto_mapping.job_to_proto(job, with_changes=False) for job in jobs],
            next_page_token=token,
            total_size=total,
        )

    async def WatchTagJob(
        self, request: tagger_service_pb2.WatchTagJobRequest, context: Any
    ) -> AsyncIterator[tagger_pb2.TagJob]:
        """The job after every change."""
        TAG_JOB.parse(request.name)
        async for job in self._jobs.watch(request.name):
            yield proto_mapping.job_to_proto(job)

    async def CancelTagJob(self, request: tagger_service_pb2.CancelTagJobRequest, context: Any) -> tagger_pb2.TagJob:
        """Stops a job."""
        TAG_JOB.parse(request.name)
        return proto_mapping.job_to_proto(await self._jobs.cancel(request.name))

    async def RetryTagJob(self, request: tagger_service_pb2.RetryTagJobRequest, context: Any) -> tagger_pb2.TagJob:
        """Queues a job again for its failed images."""
        TAG_JOB.parse(request.name)
        return proto_mapping.job_to_proto(await self._jobs.retry(request.name))

    async def DeleteTagJob(self, request: tagger_service_pb2.DeleteTagJobRequest, context: Any) -> Empty:
        """Deletes an ended job."""
        TAG_JOB.parse(request.name)
        await self._jobs.delete(request.name, etag=request.etag)
        return Empty()

    async def SuggestSubject(
        self, request: tagger_service_pb2.SuggestSubjectRequest, context: Any
    ) -> tagger_pb2.SubjectSuggestion:
        """What a dataset's pictures show."""
        DATASET.parse(request.dataset, field="dataset")
        return proto_mapping.suggestion_to_proto(await self._suggest_subject(request.dataset, request.filter))

    async def SuggestCrops(
        self, request: tagger_service_pb2.SuggestCropsRequest, context: Any
    ) -> AsyncIterator[tagger_pb2.CropSuggestion]:
        """What to keep of each picture."""
        DATASET.parse(request.dataset, field="dataset")
        shapes = [(shape.width, shape.height) for shape in request.shapes]
        async for found in self._suggest_crops(request.dataset, request.filter, request.images, shapes):
            yield proto_mapping.crop_to_proto(found)

    async def CropImages(
        self, request: tagger_service_pb2.CropImagesRequest, context: Any
    ) -> tagger_service_pb2.CropImagesResponse:
        """Sets what is suggested."""
        DATASET.parse(request.dataset, field="dataset")
        shapes = [(shape.width, shape.height) for shape in request.shapes]
        done = await self._suggest_crops.apply(request.dataset, request.images, shapes)
        return tagger_service_pb2.CropImagesResponse(crops=map(proto_mapping.crop_to_proto, done))

    async def SuggestMasks(
        self, request: tagger_service_pb2.SuggestMasksRequest, context: Any
    ) -> AsyncIterator[tagger_pb2.MaskSuggestion]:
        """A mask of each picture's subject."""
        DATASET.parse(request.dataset, field="dataset")
        async for found in self._suggest_masks(request.dataset, request.filter, request.images):
            yield proto_mapping.mask_to_proto(found)

    async def TagImage(
        self, request: tagger_service_pb2.TagImageRequest, context: Any
    ) -> tagger_service_pb2.TagImageResponse:
        """Tags a lone picture."""
        PROJECT.parse(request.parent, field="parent")
        options = proto_mapping.options_from_proto(request.options)
        tagged = await self._tag_picture(request.content, options, project=project_of(request.parent))
        return tagger_service_pb2.TagImageResponse(
            tags=[proto_mapping.prediction_to_proto(score) for score in tagged.scores], note=tagged.note,
            caption=tagged.caption,
        )
