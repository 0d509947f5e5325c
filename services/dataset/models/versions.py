"""What is frozen when a version is made: the text of every image as training reads it, and the digest over it all."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from services.dataset.models.names import VersionImageRef, VersionRef
from services.dataset.models.resources import Dataset, DatasetVersion, Image, ImageFields, VersionImage


def effective_caption(fields: ImageFields, trigger_word: str) -> str:
    """The text that training reads: the caption, or else the tags joined with ", ", with the trigger word in it.

    The trigger word is put in front unless it already stands there as a word of its own, in any case of letters
    (text encoders read lower case). Without caption, tags and trigger word the text is empty.
    """
    text = fields.caption.strip() or ", ".join(tag.label for tag in fields.tags)
    trigger = trigger_word.strip()
    if not trigger or stands_in(trigger, text):
        return text
    return f"{trigger}, {text}" if text else trigger


def stands_in(word: str, text: str) -> bool:
    """Whether `word` (one or several words) stands in `text` and not as a part of a longer word."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE) is not None


def effective_repeats(fields: ImageFields, dataset: Dataset) -> int:
    """How often an image enters one epoch: its own value, or else the dataset's, or else 1."""
    return fields.num_repeats or dataset.fields.num_repeats or 1


def contents_digest(images: Sequence[VersionImage]) -> str:
    """SHA-256, hex, over canonical JSON of each image's digest, caption, crop and repeats, in order.

    Canonical: keys sorted, no spaces, UTF-8, numbers in their shortest form that reads back the same.
    """
    contents = [
        {
            "caption": image.fields.caption,
            "crop": _crop_numbers(image.fields),
            "num_repeats": image.fields.num_repeats,
            "sha256": image.picture.sha256,
        }
        for image in images
    ]
    text = json.dumps(contents, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def frozen(
    dataset: Dataset, images: Sequence[Image], *, description: str, now: datetime
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
                caption=effective_caption(image.fields, dataset.fields.trigger_word),
                num_repeats=effective_repeats(image.fields, dataset),
            ),
        )
        for position, image in enumerate(images, start=1)
    ]
    version = DatasetVersion(
        ref=ref,
        digest=contents_digest(pinned),
        image_count=len(pinned),
        size_bytes=sum(image.picture.size_bytes for image in pinned),
        trigger_word=dataset.fields.trigger_word,
        description=description,
        create_time=now,
    )
    return version, pinned


def _crop_numbers(fields: ImageFields) -> list[float] | None:
    crop = fields.crop
    # Adding 0.0 makes the two zeros of floating point one.
    return None if crop is None else [crop.left + 0.0, crop.top + 0.0, crop.right + 0.0, crop.bottom + 0.0]
