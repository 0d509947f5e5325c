"""The earlier LoRA that a job goes on from: found, and checked against what the job asks for."""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.errors import DomainError, FailedPrecondition, InvalidArgument, NotFound
from services.chassis.names import project_of
from services.trainer.models.job import EarlierLora
from services.trainer.models.preview_request import epoch_of, is_version
from services.trainer.ports import JobStore
from services.trainer.ports.previews import ModelVersions, SavedVersion
from services.trainer.recipe.catalogue import BaseModel
from services.trainer.recipe.families import families
from services.trainer.recipe.lora_shape import DIFFUSERS, KOHYA, LoraHeader, LoraShape, shape_of
from services.trainer.use_cases.base_models import BaseModels

FIELD = "training_job.initial_lora"


@dataclass(frozen=True, slots=True)
class FoundLora:
    """A LoRA to go on from: where it lies, and what it is."""

    lora: EarlierLora
    shape: LoraShape


class EarlierLoras:
    """Finds LoRAs among epochs and model versions."""

    def __init__(self, jobs: JobStore, versions: ModelVersions, base_models: BaseModels) -> None:
        self._jobs = jobs
        self._versions = versions
        self._base_models = base_models

    async def find(self, name: str, *, project: str, model: BaseModel) -> FoundLora:
        """The LoRA of a name, which a job of the project on the base model may go on from.

        Raises InvalidArgument, NotFound and FailedPrecondition, all with the field `training_job.initial_lora`.
        """
        epoch = epoch_of(name)
        if epoch is None and not (is_version(name) and "/versions/" in name):
            raise InvalidArgument(
                "This is neither the name of a model version nor that of an epoch",
                field=FIELD,
                reason="NAME_INVALID",
                remedy="Use projects/{project}/models/{model}/versions/{version} or …/trainingJobs/{job}/epochs/{n}.",
            )
        if project_of(name) != project:
            raise InvalidArgument(
                f"The LoRA belongs to project '{project_of(name)}', the job to '{project}'",
                field=FIELD,
                reason="PROJECT_MISMATCH",
                remedy="Go on from a LoRA of the same project.",
            )
        try:
            return await (self._version(name, model) if epoch is None else self._epoch(name, *epoch, model))
        except (NotFound, FailedPrecondition, InvalidArgument) as error:
            raise _at_field(error) from error

    async def _epoch(self, name: str, job_name: str, number: int, model: BaseModel) -> FoundLora:
        job = await self._jobs.get(job_name)
        await self._check_base(job.base_model, model)
        files = {file.file_id: file for file in (await self._jobs.epoch(job_name, number)).artifacts}
        file = files.get(DIFFUSERS) or files.get(KOHYA)
        if file is None:
            raise _unfit(f"{name} has no LoRA file", "Choose another epoch.")
        given = job.parameters
        shape = LoraShape(given.adapter, given.rank, given.alpha, given.target_modules, given.train_text_encoder)
        return FoundLora(EarlierLora(name, file.file_id, file.sha256), shape)

    async def _version(self, name: str, model: BaseModel) -> FoundLora:
        version = await self._versions.look(name)
        if not version.base_model:
            raise FailedPrecondition(
                f"Nobody has said which base model {version.name} is made for",
                reason="BASE_MODEL_UNKNOWN",
                remedy="Import the file again and name its base model.",
            )
        await self._check_base(version.base_model, model)
        form, header = await self._readable(version)
        try:
            shape = shape_of(header, families()[model.family], rank=version.rank, alpha=version.alpha)
        except ValueError as error:
            raise _unfit(f"{version.name} does not fit: {error}", "Go on from another one.") from error
        return FoundLora(EarlierLora(version.name, form, _stored(version)[1]), shape)

    async def _readable(self, version: SavedVersion) -> tuple[str, LoraHeader]:
        """The form in which workers read a version, made by the registry where it has to be, and the file's header."""
        stored, _ = _stored(version)
        header = await self._versions.header(version.name, stored)
        if stored == KOHYA and header.adapter != "lora":
            # No other form holds what it says.
            return stored, header
        if stored == DIFFUSERS and header.is_spelt_as_peft_does:
            return stored, header
        form = KOHYA if stored == DIFFUSERS else DIFFUSERS
        return form, await self._versions.header(version.name, form)

    async def _check_base(self, name: str, model: BaseModel) -> None:
        """Whether a LoRA of that base model goes onto this one: the same, or another of its architecture."""
        of = await self._base_models.of(name)
        alike = of is not None and (of.family, of.architecture) == (model.family, model.architecture)
        if name == model.name or alike:
            return
        raise FailedPrecondition(
            f"The LoRA is made for {name}, the job trains {model.name}, which is of another architecture",
            reason="BASE_MODELS_DIFFER",
            remedy=f"Train on {name}, or go on from a LoRA of {model.name}.",
        )


def _stored(version: SavedVersion) -> tuple[str, str]:
    """Form and digest of the file that a version is read from."""
    for form in (DIFFUSERS, KOHYA, "peft"):
        if form in version.files:
            return form, version.files[form]
    raise _unfit(f"{version.name} has no LoRA file", "Go on from another version.")


def _unfit(message: str, remedy: str) -> FailedPrecondition:
    return FailedPrecondition(message, reason="INITIAL_LORA_UNFIT", remedy=remedy)


def _at_field(error: DomainError) -> DomainError:
    return type(error)(error.message, field=FIELD, reason=error.reason, remedy=error.remedy, metadata=error.metadata)
