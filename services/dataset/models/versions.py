"""What is frozen when a version is made: the text of every image as training reads it, and the digest over it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from services.dataset.models.names import VersionImageRef, VersionRef
from services.dataset.models.resources import Dataset, DatasetVersion, Image, ImageFields, VersionImage
from services.dataset.models.texts import training_text, with_trigger


def effective_repeats(fields: ImageFields, dataset: Dataset) -> int:
    """How often an image enters one epoch: its own value, or else the dataset's, or else 1."""
    return fields.num_repeats or dataset.fields.num_repeats or 1


def contents_digest(images: Sequence[VersionImage]) -> str:
    """SHA-256, hex, over canonical JSON of each image's digest, caption, crop and repeats, in order, and of its mask
    where it has one.

    Canonical: keys sorted, no spaces, UTF-8, numbers in their shortest form that reads back the same.
    """
    contents = [
        {
            "caption": image.fields.caption,
            "crop": _crop_numbers(image.fields),
            "num_repeats": image.fields.num_repeats,
            "sha256": image.picture.sha256,
            **({"mask": image.mask.sha256} if image.mask else {}),
        }
        for image in images
    ]
    text = json.dumps(contents, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def frozen(
    dataset: Dataset,
    images: Sequence[Image],
    *,
    description: str,
    now: datetime,
    labels: Mapping[str, str] | None = None,
) -> tuple[DatasetVersion, list[VersionImage]]:
    """The dataset's next version with its images in upload order."""
    ref = VersionRef(dataset.ref, dataset.last_version + 1)
    pinned = [
        VersionImage(
            ref=VersionImageRef(ref, image.ref.image),
            position=position,
            picture=image.picture,
            fields=replace(
                image.fields,
                caption=training_text(image.fields, dataset.fields),
                num_repeats=effective_repeats(image.fields, dataset),
            ),
            facts=image.facts,
            content_area=image.content_area,
            perceptual_hash=image.perceptual_hash,
            mask=image.mask,
        )
        for position, image in enumerate(images, start=1)
    ]
    version = DatasetVersion(
        ref=ref,
        digest=contents_digest(pinned),
        image_count=len(pinned),
        size_bytes=sum(image.picture.size_bytes for image in pinned),
        trigger_word=dataset.fields.trigger_word,
        subject=dataset.fields.subject,
        description=description,
        create_time=now,
        text_from=dataset.fields.text_from,
        labels=labels or {},
    )
    return version, pinned


def as_trained(version: DatasetVersion, image: VersionImage) -> VersionImage:
    """A stored image of a version with its final text.

    Rows that were written before the trigger word was frozen with the text get it by the same rule; others stay equal.
    """
    return replace(
        image, fields=replace(image.fields, caption=with_trigger(image.fields.caption, version.trigger_word))
    )


def _crop_numbers(fields: ImageFields) -> list[float] | None:
    crop = fields.crop
    # Adding 0.0 makes the two zeros of floating point one.
    return None if crop is None else [crop.left + 0.0, crop.top + 0.0, crop.right + 0.0, crop.bottom + 0.0]
