"""Keeping a LoRA from outside: its file is checked as it passes, stored as it is, and becomes a version."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from services.chassis import names
from services.chassis.errors import InvalidArgument, ResourceExhausted
from services.chassis.logging import get_logger
from services.chassis.requests.keys import RequestKey, digest
from services.chassis.uploads import chunks_of, header_of
from services.registry.models.names import PEFT, PEFT_CONFIG
from services.registry.models.resources import (
    BaseModelFacts,
    EpochFile,
    Lineage,
    ModelFile,
    ModelVersion,
    NewModel,
    VersionDraft,
)
from services.registry.ports import EpochSource, FileStore, ModelStore
from services.registry.use_cases.budgeting import KeepBudgets
from services.registry.use_cases.committing import Commits
from services.registry.use_cases.forms import adapter_config
from services.registry.use_cases.lora_files import FIELD, LoraFile, inspected
from services.registry.use_cases.model_card import uploaded_card
from services.registry.use_cases.titles import SUFFIX, Measured

log = get_logger(__name__)
_CONTENT_TYPE = "application/octet-stream"
_MAX_TRIGGER = 100


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What comes before a file's bytes. base_model, trigger_word, sha256: "" when not said.

    adapter_config: the text of the settings beside a file of PEFT's form, "" when there are none.
    """

    project: str
    model_id: str
    file_name: str
    create_model: bool = False
    display_name: str = ""
    description: str = ""
    aliases: tuple[str, ...] = ()
    base_model: str = ""
    trigger_word: str = ""
    sha256: str = ""
    request_id: str = ""
    adapter_config: str = ""


class ImportVersion:
    """ImportModelVersion. max_bytes: of the file. idle_s: longest pause between two messages."""

    def __init__(
        self,
        store: ModelStore,
        files: FileStore,
        source: EpochSource,
        *,
        max_bytes: int,
        idle_s: float,
        budgets: KeepBudgets | None = None,
    ) -> None:
        self._files = files
        self._commits = Commits(store, files, budgets)
        self._source = source
        self._max_bytes = max_bytes
        self._idle_s = idle_s

    async def run(self, messages: AsyncIterator[ImportRequest | bytes]) -> ModelVersion:
        """Reads a header and then the file, and keeps it.

        Raises InvalidArgument (FILE_NAME_INVALID, MODEL_FILE_DIGEST_MISMATCH, ADAPTER_CONFIG_INVALID,
        ADAPTER_CONFIG_UNUSED and the reasons of `inspected`), NotFound (model or base model),
        ResourceExhausted(VERSION_TOO_LARGE, BUDGET_USED_UP), DeadlineExceeded(UPLOAD_STALLED).
        Nothing is stored unless the stream ends well. A repeated request gives the first version.
        """
        request = await header_of(messages, ImportRequest, idle_s=self._idle_s, field=FIELD)
        _check_name(request.file_name)
        config = adapter_config.read(request.adapter_config) if request.adapter_config else None
        model = NewModel(request.project, request.model_id, request.display_name.strip() or request.model_id)
        display_name, _ = await self._commits.target(model, create=request.create_model)
        await self._commits.check_room(request.project)
        base = await self._source.base_model(request.base_model) if request.base_model else BaseModelFacts("")
        found = LoraFile()
        file = await self._stored(request, messages, found)
        if request.sha256 not in ("", file.sha256):
            await self._commits.remove([file])
            raise InvalidArgument(
                "The received bytes do not match the announced SHA-256",
                field="sha256",
                reason="MODEL_FILE_DIGEST_MISMATCH",
                remedy="Send the file again; it was damaged in transit, or the digest is of another file.",
            )
        files = [replace(file, file_id=found.form)]
        if config is not None:
            if found.form != PEFT:
                await self._commits.remove(files)
                raise InvalidArgument(
                    f"Settings of PEFT come with a file of its form, and this one is of {found.form}'s",
                    field="adapter_config",
                    reason="ADAPTER_CONFIG_UNUSED",
                    remedy="Send the file without them: it says by itself how strongly it applies.",
                )
            found.alpha = config.alpha_of("", found.rank or config.rank)
            files.append(await self._settings(request, files[0]))
        version = await self._commits.add(
            _draft(request, tuple(files), found, base, display_name),
            create=model if request.create_model else None,
            aliases=request.aliases,
            key=_key(request, file.sha256),
        )
        log.info("model_imported", version=version.name, form=found.form)
        return version

    async def _settings(self, request: ImportRequest, file: ModelFile) -> ModelFile:
        """The settings, stored beside the file."""
        text = request.adapter_config.encode()

        async def chunks() -> AsyncIterator[bytes]:
            yield text

        key = f"{file.object_key.rpartition('/')[0]}/{PEFT_CONFIG}"
        measured = Measured(chunks())
        try:
            await self._files.put(key, aiter(measured), "application/json")
        except BaseException:
            await self._commits.remove([file])
            raise
        return ModelFile(
            PEFT_CONFIG, "adapter_config.json", "application/json", measured.size_bytes, measured.sha256, key
        )

    async def _stored(
        self, request: ImportRequest, messages: AsyncIterator[ImportRequest | bytes], found: LoraFile
    ) -> ModelFile:
        key = f"projects/{request.project}/models/{request.model_id}/{names.new_id('import')}/file"
        measured = Measured(inspected(self._chunks(messages), found))
        await self._files.put(key, aiter(measured), _CONTENT_TYPE)
        return ModelFile("", request.file_name, _CONTENT_TYPE, measured.size_bytes, measured.sha256, key)

    async def _chunks(self, messages: AsyncIterator[ImportRequest | bytes]) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in chunks_of(messages, idle_s=self._idle_s, field=FIELD):
            size += len(chunk)
            if size > self._max_bytes:
                raise ResourceExhausted(
                    f"The file has more than the {self._max_bytes} bytes that a version may hold",
                    field=FIELD,
                    reason="VERSION_TOO_LARGE",
                    remedy="Send a LoRA of a lower rank, or ask the operator to raise the limit.",
                )
            if chunk:
                yield chunk


def _draft(
    request: ImportRequest, files: tuple[ModelFile, ...], found: LoraFile, base: BaseModelFacts, display_name: str
) -> VersionDraft:
    said = found.metadata.get("modelspec.trigger_phrase", "").strip()
    trigger_word = request.trigger_word.strip() or (said if len(said) <= _MAX_TRIGGER else "")
    file = files[0]
    shown = EpochFile(file.file_id, file.file_name, file.content_type, file.size_bytes, file.sha256)
    steps = found.metadata.get("ss_steps", "")
    return VersionDraft(
        project=request.project,
        model_id=request.model_id,
        description=request.description,
        files=files,
        lineage=Lineage(
            dataset_version="",
            dataset_digest="",
            training_job="",
            epoch="",
            base_model=request.base_model,
            step=int(steps) if steps.isdecimal() and len(steps) < 10 else 0,
            parameters_sha256="",
            uploaded_file=request.file_name,
        ),
        trigger_word=trigger_word,
        loss=0.0,
        rank=found.rank,
        alpha=found.alpha,
        preview_prompts=(),
        model_card=uploaded_card(
            display_name, request.description, shown, base,
            trigger_word=trigger_word, rank=found.rank, alpha=found.alpha, metadata=found.metadata,
        ),
    )  # fmt: skip


def _key(request: ImportRequest, sha256: str) -> RequestKey:
    asked = digest(
        request.model_id, request.file_name, request.create_model, request.display_name, request.description,
        request.aliases, request.base_model, request.trigger_word, sha256,
        *([request.adapter_config] if request.adapter_config else []),
    )  # fmt: skip
    return RequestKey(request.project, "ImportModelVersion", request.request_id, asked)


def _check_name(file_name: str) -> None:
    path = PurePosixPath(file_name)
    plain = file_name.isprintable() and "\\" not in file_name and path.name == file_name == file_name.strip()
    if not plain or file_name.startswith(".") or path.suffix != SUFFIX:
        raise InvalidArgument(
            f"'{file_name[:100]}' is no name of a safetensors file",
            field="file_name",
            reason="FILE_NAME_INVALID",
            remedy="Send the bare name of the file, such as cat.safetensors; other formats are not taken.",
        )
