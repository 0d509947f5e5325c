"""Rows to models and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from services.dataset.models.edits import FIELDS, Edit, ImageChange, Value
from services.dataset.models.names import DatasetRef, EditRef, ImageRef, VersionImageRef, VersionRef
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
    Picture,
    PictureFeatures,
    TextFrom,
    VersionImage,
)
from services.dataset.models.tags import Tag, TagSource

Values = Mapping[str, Any]

_PICTURE_FIELDS = tuple(Picture.__dataclass_fields__)


def folded(name: str) -> str:
    """What display names are searched and sorted by."""
    return name.casefold()


def dataset_values(dataset: Dataset) -> dict[str, Any]:
    """A dataset as a row."""
    return {
        "project": dataset.ref.project,
        "dataset_id": dataset.ref.dataset,
        "folded_name": folded(dataset.fields.display_name),
        **vars(dataset.fields),
        "image_count": dataset.image_count,
        "size_bytes": dataset.size_bytes,
        "last_position": dataset.last_position,
        "last_version": dataset.last_version,
        "revision": dataset.revision,
        "create_time": dataset.create_time,
        "update_time": dataset.update_time,
    }


def dataset_of(row: Values) -> Dataset:
    """A row as a dataset."""
    values = {name: row[name] for name in DatasetFields.__dataclass_fields__}
    values["text_from"] = TextFrom(row["text_from"])
    return Dataset(
        ref=DatasetRef(row["project"], row["dataset_id"]),
        fields=DatasetFields(**values),
        create_time=row["create_time"],
        update_time=row["update_time"],
        image_count=row["image_count"],
        size_bytes=row["size_bytes"],
        last_position=row["last_position"],
        last_version=row["last_version"],
        revision=row["revision"],
    )


def image_values(image: Image) -> dict[str, Any]:
    """An image as a row."""
    return {
        "project": image.ref.dataset.project,
        "dataset_id": image.ref.dataset.dataset,
        "image_id": image.ref.image,
        "position": image.position,
        **vars(image.picture),
        **_field_values(image.fields),
        **_measured_values(image),
        "previous_crop": _crop_values(image.previous_crop),
        **_mask_columns(image.mask),
        "revision": image.revision,
        "create_time": image.create_time,
        "update_time": image.update_time,
    }


def image_of(row: Values) -> Image:
    """A row as an image."""
    return Image(
        ref=ImageRef(DatasetRef(row["project"], row["dataset_id"]), row["image_id"]),
        position=row["position"],
        picture=_picture_of(row),
        fields=_fields_of(row),
        create_time=row["create_time"],
        update_time=row["update_time"],
        revision=row["revision"],
        previous_crop=_crop_of(row["previous_crop"]),
        **_measured_of(row),
        mask=_mask_of(row["mask"]),
    )


def version_values(version: DatasetVersion) -> dict[str, Any]:
    """A version as a row."""
    return {
        "project": version.ref.dataset.project,
        "dataset_id": version.ref.dataset.dataset,
        "number": version.ref.number,
        "digest": version.digest,
        "image_count": version.image_count,
        "size_bytes": version.size_bytes,
        "trigger_word": version.trigger_word,
        "subject": version.subject,
        "description": version.description,
        "text_from": version.text_from,
        "create_time": version.create_time,
        "labels": dict(version.labels),
    }


def version_of(row: Values) -> DatasetVersion:
    """A row as a version."""
    return DatasetVersion(
        ref=VersionRef(DatasetRef(row["project"], row["dataset_id"]), row["number"]),
        digest=row["digest"],
        image_count=row["image_count"],
        size_bytes=row["size_bytes"],
        trigger_word=row["trigger_word"],
        subject=row["subject"],
        description=row["description"],
        create_time=row["create_time"],
        text_from=TextFrom(row["text_from"]),
        labels=row["labels"],
    )


def version_image_values(image: VersionImage) -> dict[str, Any]:
    """A pinned image as a row."""
    version = image.ref.version
    return {
        "project": version.dataset.project,
        "dataset_id": version.dataset.dataset,
        "number": version.number,
        "image_id": image.ref.image,
        "position": image.position,
        **vars(image.picture),
        **_field_values(image.fields),
        **_measured_values(image),
        **_mask_columns(image.mask),
    }


def version_image_of(row: Values) -> VersionImage:
    """A row as a pinned image."""
    version = VersionRef(DatasetRef(row["project"], row["dataset_id"]), row["number"])
    return VersionImage(
        ref=VersionImageRef(version, row["image_id"]),
        position=row["position"],
        picture=_picture_of(row),
        fields=_fields_of(row),
        **_measured_of(row),
        mask=_mask_of(row["mask"]),
    )


def edit_values(edit: Edit) -> dict[str, Any]:
    """An edit as a row."""
    return {
        "project": edit.ref.dataset.project,
        "dataset_id": edit.ref.dataset.dataset,
        "number": edit.ref.number,
        "method": edit.method,
        "editor": edit.editor[:200],
        "request_id": edit.request_id[:200],
        "fields": list(edit.fields),
        "changed_images": edit.changed_images,
        "create_time": edit.create_time,
        "undoes": edit.undoes,
        "undone_by": edit.undone_by,
    }


def edit_of(row: Values, images: tuple[str, ...]) -> Edit:
    """A row as an edit. images: ids of its images that are still there."""
    names = ("method", "editor", "request_id", "changed_images", "create_time", "undoes", "undone_by")
    ref = EditRef(DatasetRef(row["project"], row["dataset_id"]), row["number"])
    return Edit(ref=ref, fields=tuple(row["fields"]), images=images, **{name: row[name] for name in names})


def change_values(ref: EditRef, change: ImageChange) -> dict[str, Any]:
    """A change of an image as a row."""
    held = change.before.get("mask")
    return {
        "project": ref.dataset.project,
        "dataset_id": ref.dataset.dataset,
        "number": ref.number,
        "image_id": change.image,
        "before": {name: _plain(value) for name, value in change.before.items()},
        "after": {name: _plain(value) for name, value in change.after.items()},
        "mask_key": held.key if isinstance(held, Mask) else None,
        "mask_bytes": held.size_bytes if isinstance(held, Mask) else None,
    }


def change_of(row: Values) -> ImageChange:
    """A row as a change of an image."""
    before, after = (
        {name: _value(name, row[side][name]) for name in FIELDS if name in row[side]} for side in ("before", "after")
    )
    return ImageChange(row["image_id"], before, after)


def _measured_values(image: Image | VersionImage) -> dict[str, Any]:
    return {
        "facts": list(image.facts),
        "content_area": _crop_values(image.content_area),
        "perceptual_hash": image.perceptual_hash,
    }


def _measured_of(row: Values) -> dict[str, Any]:
    return {
        "facts": tuple(row["facts"] or ()),
        "content_area": _crop_of(row["content_area"]),
        "perceptual_hash": row["perceptual_hash"] or "",
    }


def _picture_of(row: Values) -> Picture:
    return Picture(**{name: row[name] for name in _PICTURE_FIELDS})


def _field_values(fields: ImageFields) -> dict[str, Any]:
    return {
        "caption": fields.caption,
        "tags": [_tag_values(tag) for tag in fields.tags],
        "crop": _crop_values(fields.crop),
        "num_repeats": fields.num_repeats,
        "caption_origin": vars(fields.caption_origin) if fields.caption_origin else None,
        "text_areas": [_crop_values(area) for area in fields.text_areas] or None,
        "labels": dict(fields.labels),
        "features": fields.features.places if fields.features else None,
        "features_model": fields.features.model_sha256 if fields.features else None,
    }


def _fields_of(row: Values) -> ImageFields:
    return ImageFields(
        caption=row["caption"],
        tags=_tags_of(row["tags"]),
        crop=_crop_of(row["crop"]),
        num_repeats=row["num_repeats"],
        caption_origin=CaptionOrigin(**row["caption_origin"]) if row["caption_origin"] else None,
        text_areas=tuple(Crop(**area) for area in row["text_areas"] or ()),
        labels=row["labels"],
        features=PictureFeatures(row["features_model"], row["features"] or b"") if row["features_model"] else None,
    )


def _crop_values(crop: Crop | None) -> dict[str, float] | None:
    return vars(crop) if crop else None


def _crop_of(values: Values | None) -> Crop | None:
    return Crop(**values) if values else None


def _tag_values(tag: Tag) -> dict[str, Any]:
    """Only what is said: most tags are a label and a source."""
    values = {"label": tag.label, "source": tag.source.value}
    return values | {name: value for name, value in vars(tag).items() if value and name not in values}


def _tags_of(values: list[Values]) -> tuple[Tag, ...]:
    return tuple(Tag(**{**tag, "source": TagSource(tag["source"])}) for tag in values)


def _mask_columns(mask: Mask | None) -> dict[str, Any]:
    return {
        "mask_key": mask.key if mask else None,
        "mask_bytes": mask.size_bytes if mask else None,
        "mask": _plain(mask),
    }


def _mask_of(values: Values | None) -> Mask | None:
    if not values:
        return None
    moment, source = datetime.fromisoformat(values["create_time"]), MaskSource(values["source"])
    return Mask(**{**values, "create_time": moment, "source": source})


def _plain(value: Value) -> Any:
    """A field's value as JSON takes it."""
    match value:
        case Crop():
            return _crop_values(value)
        case Mask():
            return {**vars(value), "create_time": value.create_time.isoformat(), "source": value.source.value}
        case CaptionOrigin():
            return dict(vars(value))
        case Mapping():
            return dict(value)
        case tuple():
            return [_tag_values(tag) for tag in value]
        case _:
            return value


def _value(name: str, plain: Any) -> Value:
    match name:
        case "crop":
            return _crop_of(plain)
        case "mask":
            return _mask_of(plain)
        case "caption_origin":
            return CaptionOrigin(**plain) if plain else None
        case "tags":
            return _tags_of(plain)
        case _:
            return plain  # type: ignore[no-any-return]
