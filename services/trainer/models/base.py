"""Base models as callers see them, training sets as the trainer needs them, and estimates."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.trainer.recipe.advice import Fit
from services.trainer.recipe.buckets import Crop
from services.trainer.recipe.calibration import Range, TimeEstimate
from services.trainer.recipe.captions import CaptionLengths
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.parameters import TrainingParameters
from services.trainer.recipe.plan import PictureSize


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A base model on offer. available: a worker that was heard of lately can load it."""

    model: BaseModel
    available: bool

    @property
    def name(self) -> str:
        """Resource name."""
        return self.model.name


class TextSource(StrEnum):
    """Where the text of a picture comes from. NONE: the trigger word alone, or nothing."""

    UNKNOWN = "unspecified"
    CAPTION = "caption"
    TAGS = "tags"
    CAPTION_AND_TAGS = "caption_and_tags"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class PictureFeatures:
    """What a network saw at 5 × 5 places of a picture: 800 signed bytes. model_sha256: hex; no other's compare."""

    model_sha256: str
    places: bytes


@dataclass(frozen=True, slots=True)
class TrainingImage:
    """One picture of a training set. size: with its crop and the set's own repeats. caption: final text to train on.

    name: of the image, or of the version's. text_source: where the text comes from. tags_unused, caption_unused: it has
    some that are not trained. caption_counts: a caption of its own would be all of its text. tags_count: tags may be
    part of it. facts, content_area, perceptual_hash: as the dataset service measured them; old versions have none.
    text_areas, features: as far as a tagger has looked. stored_tags: each of `tags` of a live set as the dataset
    service wrote it, to be sent back as it is.
    """

    size: PictureSize
    caption: str
    name: str = ""
    file_name: str = ""
    text_source: TextSource = TextSource.UNKNOWN
    tags_unused: bool = False
    tags: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    content_area: Crop | None = None
    perceptual_hash: str = ""
    caption_unused: bool = False
    caption_counts: bool = True
    tags_count: bool = True
    text_areas: tuple[Crop, ...] = ()
    features: PictureFeatures | None = None
    stored_tags: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a job trains on. version: name of the frozen version, "" when the set was only looked at."""

    version: str
    digest: str
    trigger_word: str
    images: tuple[TrainingImage, ...]
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a job would do.

    Attributes:
        time: None when the workers' speed is not known. start, training, epoch_ends: its parts, where they are known.
        memory: peak bytes on the device.
        device: that the time is for; "" for several or none. device_memory_bytes: of the largest; 0 when not known.
        fit_remedy: what to change when it may not fit.
        captions: whether the model takes them whole.
        file_notes: a sentence for each tool that would not apply the files as they were trained.
    """

    steps_per_epoch: int
    total_steps: int
    parameters: TrainingParameters
    image_count: int
    time: Range | None
    basis: str
    measured_runs: int
    parts: TimeEstimate | None
    memory: Range
    memory_basis: str
    device: str
    device_memory_bytes: int
    fit: Fit
    fit_remedy: str
    captions: CaptionLengths
    file_notes: tuple[str, ...] = ()
