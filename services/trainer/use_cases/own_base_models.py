"""Base models of projects as callers announce, read, change and delete them."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from services.chassis.budgets import BASE_MODEL_BYTES, UNLIMITED, Budgets
from services.chassis.errors import AlreadyExists, DomainError, InvalidArgument, NotFound, Unavailable
from services.chassis.listing.pages import ListRequest, PageTokens
from services.chassis.logging import get_logger
from services.chassis.names import check_etag, project_of
from services.chassis.requests.keys import RequestKey
from services.trainer.models.base import OfferedModel
from services.trainer.models.own_base_model import (
    LONGEST_NAME,
    OwnBaseModel,
    OwnBaseModelState,
    Part,
    Users,
    check_delete,
    check_license,
    edited,
)
from services.trainer.ports.base_models import BASE_MODELS, BaseModelFiles, BaseModelStore, SavedModels
from services.trainer.recipe.checkpoint_header import CheckpointHeader, NotACheckpoint, read_header
from services.trainer.use_cases.base_models import BaseModels

log = get_logger(__name__)
SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A base model as a caller announces it. base_model_id: "" to have one made. header: the file's beginning.

    based_on: name of an entry of the catalogue, "" to have one found.
    """

    project: str
    base_model_id: str
    display_name: str
    description: str
    license: str
    based_on: str
    file_name: str
    size_bytes: int
    sha256: str
    header: bytes
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BaseModelEdit:
    """Which base model, whether only as it was read, the new values, and which of them are meant."""

    name: str
    etag: str
    given: Mapping[str, object]
    mask: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnBaseModelView:
    """A base model as callers see it. offered: as jobs take it; None before it is ready. held_back: see the proto."""

    model: OwnBaseModel
    offered: OfferedModel | None = None
    held_back: str = ""


async def nothing_known(candidates: Mapping[str, int]) -> str:
    """Of workers."""
    return ""


class OwnBaseModels:
    """All but the upload itself. max_bytes: of one file."""

    def __init__(
        self,
        store: BaseModelStore,
        files: BaseModelFiles,
        base_models: BaseModels,
        saved: SavedModels,
        loadable: Callable[[], Awaitable[Collection[str] | None]],
        tokens: PageTokens,
        *,
        clock: Callable[[], datetime],
        new_id: Callable[[str], str],
        max_bytes: int,
        budgets: Budgets = UNLIMITED,
        why_unchecked: Callable[[Mapping[str, int]], Awaitable[str]] = nothing_known,
    ) -> None:
        """loadable: asks for the entries of the catalogue that workers can load now; None for all. why_unchecked: see
        `Placing.why_unchecked`."""
        self._why_unchecked = why_unchecked
        self._loadable = loadable
        self._store = store
        self._files = files
        self._base_models = base_models
        self._saved = saved
        self._tokens = tokens
        self._clock = clock
        self._new_id = new_id
        self._max_bytes = max_bytes
        self._budgets = budgets

    async def announce(self, asked: Announcement, key: RequestKey, *, validate_only: bool) -> OwnBaseModelView:
        """Makes one whose file is still to come; a repeat with the same request id gives the first one.

        Raises InvalidArgument for a field or a file that is wrong, NotFound for an entry of the catalogue that is not
        there, AlreadyExists for a name that is taken, here or in the catalogue, and ResourceExhausted(BUDGET_USED_UP).
        Nothing is stored then, and with validate_only never.
        """
        made = await self._store.recall(key)
        if made is not None:
            return await self._view(made)
        model = self._announced(asked)

        def admit(used: int) -> None:
            self._budgets.check(asked.project, BASE_MODEL_BYTES, used, wanted=model.size_bytes, field="parent")

        if validate_only:
            await self._refuse_taken(model.name)
            admit(await self._store.stored_bytes(asked.project))
            return OwnBaseModelView(model)
        limited = self._budgets.limit(asked.project, BASE_MODEL_BYTES)
        return await self._view(await self._store.create(model, key, admit if limited else None))

    async def get(self, name: str) -> OwnBaseModelView:
        """One of them. NotFound."""
        return await self._view(await self._store.get(name))

    async def list(self, request: ListRequest) -> tuple[Sequence[OwnBaseModelView], str, int]:
        """A page of a project's, the token of the next page, and how many match in all. InvalidArgument."""
        asked = BASE_MODELS.open(request, self._tokens)
        found, total = await self._store.list(project_of(request.parent), asked.query)
        shown, token = asked.answer(found)
        return await self._views(shown), token, total

    async def update(self, edit: BaseModelEdit) -> OwnBaseModelView:
        """Changes fields of its own. NotFound, Aborted, InvalidArgument."""

        def move(model: OwnBaseModel) -> OwnBaseModel:
            check_etag(edit.etag, model.etag, field="base_model.etag")
            return edited(model, edit.given, edit.mask, self._clock())

        return await self._view(await self._store.change(edit.name, move))

    async def delete(self, name: str, *, etag: str, force: bool) -> None:
        """Deletes one with its file. NotFound, Aborted, FailedPrecondition(BASE_MODEL_IN_USE)."""
        model, saved = await self._store.get(name), 0
        # What is known here says no without the registry, which may be away.
        check_delete(model, await self._store.users(name), saved, etag=etag, force=force)
        if not force:
            saved = await self._saved.trained_on(name)

        def check(found: OwnBaseModel, users: Users) -> None:
            check_delete(found, users, saved, etag=etag, force=force)

        gone = await self._store.delete(name, check)
        await remove_parts(self._files, gone.parts, of=name)

    def _announced(self, asked: Announcement) -> OwnBaseModel:
        _check_file_name(asked.file_name)
        check_license(asked.license)
        if len(asked.sha256) != 64:
            raise _wrong("sha256", "The SHA-256 of the file is missing", "SHA256_MISSING", "Send it as 64 hex digits.")
        if asked.size_bytes > self._max_bytes:
            raise _wrong(
                "size_bytes",
                f"The file has {asked.size_bytes} bytes, and a base model may have {self._max_bytes}",
                "BASE_MODEL_TOO_LARGE",
                "Upload a checkpoint in 16 bits, or ask the operator to raise the limit.",
            )
        try:
            header = read_header(asked.header, asked.size_bytes)
        except NotACheckpoint as error:
            raise InvalidArgument(str(error), field="header", reason=error.reason, remedy=error.remedy) from error
        self._check_based_on(asked.based_on, header)
        now = self._clock()
        return OwnBaseModel(
            name=self._name(asked),
            project=asked.project,
            display_name=asked.display_name or asked.base_model_id or PurePosixPath(asked.file_name).stem[:120],
            description=asked.description,
            license=asked.license,
            file_name=asked.file_name,
            size_bytes=asked.size_bytes,
            sha256=asked.sha256,
            header_bytes=header.size_bytes,
            header_sha256=hashlib.sha256(asked.header[: header.size_bytes]).hexdigest(),
            precision=header.precision,
            families=header.families,
            based_on=asked.based_on,
            labels=dict(asked.labels),
            create_time=now,
            update_time=now,
        )

    def _check_based_on(self, name: str, header: CheckpointHeader) -> None:
        catalogue = self._base_models.catalogue
        able = [f"baseModels/{key}" for key, model in catalogue.items() if model.family in header.families]
        if not able:
            raise InvalidArgument(
                f"The file is a checkpoint of {' or '.join(header.families)}, and the catalogue has no such base model",
                field="header",
                reason="BASE_MODEL_FAMILY_MISSING",
                remedy="Ask the operator to add one: its configuration and parameters are needed beside the file.",
            )
        if not name:
            return
        if name.removeprefix("baseModels/") not in catalogue:
            raise NotFound(
                f"There is no base model '{name}'",
                field="base_model.based_on",
                reason="BASE_MODEL_NOT_FOUND",
                remedy=f"Choose one of: {', '.join(able)}.",
            )
        if name not in able:
            raise _wrong(
                "based_on",
                f"The file is a checkpoint of {' or '.join(header.families)}, and {name} is none of these",
                "BASE_MODEL_FAMILY_DIFFERS",
                f"Choose one of: {', '.join(able)}; or leave it empty.",
            )

    def _name(self, asked: Announcement) -> str:
        identifier = asked.base_model_id or self._new_id("base")
        name = f"projects/{asked.project}/baseModels/{identifier}"
        if identifier in self._base_models.catalogue:
            raise AlreadyExists(
                f"The catalogue has a base model '{identifier}'",
                field="base_model_id",
                reason="BASE_MODEL_EXISTS",
                remedy="Choose another id, so that nobody takes the one for the other.",
            )
        if len(name) > LONGEST_NAME:
            raise InvalidArgument(
                f"The name would have {len(name)} characters, and {LONGEST_NAME} are the most",
                field="base_model_id",
                reason="NAME_TOO_LONG",
                remedy=f"Choose an id that is {len(name) - LONGEST_NAME} characters shorter.",
            )
        return name

    async def _refuse_taken(self, name: str) -> None:
        try:
            await self._store.get(name)
        except NotFound:
            return
        raise AlreadyExists(
            f"The base model '{name}' already exists",
            field="base_model_id",
            reason="BASE_MODEL_EXISTS",
            remedy="Choose another id, or leave it empty to get a generated one.",
        )

    async def _view(self, model: OwnBaseModel) -> OwnBaseModelView:
        return (await self._views([model]))[0]

    async def _views(self, models: Sequence[OwnBaseModel]) -> Sequence[OwnBaseModelView]:
        made = [self._base_models.made_from(model) for model in models]
        entries = await self._loadable() if any(made) else None
        return [
            OwnBaseModelView(
                model,
                OfferedModel(each, entries is None or f"baseModels/{each.entry}" in entries) if each else None,
                await self._held_back(model),
            )
            for model, each in zip(models, made, strict=True)
        ]

    async def _held_back(self, model: OwnBaseModel) -> str:
        if model.state is not OwnBaseModelState.CHECKING or model.lease is not None:
            return ""
        entries = {name: entry.memory_mib * 2**20 for name, entry in self._base_models.candidates(model)}
        return await self._why_unchecked(entries)


async def remove_parts(files: BaseModelFiles, parts: tuple[Part, ...], *, of: str) -> None:
    """Removes the file of a base model that is gone; what cannot be removed now is left to the sweeper."""
    try:
        await files.delete(parts)
    except Unavailable as error:
        log.warning("files_left_to_the_sweeper", base_model=of, reason=error.reason)


def _check_file_name(name: str) -> None:
    path = PurePosixPath(name)
    plain = name.isprintable() and "\\" not in name and path.name == name == name.strip()
    if not plain or name.startswith(".") or path.suffix != SUFFIX:
        raise _wrong(
            "file_name",
            f"'{name[:100]}' is no name of a safetensors file",
            "FILE_NAME_INVALID",
            "Send the bare name of the file, such as house-style.safetensors; other formats are not taken.",
        )


def _wrong(name: str, message: str, reason: str, remedy: str) -> DomainError:
    return InvalidArgument(message, field=f"base_model.{name}", reason=reason, remedy=remedy)
