"""Between the protos and the models, and nothing else."""

from __future__ import annotations

from datetime import datetime

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis import grpc_errors
from services.chassis.listing.pages import ListRequest
from services.tagger.models.jobs import ImageState, JobState, TagJob
from services.tagger.models.pictures import Kind, Score, TaggerInfo
from services.tagger.models.tags import (
    DEFAULT_MAX_TAGS,
    CaptionOptions,
    CaptionOrigin,
    ImageRecord,
    Purpose,
    Tag,
    TagMode,
    TagOptions,
    TagSource,
)
from services.tagger.use_cases.cropping import Box
from services.tagger.use_cases.crops import CropSuggestion
from services.tagger.use_cases.masks import MaskSuggestion
from services.tagger.use_cases.subject import Suggestion
from services.tagger.use_cases.taggers import job_note

_MODES = {
    tagger_pb2.TAG_MODE_UNSPECIFIED: TagMode.APPEND,
    tagger_pb2.TAG_MODE_SKIP: TagMode.SKIP,
    tagger_pb2.TAG_MODE_APPEND: TagMode.APPEND,
    tagger_pb2.TAG_MODE_OVERWRITE_AUTO: TagMode.OVERWRITE_AUTO,
}
_MODES_TO_PROTO = {
    TagMode.SKIP: tagger_pb2.TAG_MODE_SKIP,
    TagMode.APPEND: tagger_pb2.TAG_MODE_APPEND,
    TagMode.OVERWRITE_AUTO: tagger_pb2.TAG_MODE_OVERWRITE_AUTO,
}
_STATES = {
    JobState.QUEUED: tagger_pb2.TagJob.STATE_QUEUED,
    JobState.RUNNING: tagger_pb2.TagJob.STATE_RUNNING,
    JobState.SUCCEEDED: tagger_pb2.TagJob.STATE_SUCCEEDED,
    JobState.FAILED: tagger_pb2.TagJob.STATE_FAILED,
    JobState.CANCELLED: tagger_pb2.TagJob.STATE_CANCELLED,
}
_PURPOSES = {
    tagger_pb2.CaptionOptions.PURPOSE_UNSPECIFIED: Purpose.THING,
    tagger_pb2.CaptionOptions.PURPOSE_THING: Purpose.THING,
    tagger_pb2.CaptionOptions.PURPOSE_PERSON: Purpose.PERSON,
    tagger_pb2.CaptionOptions.PURPOSE_STYLE: Purpose.STYLE,
}
_PURPOSES_TO_PROTO = {purpose: value for value, purpose in _PURPOSES.items()}
_KINDS_TO_PROTO = {Kind.TAGS: tagger_pb2.Tagger.KIND_TAGS, Kind.CAPTIONS: tagger_pb2.Tagger.KIND_CAPTIONS}
_SOURCES = {
    dataset_pb2.TAG_SOURCE_UNSPECIFIED: TagSource.MANUAL,
    dataset_pb2.TAG_SOURCE_MANUAL: TagSource.MANUAL,
    dataset_pb2.TAG_SOURCE_AUTO: TagSource.AUTO,
    dataset_pb2.TAG_SOURCE_MEASURED: TagSource.MEASURED,
}
_SOURCES_TO_PROTO = {
    TagSource.MANUAL: dataset_pb2.TAG_SOURCE_MANUAL,
    TagSource.AUTO: dataset_pb2.TAG_SOURCE_AUTO,
    TagSource.MEASURED: dataset_pb2.TAG_SOURCE_MEASURED,
}


def list_request(request: tagger_service_pb2.ListTagJobsRequest) -> ListRequest:
    """A list call."""
    return ListRequest(request.parent, request.page_size, request.page_token, request.filter, request.order_by)


def options_from_proto(options: tagger_pb2.TagOptions) -> TagOptions:
    """Options with their defaults filled in."""
    return TagOptions(
        tagger=options.tagger,
        # A float of the wire is a little off what was typed; four digits are more than a threshold needs.
        threshold=round(options.threshold, 4) if options.HasField("threshold") else None,
        max_tags=options.max_tags or DEFAULT_MAX_TAGS,
        exclude=tuple(options.exclude),
        prepend_trigger_word=options.prepend_trigger_word,
        mode=_MODES[options.mode],
        prepend=tuple(options.prepend),
        category_thresholds=tuple(sorted((name, round(v, 4)) for name, v in options.category_thresholds.items())),
        adaptive_threshold=options.adaptive_threshold,
        replace=tuple((rule.old_label, rule.new_label) for rule in options.replace),
        keep_overlapping=options.keep_overlapping,
        captioner=options.captioner,
        caption=CaptionOptions(
            purpose=_PURPOSES[options.caption.purpose],
            class_noun=options.caption.class_noun.strip(),
            avoid=tuple(options.caption.avoid),
            token_limit=options.caption.token_limit,
        ),
    )


def options_to_proto(options: TagOptions) -> tagger_pb2.TagOptions:
    """Options as a job shows them: what was used, defaults included."""
    return tagger_pb2.TagOptions(
        tagger=options.tagger,
        threshold=options.threshold,
        max_tags=options.max_tags,
        exclude=options.exclude,
        prepend_trigger_word=options.prepend_trigger_word,
        mode=_MODES_TO_PROTO[options.mode],
        prepend=options.prepend,
        category_thresholds=dict(options.category_thresholds),
        adaptive_threshold=options.adaptive_threshold,
        replace=[tagger_pb2.LabelReplacement(old_label=old, new_label=new) for old, new in options.replace],
        keep_overlapping=options.keep_overlapping,
        captioner=options.captioner,
        caption=_caption_to_proto(options.caption) if options.captioner else None,
    )


def _caption_to_proto(caption: CaptionOptions) -> tagger_pb2.CaptionOptions:
    return tagger_pb2.CaptionOptions(
        purpose=_PURPOSES_TO_PROTO[caption.purpose],
        class_noun=caption.class_noun,
        avoid=caption.avoid,
        token_limit=caption.token_limit,
    )


def job_to_proto(job: TagJob, *, with_changes: bool = True) -> tagger_pb2.TagJob:
    """A job. with_changes: show what a dry run would change; lists leave it out."""
    changes = [outcome for outcome in job.outcomes if outcome.state == ImageState.TAGGED]
    return tagger_pb2.TagJob(
        name=job.name,
        dataset=job.dataset,
        options=options_to_proto(job.options),
        state=_STATES[job.state],
        total_images=len(job.outcomes),
        tagged_images=job.count(ImageState.TAGGED),
        skipped_images=job.count(ImageState.SKIPPED),
        failed_images=job.count(ImageState.FAILED),
        failures=[
            tagger_pb2.ImageFailure(image=outcome.image, message=outcome.message)
            for outcome in job.outcomes
            if outcome.state == ImageState.FAILED
        ],
        error=job.error,
        create_time=timestamp(job.created_at),
        end_time=timestamp(job.ended_at) if job.ended_at else None,
        dry_run=job.dry_run,
        etag=job.etag,
        note=job_note(job),
        labels=dict(job.labels),
        changes=[
            tagger_pb2.ImageChange(
                image=outcome.image, added=outcome.added, removed=outcome.removed, caption=outcome.caption
            )
            for outcome in (changes if job.dry_run and with_changes else ())
        ],
        captioner_calls=job.calls,
        rescored_images=sum(outcome.rescored for outcome in job.outcomes),
    )


def state_to_proto(state: JobState) -> tagger_pb2.TagJob.State.ValueType:
    """Where a job stands."""
    return _STATES[state]


def tagger_to_proto(info: TaggerInfo, *, is_default: bool) -> tagger_pb2.Tagger:
    """A tagger as it is listed."""
    return tagger_pb2.Tagger(
        name=info.name,
        display_name=info.display_name,
        description=info.description,
        domain=info.domain,
        vocabulary=info.vocabulary,
        categories=[
            tagger_pb2.TaggerCategory(
                category=category.name,
                default_threshold=category.threshold,
                takes_threshold=category.takes_threshold,
            )
            for category in info.categories
        ],
        model_sha256=info.model_sha256,
        device=info.device,
        is_default=is_default,
        kind=_KINDS_TO_PROTO[info.kind],
        model=info.model,
        fault=info.fault,
    )


def prediction_to_proto(score: Score) -> tagger_pb2.TagPrediction:
    """A label of a lone picture."""
    return tagger_pb2.TagPrediction(
        label=score.label, category=score.category, score=score.score, measured=score.measured
    )


def suggestion_to_proto(suggestion: Suggestion) -> tagger_pb2.SubjectSuggestion:
    """What a dataset's pictures show."""
    return tagger_pb2.SubjectSuggestion(
        subject=suggestion.subject,
        kind=suggestion.kind,
        score=suggestion.score,
        agreeing_images=suggestion.agreeing,
        seen_images=suggestion.pictures,
        question=suggestion.question,
        candidates=[tagger_pb2.SubjectCandidate(subject=each.noun, score=each.score) for each in suggestion.candidates],
    )


def crop_to_proto(found: CropSuggestion) -> tagger_pb2.CropSuggestion:
    """What to keep of an image."""
    return tagger_pb2.CropSuggestion(
        image=found.image.name,
        crop=box_to_proto(found.crop) if found.crop else None,
        width=found.width,
        height=found.height,
        shape=tagger_pb2.CropShape(width=found.shape[0], height=found.shape[1]) if found.shape else None,
        subject=box_to_proto(found.subject) if found.subject else None,
        cuts_bars=found.error is None and found.image.content_area is not None,
        etag=found.image.etag,
        error=grpc_errors.to_proto(found.error) if found.error else None,
    )


def mask_to_proto(found: MaskSuggestion) -> tagger_pb2.MaskSuggestion:
    """The mask of an image."""
    return tagger_pb2.MaskSuggestion(
        image=found.image.name,
        png=found.png,
        covered_share=found.covered_share,
        tagger=found.tagger,
        etag=found.image.etag,
        error=grpc_errors.to_proto(found.error) if found.error else None,
    )


def tag_from_proto(tag: dataset_pb2.Tag) -> Tag:
    """A tag as the dataset service keeps it, its score rounded as `tag_to_proto` sent it."""
    return Tag(
        label=tag.label,
        source=_SOURCES[tag.source],
        score=round(tag.score, 4),
        tagger=tag.tagger,
        model_sha256=tag.model_sha256,
        category=tag.category,
    )


def tag_to_proto(tag: Tag) -> dataset_pb2.Tag:
    """The inverse of `tag_from_proto`."""
    return dataset_pb2.Tag(
        label=tag.label,
        source=_SOURCES_TO_PROTO[tag.source],
        score=tag.score,
        tagger=tag.tagger,
        model_sha256=tag.model_sha256,
        category=tag.category,
    )


def image_from_proto(image: dataset_pb2.Image) -> ImageRecord:
    """What the tagger needs of an image."""
    area, origin = image.content_area, image.caption_origin
    return ImageRecord(
        image.name,
        tuple(tag_from_proto(tag) for tag in image.tags),
        image.etag,
        image.width,
        image.height,
        _box_from_proto(area) if image.HasField("content_area") else None,
        image.caption,
        CaptionOrigin(origin.captioner, origin.model) if image.HasField("caption_origin") else None,
        _box_from_proto(image.crop) if image.crop.right > image.crop.left else None,
        tuple(map(_box_from_proto, image.text_areas)),
        image.features.model_sha256,
    )


def _box_from_proto(crop: dataset_pb2.Crop) -> Box:
    return crop.left, crop.top, crop.right, crop.bottom


def box_to_proto(box: Box) -> dataset_pb2.Crop:
    """A part of a picture."""
    return dataset_pb2.Crop(left=box[0], top=box[1], right=box[2], bottom=box[3])


def timestamp(moment: datetime) -> Timestamp:
    """A moment as a message."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
