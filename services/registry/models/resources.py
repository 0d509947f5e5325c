"""What the registry keeps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.chassis.names import etag_of
from services.registry.models.names import MODEL_NAME, version_name


@dataclass(frozen=True, slots=True)
class Model:
    """A repository of one subject's adapters.

    uid: differs when a model of the same id is deleted and made again. revision: counts changes, from 1.
    aliases: version number by alias, `latest` among them once there is a version. latest: the newest version that is
    there, 0 while there is none. last_version: the highest number that was ever given. base_models: of its versions,
    each once, in the order of their names.
    """

    project: str
    model_id: str
    uid: str
    display_name: str
    description: str
    tags: tuple[str, ...]
    aliases: Mapping[str, int]
    latest: int
    last_version: int
    version_count: int
    revision: int
    create_time: datetime
    update_time: datetime
    labels: Mapping[str, str] = field(default_factory=dict)
    base_models: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`projects/{project}/models/{model}`."""
        return MODEL_NAME.format(project=self.project, model=self.model_id)

    @property
    def etag(self) -> str:
        """Changes with every change of the model and its versions."""
        return etag_of(self.uid, self.revision)


@dataclass(frozen=True, slots=True)
class NewModel:
    """What a model is made from."""

    project: str
    model_id: str
    display_name: str
    description: str = ""
    tags: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelChanges:
    """New values of the fields that change; None leaves a field alone."""

    display_name: str | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None
    labels: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class LineageDataset:
    """One of several dataset versions. weight: of its steps beside the others; 0 of regularisation pictures."""

    dataset_version: str
    dataset_digest: str
    weight: float
    regularization: bool
    trigger_word: str


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a version comes from. All but `step`, the digests, `uploaded_file` and `pretended` are resource names.

    uploaded_file: the name of the file from outside that it is made of; all that concerns an epoch is then empty.
    pretended: the epoch comes from a worker that only pretends to train. initial_lora: the model version or epoch that
    training went on from; "" where it began afresh. datasets: all that were trained, where there were several.
    """

    dataset_version: str
    dataset_digest: str
    training_job: str
    epoch: str
    base_model: str
    step: int
    parameters_sha256: str
    uploaded_file: str = ""
    pretended: bool = False
    initial_lora: str = ""
    datasets: tuple[LineageDataset, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One stored file. object_key: where its bytes are; callers never see it."""

    file_id: str
    file_name: str
    content_type: str
    size_bytes: int
    sha256: str
    object_key: str


@dataclass(frozen=True, slots=True)
class VersionDraft:
    """A version whose files are stored and that has no number yet."""

    project: str
    model_id: str
    description: str
    files: tuple[ModelFile, ...]
    lineage: Lineage
    trigger_word: str
    loss: float
    rank: int
    alpha: float
    preview_prompts: tuple[str, ...]
    model_card: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """An immutable version; only its labels and the aliases that point at it change."""

    number: int
    draft: VersionDraft
    create_time: datetime
    aliases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """`projects/{project}/models/{model}/versions/{version}`."""
        return version_name(self.draft.project, self.draft.model_id, self.number)

    @property
    def etag(self) -> str:
        """Changes when an alias comes or goes, and with the labels."""
        labels = sorted(self.draft.labels.items())
        return etag_of(self.name, self.create_time.isoformat(), *sorted(self.aliases), *labels)

    @property
    def labels(self) -> Mapping[str, str]:
        """The caller's own."""
        return self.draft.labels

    def file(self, file_id: str) -> ModelFile | None:
        """The file of that id, None when the version has none."""
        return next((file for file in self.draft.files if file.file_id == file_id), None)


@dataclass(frozen=True, slots=True)
class EpochFile:
    """One file of an epoch as the trainer recorded it."""

    file_id: str
    file_name: str
    content_type: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class EpochPreview:
    """A preview of an epoch. width, height: pixels."""

    file_id: str
    prompt: str
    seed: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class BaseModelFacts:
    """The base model of a job, as far as a model card tells of it. license: an SPDX id where there is one."""

    name: str
    display_name: str = ""
    license: str = ""
    hub_id: str = ""
    hub_tags: tuple[str, ...] = ()
    native_resolution: int = 0


@dataclass(frozen=True, slots=True)
class FinishedEpoch:
    """A finished epoch with what its job says of it. settings: further parameters for the card, in order.

    file_notes: a sentence for each tool that does not apply the files as they were trained. pretended: nothing was.
    initial_lora: the model version or epoch that training went on from, or "". datasets: see Lineage.
    """

    name: str
    number: int
    step: int
    loss: float
    files: tuple[EpochFile, ...]
    previews: tuple[EpochPreview, ...]
    training_job: str
    dataset_version: str
    dataset_digest: str
    image_count: int
    base_model: BaseModelFacts
    trigger_word: str
    rank: int
    alpha: float
    parameters_sha256: str
    settings: Mapping[str, str] = field(default_factory=dict)
    file_notes: tuple[str, ...] = ()
    pretended: bool = False
    initial_lora: str = ""
    datasets: tuple[LineageDataset, ...] = ()

    @property
    def trigger_words(self) -> tuple[str, ...]:
        """Of all datasets, each once; of those that are trained alone."""
        words = [each.trigger_word for each in self.datasets] or [self.trigger_word]
        return tuple(dict.fromkeys(filter(None, words)))

    @property
    def lineage(self) -> Lineage:
        """The part that a version keeps."""
        return Lineage(
            dataset_version=self.dataset_version,
            dataset_digest=self.dataset_digest,
            training_job=self.training_job,
            epoch=self.name,
            base_model=self.base_model.name,
            step=self.step,
            parameters_sha256=self.parameters_sha256,
            pretended=self.pretended,
            initial_lora=self.initial_lora,
            datasets=self.datasets,
        )
