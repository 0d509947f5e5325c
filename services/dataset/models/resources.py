"""The resources and how they change: frozen dataclasses whose methods give the next state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from services.chassis.names import etag_of
from services.dataset.models.names import DatasetRef, ImageRef, VersionImageRef, VersionRef
from services.dataset.models.tags import Tag


@dataclass(frozen=True)
class Crop:
    """A part of a picture as fractions, 0 to 1, of its upright width and height."""

    left: float
    top: float
    right: float
    bottom: float

    def pixels(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Left, top, right and bottom in a picture of this size (width, height), a pixel or more each way."""
        width, height = size
        left, top = min(round(self.left * width), width - 1), min(round(self.top * height), height - 1)
        return left, top, max(round(self.right * width), left + 1), max(round(self.bottom * height), top + 1)


@dataclass(frozen=True)
class Picture:
    """A stored file: facts read from its bytes, and where the bytes are.

    width, height: pixels, upright. sha256: hex, of the original. The keys belong to this upload alone, so deleting one
    picture can never take away the bytes of another that happens to be equal.
    """

    file_name: str
    content_type: str
    width: int
    height: int
    size_bytes: int
    sha256: str
    original_key: str
    thumbnail_key: str
    thumbnail_bytes: int

    @property
    def keys(self) -> tuple[str, str]:
        """Keys of everything that is stored for it."""
        return self.original_key, self.thumbnail_key

    @property
    def stored_bytes(self) -> int:
        """Bytes of everything that is stored for it."""
        return self.size_bytes + self.thumbnail_bytes


class MaskSource(StrEnum):
    """Who drew a mask."""

    UPLOADED = "uploaded"
    SUGGESTED = "suggested"


@dataclass(frozen=True)
class Mask:
    """A stored mask: a grey PNG over the whole upright picture. sha256: hex, of the file. key: this mask's alone.

    tagger: id of the one that suggested it. covered_share: of the picture, 0 to 1.
    """

    width: int
    height: int
    size_bytes: int
    sha256: str
    key: str
    covered_share: float
    create_time: datetime
    source: MaskSource = MaskSource.UPLOADED
    tagger: str = ""


@dataclass(frozen=True)
class CaptionOrigin:
    """The captioner that wrote a caption, and its model as the server of the model names it."""

    captioner: str
    model: str = ""


@dataclass(frozen=True)
class PictureFeatures:
    """What a network saw at 5 × 5 places: 800 signed bytes, 32 a place; none where it knows nothing of such a picture.

    model_sha256: hex; what two models saw does not compare.
    """

    model_sha256: str
    places: bytes


@dataclass(frozen=True)
class ImageFields:
    """What a caller may change of an image. num_repeats 0: the dataset's value. crop None: the whole picture.

    caption_origin: None for a person's caption. text_areas: where something is written, the largest first. labels: the
    caller's own, never trained. Labels and features stay out of the repr as the labels of datasets do.
    """

    caption: str = ""
    tags: tuple[Tag, ...] = ()
    crop: Crop | None = None
    num_repeats: int = 0
    caption_origin: CaptionOrigin | None = None
    text_areas: tuple[Crop, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    features: PictureFeatures | None = field(default=None, repr=False)


TEXT = "text"
"""The fact of a picture in which something is written."""


@dataclass(frozen=True)
class Image:
    """One photo of a dataset. position: its place in upload order, from 1 and never used twice.

    facts: what its pixels say of its format and quality, never part of a caption. content_area: the picture inside its
    bars, None where it has none. previous_crop: the one before the last change of it. perceptual_hash: 16 hex
    digits, see `use_cases.likeness`; "" where it was never measured. mask: what a masked loss trains of it.
    """

    ref: ImageRef
    position: int
    picture: Picture
    fields: ImageFields
    create_time: datetime
    update_time: datetime
    revision: int = 1
    facts: tuple[str, ...] = ()
    content_area: Crop | None = None
    previous_crop: Crop | None = None
    perceptual_hash: str = ""
    mask: Mask | None = None

    @property
    def etag(self) -> str:
        """Changes with every change of the image."""
        return etag_of(self.ref.name, self.create_time.isoformat(), self.revision)

    def changed(self, fields: ImageFields, now: datetime) -> Image:
        """The image with other fields; itself when they are equal."""
        if fields == self.fields:
            return self
        before = self.previous_crop if fields.crop == self.fields.crop else self.fields.crop
        facts = (*(fact for fact in self.facts if fact != TEXT), *((TEXT,) if fields.text_areas else ()))
        return replace(
            self, fields=fields, update_time=now, revision=self.revision + 1, previous_crop=before, facts=facts
        )

    def masked(self, mask: Mask | None, now: datetime) -> Image:
        """The image with another mask; itself when it is the same."""
        if mask == self.mask:
            return self
        return replace(self, mask=mask, update_time=now, revision=self.revision + 1)


class TextFrom(StrEnum):
    """What the text of a picture is made of, see `models.texts`."""

    CAPTION_OR_TAGS = "caption_or_tags"
    CAPTION = "caption"
    CAPTION_AND_TAGS = "caption_and_tags"
    TAGS = "tags"


@dataclass(frozen=True)
class DatasetFields:
    """What a caller may change of a dataset. num_repeats 0 means 1. labels: the caller's own.

    subject: what the photos show. It, labels and text_from stay out of the repr, of which digests of requests are made
    that were stored before there were any.
    """

    display_name: str = ""
    description: str = ""
    trigger_word: str = ""
    num_repeats: int = 0
    labels: Mapping[str, str] = field(default_factory=dict, repr=False)
    text_from: TextFrom = field(default=TextFrom.CAPTION_OR_TAGS, repr=False)
    subject: str = field(default="", repr=False)


@dataclass(frozen=True)
class Dataset:
    """A set of photos of one subject.

    image_count, size_bytes: of the images now. last_position, last_version: the counters behind image order and version
    numbers; they only grow, so that nothing deleted lends its number to something new.
    """

    ref: DatasetRef
    fields: DatasetFields
    create_time: datetime
    update_time: datetime
    image_count: int = 0
    size_bytes: int = 0
    last_position: int = 0
    last_version: int = 0
    revision: int = 1

    @property
    def etag(self) -> str:
        """Changes with every change of the dataset or of one of its images."""
        return etag_of(self.ref.name, self.create_time.isoformat(), self.revision)

    def changed(self, fields: DatasetFields, now: datetime) -> Dataset:
        """The dataset with other fields; itself when they are equal."""
        if fields == self.fields:
            return self
        return replace(self, fields=fields).touched(now)

    def touched(self, now: datetime) -> Dataset:
        """After a change of one of its images."""
        return replace(self, update_time=now, revision=self.revision + 1)

    def with_image(self, image: Image) -> Dataset:
        """After the upload of an image, which took the next position."""
        return replace(
            self,
            image_count=self.image_count + 1,
            size_bytes=self.size_bytes + image.picture.size_bytes,
            last_position=image.position,
        ).touched(image.create_time)

    def without_image(self, image: Image, now: datetime) -> Dataset:
        """After an image was deleted."""
        return replace(
            self, image_count=self.image_count - 1, size_bytes=self.size_bytes - image.picture.size_bytes
        ).touched(now)

    def with_version(self, number: int) -> Dataset:
        """After a version was frozen; nothing that a caller sees of the dataset changes."""
        return replace(self, last_version=number)


@dataclass(frozen=True)
class VersionImage:
    """One image as a version pinned it. fields.caption: the text to train on; fields.num_repeats: at least 1.

    facts, content_area, perceptual_hash: of the image when it was pinned; nothing in versions of before they were kept.
    """

    ref: VersionImageRef
    position: int
    picture: Picture
    fields: ImageFields
    facts: tuple[str, ...] = ()
    content_area: Crop | None = None
    perceptual_hash: str = ""
    mask: Mask | None = None


@dataclass(frozen=True)
class DatasetVersion:
    """A frozen copy of a dataset, of which only labels change. digest: of what training reads, see `models.versions`.

    text_from: what its texts were made of.
    """

    ref: VersionRef
    digest: str
    image_count: int
    size_bytes: int
    trigger_word: str
    description: str
    create_time: datetime
    text_from: TextFrom = TextFrom.CAPTION_OR_TAGS
    subject: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def etag(self) -> str:
        """Changes with its labels, and differs from that of another version of this name, such as a deleted one's."""
        return etag_of(self.ref.name, self.create_time.isoformat(), *sorted(self.labels.items()))
