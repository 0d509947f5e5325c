"""The registry's ports in memory; the contract suites hold them to the same behaviour as the real adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from services.chassis import names
from services.chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from services.chassis.listing import memory
from services.chassis.listing.pages import Query
from services.chassis.requests.keys import RequestKey
from services.registry.models.checks import check_number
from services.registry.models.names import LATEST
from services.registry.models.resources import (
    BaseModelFacts,
    EpochFile,
    FinishedEpoch,
    Model,
    ModelChanges,
    ModelVersion,
    NewModel,
    VersionDraft,
)
from services.registry.ports import MODELS, VERSIONS, Admit


class FakeModelStore:
    """ports.ModelStore. Each method runs without awaiting, which makes it one transaction."""

    def __init__(self) -> None:
        self.models: dict[tuple[str, str], Model] = {}
        self.versions: dict[tuple[str, str], list[ModelVersion]] = {}
        self.requests: dict[tuple[str, str, str], tuple[str, str, datetime]] = {}

    async def recall(self, key: RequestKey) -> str | None:
        return self._recall(key)

    async def create_model(self, new: NewModel, key: RequestKey, admit: Admit | None = None) -> Model:
        earlier = self._recall(key)
        if earlier is not None:
            return self.models[new.project, earlier.rsplit("/", 1)[1]]
        if (new.project, new.model_id) in self.models:
            raise AlreadyExists("The id is taken", field="model_id", reason="MODEL_EXISTS")
        if admit is not None:
            admit(self._counts(new.project)[0], None)
        model = self._insert(new)
        self._remember(key, model.name)
        return model

    async def get_model(self, project: str, model_id: str) -> Model:
        return self._model(project, model_id)

    async def list_models(self, project: str, query: Query) -> tuple[list[Model], int]:
        return memory.page((model for model in self.models.values() if model.project == project), query, MODELS)

    async def update_model(self, project: str, model_id: str, changes: ModelChanges, etag: str) -> Model:
        model = self._model(project, model_id)
        names.check_etag(etag, model.etag, field="model.etag")
        given = {name: getattr(changes, name) for name in ("display_name", "description", "tags", "labels")}
        return self._change(model, **{name: value for name, value in given.items() if value is not None})

    async def delete_model(self, project: str, model_id: str, *, etag: str, force: bool) -> list[str]:
        model = self._model(project, model_id)
        names.check_etag(etag, model.etag)
        if model.version_count and not force:
            raise FailedPrecondition("The model has versions", field="force", reason="MODEL_NOT_EMPTY")
        del self.models[project, model_id]
        versions = self.versions.pop((project, model_id), [])
        return [file.object_key for version in versions for file in version.draft.files]

    async def add_version(
        self,
        draft: VersionDraft,
        *,
        create: NewModel | None,
        aliases: Sequence[str],
        key: RequestKey,
        number: int | None = None,
        admit: Admit | None = None,
    ) -> ModelVersion:
        place = (draft.project, draft.model_id)
        earlier = self._recall(key)
        if earlier is not None:
            return self._version(*place, int(earlier.rsplit("/", 1)[1]))
        if admit is not None:
            models, versions = self._counts(draft.project)
            admit(models if create is not None and place not in self.models else None, versions)
        if create is not None and place not in self.models:
            check_number(1, number)
            self._insert(create)
        model = self._model(*place)
        number = check_number(model.last_version + 1, number)
        self.versions.setdefault(place, []).append(ModelVersion(number, draft, datetime.now(UTC)))
        moved = {**model.aliases, **dict.fromkeys(aliases, number), LATEST: number}
        count = model.version_count + 1
        bases = self._base_models(place)
        self._change(model, latest=number, last_version=number, version_count=count, aliases=moved, base_models=bases)
        version = self._version(*place, number)
        self._remember(key, version.name)
        return version

    async def get_version(self, project: str, model_id: str, selector: int | str) -> ModelVersion:
        return self._version(project, model_id, selector)

    async def list_versions(self, project: str, model_id: str, query: Query) -> tuple[list[ModelVersion], int]:
        self._model(project, model_id)
        numbers = [version.number for version in self.versions.get((project, model_id), [])]
        return memory.page([self._version(project, model_id, number) for number in numbers], query, VERSIONS)

    async def label_version(
        self, project: str, model_id: str, number: int, labels: Mapping[str, str], etag: str
    ) -> ModelVersion:
        model, version = self._model(project, model_id), self._version(project, model_id, number)
        names.check_etag(etag, version.etag, field="model_version.etag")
        if labels != version.labels:
            kept = self.versions[project, model_id]
            place = next(index for index, one in enumerate(kept) if one.number == number)
            kept[place] = replace(kept[place], draft=replace(version.draft, labels=labels))
            self._change(model)
        return self._version(project, model_id, number)

    async def delete_version(
        self, project: str, model_id: str, number: int, check: Callable[[ModelVersion], None]
    ) -> list[str]:
        model, version = self._model(project, model_id), self._version(project, model_id, number)
        check(version)
        left = [one for one in self.versions[project, model_id] if one.number != number]
        self.versions[project, model_id] = left
        aliases = {alias: n for alias, n in model.aliases.items() if n != number and alias != LATEST}
        latest = max((one.number for one in left), default=0)
        if latest:
            aliases[LATEST] = latest
        bases = self._base_models((project, model_id))
        self._change(model, latest=latest, version_count=len(left), aliases=aliases, base_models=bases)
        return [file.object_key for file in version.draft.files]

    async def set_alias(self, project: str, model_id: str, alias: str, number: int) -> Model:
        model = self._model(project, model_id)
        self._version(project, model_id, number)
        return self._change(model, aliases={**model.aliases, alias: number})

    async def delete_alias(self, project: str, model_id: str, alias: str) -> Model:
        model = self._model(project, model_id)
        if alias not in model.aliases:
            raise NotFound("There is no such alias", reason="ALIAS_NOT_FOUND")
        return self._change(model, aliases={key: number for key, number in model.aliases.items() if key != alias})

    async def forget_events(self, age: timedelta) -> int:
        """See the port; it keeps none."""
        return 0

    async def forget_requests(self, age: timedelta) -> int:
        old = [key for key, (_, _, made) in self.requests.items() if made < datetime.now(UTC) - age]
        for key in old:
            del self.requests[key]
        return len(old)

    async def unreferenced(self, object_keys: Sequence[str]) -> list[str]:
        drafts = [version.draft for versions in self.versions.values() for version in versions]
        known = {file.object_key for draft in drafts for file in draft.files}
        return [key for key in object_keys if key not in known]

    def _model(self, project: str, model_id: str) -> Model:
        model = self.models.get((project, model_id))
        if model is None:
            raise NotFound("The model does not exist", reason="MODEL_NOT_FOUND")
        return model

    def _version(self, project: str, model_id: str, selector: int | str) -> ModelVersion:
        model = self._model(project, model_id)
        number = model.aliases.get(selector) if isinstance(selector, str) else selector
        if number is None:
            raise NotFound("There is no such alias", reason="ALIAS_NOT_FOUND")
        found = [one for one in self.versions.get((project, model_id), []) if one.number == number]
        if not found:
            raise NotFound("There is no such version", reason="VERSION_NOT_FOUND")
        pointing = tuple(alias for alias, target in model.aliases.items() if target == number)
        return replace(found[0], aliases=pointing)

    async def counts(self, project: str) -> tuple[int, int]:
        return self._counts(project)

    def _base_models(self, place: tuple[str, str]) -> tuple[str, ...]:
        found = {version.draft.lineage.base_model for version in self.versions.get(place, [])}
        return tuple(sorted(found - {""}))

    def _counts(self, project: str) -> tuple[int, int]:
        versions = sum(len(found) for (owner, _), found in self.versions.items() if owner == project)
        return sum(owner == project for owner, _ in self.models), versions

    def _insert(self, new: NewModel) -> Model:
        now = datetime.now(UTC)
        given = (new.project, new.model_id, names.new_uuid(), new.display_name, new.description, new.tags)
        counts: dict[str, Any] = {"latest": 0, "last_version": 0, "version_count": 0, "revision": 1}
        model = Model(*given, aliases={}, **counts, create_time=now, update_time=now, labels=new.labels)
        self.models[new.project, new.model_id] = model
        return model

    def _change(self, model: Model, **values: object) -> Model:
        fresh: Mapping[str, object] = {"revision": model.revision + 1, "update_time": datetime.now(UTC), **values}
        changed = replace(model, **fresh)  # type: ignore[arg-type]
        self.models[model.project, model.model_id] = changed
        return changed

    def _recall(self, key: RequestKey) -> str | None:
        found = self.requests.get((key.project, key.method, key.request_id)) if key.request_id else None
        if found is None:
            return None
        key.check_same(found[0])
        return found[1]

    def _remember(self, key: RequestKey, name: str) -> None:
        if key.request_id:
            self.requests[key.project, key.method, key.request_id] = (key.digest, name, datetime.now(UTC))


class FakeFileStore:
    """ports.FileStore. `fail_after`: so many puts work, then the store is away."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.written: dict[str, datetime] = {}
        self.fail_after: int | None = None

    async def put(self, object_key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
        content = b"".join([chunk async for chunk in chunks])
        if self.fail_after is not None and len(self.objects) >= self.fail_after:
            raise Unavailable("The object store does not answer", reason="STORAGE_UNAVAILABLE")
        self.objects[object_key] = content
        self.written[object_key] = datetime.now(UTC)

    async def read(self, object_key: str, part: range | None = None) -> AsyncIterator[bytes]:
        if object_key not in self.objects:
            raise NotFound("The object does not exist", reason="OBJECT_NOT_FOUND")
        content = self.objects[object_key]
        if part is not None:
            content = content[part.start : part.stop]
        for start in range(0, len(content), 256 * 1024):
            yield content[start : start + 256 * 1024]

    async def delete(self, object_keys: Sequence[str]) -> None:
        for key in object_keys:
            self.objects.pop(key, None)
            self.written.pop(key, None)

    async def list_older_than(self, moment: datetime) -> AsyncIterator[str]:
        for key in [key for key, written in self.written.items() if written < moment]:
            yield key


class FakeEpochSource:
    """ports.EpochSource over epochs and file contents that a test puts in."""

    def __init__(self, *epochs: FinishedEpoch, contents: Mapping[str, bytes]) -> None:
        self.epochs = {epoch.name: epoch for epoch in epochs}
        self.contents = dict(contents)

    async def finished_epoch(self, name: str) -> FinishedEpoch:
        if name not in self.epochs:
            raise NotFound(f"{name} does not exist", field="epoch", reason="EPOCH_NOT_FOUND")
        return self.epochs[name]

    async def base_model(self, name: str) -> BaseModelFacts:
        if name != "baseModels/fiveshot-tiny":
            raise NotFound("No such base model", field="base_model", reason="BASE_MODEL_NOT_FOUND", remedy="List them.")
        return BaseModelFacts(name, "Tiny", "Apache-2.0")

    async def read_file(self, epoch: str, file: EpochFile) -> AsyncIterator[bytes]:
        content = self.contents[file.file_id]
        for start in range(0, len(content), 1000):
            yield content[start : start + 1000]
