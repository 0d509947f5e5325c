"""Tags with their origin, captions, the images that have them, and what a caller may ask for. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

DEFAULT_MAX_TAGS = 30
MAX_TAGS_PER_IMAGE = 200
"""What the dataset service keeps for one image; a longer list is refused there."""
MAX_CAPTION = 2000
"""Characters of a caption that the dataset service keeps."""


class TagSource(StrEnum):
    """Where a tag comes from."""

    MANUAL = "manual"
    AUTO = "auto"
    MEASURED = "measured"


@dataclass(frozen=True)
class Tag:
    """One label of a stored image; score, tagger, model_sha256 and category are empty for a manual tag."""

    label: str
    source: TagSource = TagSource.MANUAL
    score: float = 0.0
    tagger: str = ""
    model_sha256: str = ""
    category: str = ""


@dataclass(frozen=True)
class CaptionOrigin:
    """Who wrote a caption: the captioner's id, and its model as the server of the model names it."""

    captioner: str
    model: str


@dataclass(frozen=True)
class Features:
    """What a network saw at 5 × 5 places: 800 signed bytes, 32 a place; none where it knows nothing of such a picture.

    model_sha256: hex; what two models saw does not compare.
    """

    model_sha256: str
    places: bytes


@dataclass(frozen=True)
class Seen:
    """What was seen in a picture besides its tags; None where nobody looked. text_areas: as of ImageRecord."""

    text_areas: tuple[tuple[float, float, float, float], ...] | None = None
    features: Features | None = None


@dataclass(frozen=True)
class ImageRecord:
    """An image of a dataset as it was read; `etag` guards the change that follows.

    width, height: pixels, upright. content_area: left, top, right, bottom of the picture inside its bars, as shares.
    caption_origin: None for a person's caption, or none. crop: the part that is trained, as shares; None is all of it.
    text_areas: where something is written, as shares. features_model: of its features; "" where nobody looked.
    """

    name: str
    tags: tuple[Tag, ...]
    etag: str
    width: int = 0
    height: int = 0
    content_area: tuple[float, float, float, float] | None = None
    caption: str = ""
    caption_origin: CaptionOrigin | None = None
    crop: tuple[float, float, float, float] | None = None
    text_areas: tuple[tuple[float, float, float, float], ...] = ()
    features_model: str = ""


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset as it was read."""

    name: str
    trigger_word: str
    image_count: int
    subject: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """Trigger word and subject, those that it has."""
        return tuple(word for word in (self.trigger_word, self.subject) if word)


class TagMode(StrEnum):
    """What to do where an image has tags already."""

    SKIP = "skip"
    APPEND = "append"
    OVERWRITE_AUTO = "overwrite_auto"


class Purpose(StrEnum):
    """What pictures are to teach."""

    THING = "thing"
    PERSON = "person"
    STYLE = "style"


@dataclass(frozen=True)
class CaptionOptions:
    """What a captioner is asked for. class_noun: what the subject is, "" for what the dataset says. avoid: words that
    no caption may hold. token_limit: of the base model, 0 where it is not known.
    """

    purpose: Purpose = Purpose.THING
    class_noun: str = ""
    avoid: tuple[str, ...] = ()
    token_limit: int = 0


@dataclass(frozen=True)
class TagOptions:
    """How raw scores become tags. threshold: of the categories that take it; None means each category's own.

    category_thresholds win over threshold. replace: pairs of old and new label. captioner: writes captions instead of
    tags; it and caption stay out of the repr, of which digests of requests are made that were stored before there were
    captioners. See tagger.proto for the rest.
    """

    tagger: str = ""
    threshold: float | None = None
    max_tags: int = DEFAULT_MAX_TAGS
    exclude: tuple[str, ...] = ()
    prepend_trigger_word: bool = False
    mode: TagMode = TagMode.APPEND
    prepend: tuple[str, ...] = ()
    category_thresholds: tuple[tuple[str, float], ...] = ()
    adaptive_threshold: bool = False
    replace: tuple[tuple[str, str], ...] = ()
    keep_overlapping: bool = False
    captioner: str = field(default="", repr=False)
    caption: CaptionOptions = field(default=CaptionOptions(), repr=False)
