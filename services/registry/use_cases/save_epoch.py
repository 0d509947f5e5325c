"""Keeping an epoch: its files are copied and checked first, then one transaction makes them a version."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from services.chassis import names
from services.chassis.errors import (
    Aborted,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
)
from services.chassis.logging import get_logger
from services.chassis.requests.keys import RequestKey
from services.registry.models.checks import NUMBER_TAKEN
from services.registry.models.names import LATEST, parse_epoch_name
from services.registry.models.resources import EpochFile, FinishedEpoch, ModelFile, ModelVersion, NewModel, VersionDraft
from services.registry.ports import EpochSource, FileStore, ModelStore
from services.registry.use_cases.budgeting import KeepBudgets
from services.registry.use_cases.checked import checked
from services.registry.use_cases.committing import Commits
from services.registry.use_cases.model_card import model_card
from services.registry.use_cases.titles import SUFFIX, Measured, file_name, output_name, titled

log = get_logger(__name__)
# Of many saves into one model at once each round lets one through.
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class SaveRequest:
    """What to keep and where. display_name is used only when the model is made; validate_only keeps nothing."""

    project: str
    epoch: str
    model_id: str
    create_model: bool
    display_name: str
    description: str
    aliases: tuple[str, ...]
    key: RequestKey
    labels: Mapping[str, str] = field(default_factory=dict)
    validate_only: bool = False


class SaveEpoch:
    """Copies an epoch's files out of the trainer and adds them as the model's next version.

    max_bytes: the most that one version may hold.
    """

    def __init__(
        self,
        store: ModelStore,
        files: FileStore,
        source: EpochSource,
        *,
        max_bytes: int,
        budgets: KeepBudgets | None = None,
    ) -> None:
        self._store = store
        self._files = files
        self._commits = Commits(store, files, budgets)
        self._source = source
        self._max_bytes = max_bytes

    async def save(self, request: SaveRequest) -> ModelVersion:
        """The new version, or the earlier one when the request was carried out before.

        Raises InvalidArgument, NotFound (model, job or epoch), FailedPrecondition (the epoch is not finished),
        ResourceExhausted (too large, or a budget is used up), DataLoss (the bytes are not those that the trainer
        recorded), Aborted (too many saves into one model at once). Nothing is kept then, neither rows nor files.
        """
        project = check_project(request.project, request.epoch)
        earlier = None if request.validate_only else await self._store.recall(request.key)
        if earlier is not None:
            return await self._commits.repeated(earlier)
        display_name, number = await self._commits.target(self._model(request), create=request.create_model)
        await self._commits.check_room(project)
        epoch = await self._source.finished_epoch(request.epoch)
        self._check(epoch)
        if request.validate_only:
            return _planned(request, epoch, display_name, number)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._saved(request, epoch)
            except Aborted as error:
                # Another save took the number that stands in the files: they are made again for the next one.
                if error.reason != NUMBER_TAKEN or attempt == _ATTEMPTS:
                    raise
        raise AssertionError

    async def _saved(self, request: SaveRequest, epoch: FinishedEpoch) -> ModelVersion:
        display_name, number = await self._commits.target(self._model(request), create=request.create_model)
        files = await self._copy(request, epoch, display_name, number)
        draft = _draft(request, epoch, display_name, files)
        version = await self._commits.add(
            draft,
            create=self._model(request) if request.create_model else None,
            aliases=request.aliases,
            key=request.key,
            number=number,
        )
        log.info("epoch_saved", version=version.name, epoch=draft.lineage.epoch)
        return version

    def _model(self, request: SaveRequest) -> NewModel:
        return NewModel(request.project, request.model_id, request.display_name.strip() or request.model_id)

    def _check(self, epoch: FinishedEpoch) -> None:
        if not any(file.file_name.endswith(SUFFIX) for file in epoch.files):
            raise FailedPrecondition(
                f"{epoch.name} has no LoRA file", field="epoch", reason="EPOCH_WITHOUT_ARTIFACT",
                remedy="Save another epoch, or retry the training job.",
            )  # fmt: skip
        total = sum(file.size_bytes for file in epoch.files)
        if total > self._max_bytes:
            raise ResourceExhausted(
                f"{epoch.name} has {total} bytes, more than the {self._max_bytes} that a version may hold",
                field="epoch",
                reason="VERSION_TOO_LARGE",
                remedy="Train with a lower rank, or ask the operator to raise the limit.",
            )

    async def _copy(
        self, request: SaveRequest, epoch: FinishedEpoch, display_name: str, number: int
    ) -> tuple[ModelFile, ...]:
        """The files, stored under keys of this save alone; all of them or, when one fails, none."""
        folder = f"projects/{request.project}/models/{request.model_id}/{names.new_id('save')}"
        title, name = f"{display_name} v{number}", output_name(request.model_id, number)
        stored: list[ModelFile] = []
        try:
            for file in epoch.files:
                target = ModelFile(
                    file_id=file.file_id,
                    file_name=file_name(request.model_id, number, file),
                    content_type=file.content_type,
                    size_bytes=file.size_bytes,
                    sha256=file.sha256,
                    object_key=f"{folder}/{file.file_id}",
                )
                stored.append(target)
                incoming = self._incoming(epoch, file)
                if file.file_name.endswith(SUFFIX):
                    what = f"{file.file_name} of {epoch.name}"
                    incoming = titled(incoming, title=title, name=name, what=what)
                measured = Measured(incoming)
                await self._files.put(target.object_key, aiter(measured), file.content_type)
                stored[-1] = replace(target, size_bytes=measured.size_bytes, sha256=measured.sha256)
        except BaseException:
            await self._commits.remove(stored)
            raise
        return tuple(stored)

    def _incoming(self, epoch: FinishedEpoch, file: EpochFile) -> AsyncIterator[bytes]:
        return checked(
            self._source.read_file(epoch.name, file),
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            what=f"{file.file_name} of {epoch.name}",
        )


def check_project(project: str, epoch: str) -> str:
    """The project, which must be that of the epoch. Raises InvalidArgument(reason=EPOCH_OF_ANOTHER_PROJECT)."""
    if parse_epoch_name(epoch)[0] != project:
        raise InvalidArgument(
            f"{epoch} belongs to another project than projects/{project}",
            field="epoch",
            reason="EPOCH_OF_ANOTHER_PROJECT",
            remedy="Save it into a model of its own project.",
        )
    return project


def _draft(request: SaveRequest, epoch: FinishedEpoch, display_name: str, files: tuple[ModelFile, ...]) -> VersionDraft:
    kept = replace(
        epoch,
        files=tuple(
            EpochFile(file.file_id, file.file_name, file.content_type, file.size_bytes, file.sha256) for file in files
        ),
    )
    return VersionDraft(
        project=request.project,
        model_id=request.model_id,
        description=request.description,
        files=files,
        lineage=epoch.lineage,
        trigger_word=", ".join(epoch.trigger_words),
        loss=epoch.loss,
        rank=epoch.rank,
        alpha=epoch.alpha,
        preview_prompts=tuple(preview.prompt for preview in epoch.previews),
        model_card=model_card(display_name, request.description, kept),
        labels=request.labels,
    )


def _planned(request: SaveRequest, epoch: FinishedEpoch, display_name: str, number: int) -> ModelVersion:
    """The version as it would be. What a LoRA file holds is known once its title is written into it."""
    files = []
    for file in epoch.files:
        known = not file.file_name.endswith(SUFFIX)
        size, sha256 = (file.size_bytes, file.sha256) if known else (0, "")
        name = file_name(request.model_id, number, file)
        files.append(ModelFile(file.file_id, name, file.content_type, size, sha256, object_key=""))
    aliases = tuple(dict.fromkeys((*request.aliases, LATEST)))
    return ModelVersion(number, _draft(request, epoch, display_name, tuple(files)), datetime.now(UTC), aliases)
