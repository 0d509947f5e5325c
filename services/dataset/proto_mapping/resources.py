"""Datasets, images, tags and versions of fiveshot.dataset.v1 to models and back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.usage.v1 import usage_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.budgets import BudgetUse
from services.chassis.listing.pages import ListRequest
from services.dataset.models.edits import Edit
from services.dataset.models.names import EditRef, ImageRef, parse_project
from services.dataset.models.resources import (
    CaptionOrigin,
    Crop,
    Dataset,
    DatasetFields,
    DatasetVersion,
    Image,
    ImageFields,
    Mask,
    MaskSource,
    PictureFeatures,
    TextFrom,
    VersionImage,
)
from services.dataset.models.tags import (
    AddTag,
    DeduplicateTags,
    PrependTag,
    RemoveTag,
    ReplaceTag,
    Tag,
    TagEdit,
    TagSource,
    TagStat,
)
from services.dataset.models.texts import training_text
from services.dataset.use_cases.datasets import NewDataset
from services.dataset.use_cases.image_batches import ImageEdit

_SOURCES = {
    dataset_pb2.TAG_SOURCE_UNSPECIFIED: TagSource.MANUAL,
    dataset_pb2.TAG_SOURCE_MANUAL: TagSource.MANUAL,
    dataset_pb2.TAG_SOURCE_AUTO: TagSource.AUTO,
    dataset_pb2.TAG_SOURCE_MEASURED: TagSource.MEASURED,
}
_PROTO_SOURCES = {
    TagSource.MANUAL: dataset_pb2.TAG_SOURCE_MANUAL,
    TagSource.AUTO: dataset_pb2.TAG_SOURCE_AUTO,
    TagSource.MEASURED: dataset_pb2.TAG_SOURCE_MEASURED,
}
_TEXTS = {
    dataset_pb2.TEXT_FROM_UNSPECIFIED: TextFrom.CAPTION_OR_TAGS,
    dataset_pb2.TEXT_FROM_CAPTION_OR_TAGS: TextFrom.CAPTION_OR_TAGS,
    dataset_pb2.TEXT_FROM_CAPTION: TextFrom.CAPTION,
    dataset_pb2.TEXT_FROM_CAPTION_AND_TAGS: TextFrom.CAPTION_AND_TAGS,
    dataset_pb2.TEXT_FROM_TAGS: TextFrom.TAGS,
}
_PROTO_TEXTS = {text: value for value, text in _TEXTS.items()}

_Lists = (
    dataset_service_pb2.ListDatasetsRequest
    | dataset_service_pb2.ListImagesRequest
    | dataset_service_pb2.ListDatasetVersionsRequest
    | dataset_service_pb2.ListDatasetVersionImagesRequest
)


def new_dataset(request: dataset_service_pb2.CreateDatasetRequest) -> NewDataset:
    """What CreateDataset asks for."""
    return NewDataset(
        project=parse_project(request.parent),
        dataset_id=request.dataset_id,
        fields=dataset_fields(request.dataset),
        request_id=request.request_id,
        validate_only=request.validate_only,
    )


def list_request(request: _Lists) -> ListRequest:
    """A list call; the filter is empty where the method has none."""
    return ListRequest(
        parent=request.parent,
        page_size=request.page_size,
        page_token=request.page_token,
        filter=getattr(request, "filter", ""),
        order_by=request.order_by,
    )


def dataset_fields(dataset: dataset_pb2.Dataset) -> DatasetFields:
    """The fields that a caller may set."""
    return DatasetFields(
        display_name=dataset.display_name,
        description=dataset.description,
        trigger_word=dataset.trigger_word,
        subject=dataset.subject,
        num_repeats=dataset.num_repeats,
        labels=dict(dataset.labels),
        text_from=_TEXTS[dataset.text_from],
    )


def image_fields(image: dataset_pb2.Image) -> ImageFields:
    """The fields that a caller may set."""
    return ImageFields(
        caption=image.caption,
        tags=tuple(_tag(tag) for tag in image.tags),
        crop=crop(image.crop),
        num_repeats=image.num_repeats,
        caption_origin=_origin(image.caption_origin) if image.HasField("caption_origin") else None,
        text_areas=tuple(filter(None, map(crop, image.text_areas))),
        labels=dict(image.labels),
        features=_features(image.features) if image.HasField("features") else None,
    )


def image_edit(request: dataset_service_pb2.UpdateImageRequest) -> ImageEdit:
    """One change of a batch."""
    image = request.image
    return ImageEdit(image.name, image_fields(image), tuple(request.update_mask.paths), image.etag)


def tag_edit(edit: dataset_service_pb2.TagEdit) -> TagEdit:
    """One edit; exactly one of its fields is set."""
    match edit.WhichOneof("edit"):
        case "add":
            return AddTag(edit.add)
        case "prepend":
            return PrependTag(edit.prepend)
        case "remove":
            return RemoveTag(edit.remove)
        case "replace":
            return ReplaceTag(edit.replace.old_label, edit.replace.new_label)
        case _:
            return DeduplicateTags()


def dataset_proto(dataset: Dataset) -> dataset_pb2.Dataset:
    """A dataset as a message."""
    return dataset_pb2.Dataset(
        name=dataset.ref.name,
        display_name=dataset.fields.display_name,
        description=dataset.fields.description,
        trigger_word=dataset.fields.trigger_word,
        subject=dataset.fields.subject,
        num_repeats=dataset.fields.num_repeats,
        image_count=dataset.image_count,
        size_bytes=dataset.size_bytes,
        create_time=timestamp(dataset.create_time),
        update_time=timestamp(dataset.update_time),
        etag=dataset.etag,
        labels=dict(dataset.fields.labels),
        text_from=_PROTO_TEXTS[dataset.fields.text_from],
    )


def usage_proto(name: str, uses: Iterable[BudgetUse]) -> usage_pb2.Usage:
    """The use of each budget as a message; nothing here is added up over a window."""
    return usage_pb2.Usage(
        name=name,
        budgets=[
            usage_pb2.BudgetUse(budget=use.budget.name, unit=use.budget.unit, used=use.used, limit=use.limit)
            for use in uses
        ],
    )


def image_proto(image: Image, dataset: DatasetFields, *, with_features: bool = False) -> dataset_pb2.Image:
    """An image as a message. dataset: the fields of its dataset, which its text depends on."""
    picture, fields = image.picture, image.fields
    return dataset_pb2.Image(
        name=image.ref.name,
        file_name=picture.file_name,
        content_type=picture.content_type,
        width=picture.width,
        height=picture.height,
        size_bytes=picture.size_bytes,
        sha256=picture.sha256,
        caption=fields.caption,
        tags=[_tag_proto(tag) for tag in fields.tags],
        crop=_crop_proto(fields.crop),
        num_repeats=fields.num_repeats,
        create_time=timestamp(image.create_time),
        update_time=timestamp(image.update_time),
        etag=image.etag,
        training_text=training_text(fields, dataset),
        facts=image.facts,
        content_area=_crop_proto(image.content_area),
        previous_crop=_crop_proto(image.previous_crop),
        perceptual_hash=image.perceptual_hash,
        caption_origin=_origin_proto(fields.caption_origin),
        mask=_mask_proto(image.mask),
        text_areas=map(_part_proto, fields.text_areas),
        labels=dict(fields.labels),
        features=_features_proto(fields.features, whole=with_features),
    )


def version_proto(version: DatasetVersion) -> dataset_pb2.DatasetVersion:
    """A version as a message."""
    return dataset_pb2.DatasetVersion(
        name=version.ref.name,
        digest=version.digest,
        image_count=version.image_count,
        size_bytes=version.size_bytes,
        trigger_word=version.trigger_word,
        subject=version.subject,
        description=version.description,
        create_time=timestamp(version.create_time),
        etag=version.etag,
        text_from=_PROTO_TEXTS[version.text_from],
        labels=dict(version.labels),
    )


def version_image_proto(image: VersionImage, *, with_features: bool = False) -> dataset_pb2.DatasetVersionImage:
    """A pinned image as a message."""
    picture, fields = image.picture, image.fields
    return dataset_pb2.DatasetVersionImage(
        name=image.ref.name,
        file_name=picture.file_name,
        content_type=picture.content_type,
        width=picture.width,
        height=picture.height,
        size_bytes=picture.size_bytes,
        sha256=picture.sha256,
        caption=fields.caption,
        tags=[_tag_proto(tag) for tag in fields.tags],
        crop=_crop_proto(fields.crop),
        num_repeats=fields.num_repeats,
        facts=image.facts,
        content_area=_crop_proto(image.content_area),
        perceptual_hash=image.perceptual_hash,
        caption_origin=_origin_proto(fields.caption_origin),
        mask=_mask_proto(image.mask),
        text_areas=map(_part_proto, fields.text_areas),
        features=_features_proto(fields.features, whole=with_features),
    )


def edit_proto(edit: Edit) -> dataset_pb2.Edit:
    """An edit as a message."""
    dataset = edit.ref.dataset
    return dataset_pb2.Edit(
        name=edit.ref.name,
        method=edit.method,
        fields=edit.fields,
        changed_images=edit.changed_images,
        editor=edit.editor,
        create_time=timestamp(edit.create_time),
        undoes=EditRef(dataset, edit.undoes).name if edit.undoes else "",
        undone_by=EditRef(dataset, edit.undone_by).name if edit.undone_by else "",
        images=[ImageRef(dataset, image).name for image in edit.images],
    )


def stat_proto(stat: TagStat) -> dataset_service_pb2.TagStat:
    """A label's counts as a message."""
    return dataset_service_pb2.TagStat(label=stat.label, image_count=stat.image_count, manual_count=stat.manual_count)


def timestamp(moment: datetime) -> Timestamp:
    """A moment as a message."""
    message = Timestamp()
    message.FromDatetime(moment.astimezone(UTC))
    return message


def _tag(tag: dataset_pb2.Tag) -> Tag:
    return Tag(
        label=tag.label,
        source=_SOURCES[tag.source],
        score=tag.score,
        tagger=tag.tagger,
        model_sha256=tag.model_sha256,
        category=tag.category,
    )


def _tag_proto(tag: Tag) -> dataset_pb2.Tag:
    return dataset_pb2.Tag(
        label=tag.label,
        source=_PROTO_SOURCES[tag.source],
        score=tag.score,
        tagger=tag.tagger,
        model_sha256=tag.model_sha256,
        category=tag.category,
    )


def _origin(origin: dataset_pb2.CaptionOrigin) -> CaptionOrigin:
    return CaptionOrigin(origin.captioner, origin.model)


def _origin_proto(origin: CaptionOrigin | None) -> dataset_pb2.CaptionOrigin | None:
    return dataset_pb2.CaptionOrigin(captioner=origin.captioner, model=origin.model) if origin else None


def crop(crop: dataset_pb2.Crop) -> Crop | None:
    """All zero, as an unset message reads, means the whole picture."""
    edges = (crop.left, crop.top, crop.right, crop.bottom)
    return Crop(*edges) if any(edges) else None


def _crop_proto(crop: Crop | None) -> dataset_pb2.Crop | None:
    return _part_proto(crop) if crop else None


def _part_proto(part: Crop) -> dataset_pb2.Crop:
    return dataset_pb2.Crop(left=part.left, top=part.top, right=part.right, bottom=part.bottom)


def _mask_proto(mask: Mask | None) -> dataset_pb2.Mask | None:
    if mask is None:
        return None
    suggested = mask.source is MaskSource.SUGGESTED
    return dataset_pb2.Mask(
        width=mask.width,
        height=mask.height,
        size_bytes=mask.size_bytes,
        sha256=mask.sha256,
        source=dataset_pb2.MASK_SOURCE_SUGGESTED if suggested else dataset_pb2.MASK_SOURCE_UPLOADED,
        tagger=mask.tagger,
        covered_share=mask.covered_share,
        create_time=timestamp(mask.create_time),
    )


def _features(features: dataset_pb2.PictureFeatures) -> PictureFeatures:
    return PictureFeatures(features.model_sha256, features.places)


def _features_proto(features: PictureFeatures | None, *, whole: bool) -> dataset_pb2.PictureFeatures | None:
    if features is None:
        return None
    return dataset_pb2.PictureFeatures(model_sha256=features.model_sha256, places=features.places if whole else b"")
