"""Base models by name: those of the catalogue, and those that a project has uploaded for itself."""

from __future__ import annotations

from collections.abc import Mapping

from services.chassis.errors import FailedPrecondition, InvalidArgument, NotFound
from services.chassis.names import project_of
from services.trainer.models.own_base_model import OwnBaseModel, OwnBaseModelState, not_found
from services.trainer.ports.base_models import BaseModelStore
from services.trainer.recipe.catalogue import BaseModel, derived


class BaseModels:
    """Finds them. own: None where projects have none of their own."""

    def __init__(self, catalogue: Mapping[str, BaseModel], own: BaseModelStore | None = None) -> None:
        self.catalogue = catalogue
        self._own = own

    @property
    def any_own(self) -> bool:
        """Whether projects may have some of their own."""
        return self._own is not None

    async def find(self, name: str, *, project: str, field: str) -> BaseModel:
        """The base model of a name, for a job of a project.

        Raises InvalidArgument for none, NotFound for one that is neither of the catalogue nor of the project, and
        FailedPrecondition(reason=BASE_MODEL_STATE) for one that is not ready.
        """
        if not name:
            offered = self._offered()
            raise InvalidArgument("No base model is given", field=field, remedy=f"Choose one of: {offered}.")
        found = self._of_catalogue(name)
        if found is not None:
            return found
        if self._own is None or not name.startswith("projects/"):
            raise self._unknown(name, field)
        if project_of(name) != project:
            raise not_found(name, field=field)
        try:
            own = await self._own.get(name)
        except NotFound as error:
            raise not_found(name, field=field) from error
        return self._ready(own, field)

    async def of(self, name: str) -> BaseModel | None:
        """The base model of something that exists already; None when it is gone."""
        found = self._of_catalogue(name)
        if found is not None or self._own is None or not name.startswith("projects/"):
            return found
        try:
            return self.made_from(await self._own.get(name))
        except NotFound:
            return None

    def made_from(self, own: OwnBaseModel) -> BaseModel | None:
        """A ready one as jobs take it; None when it is not, or the catalogue has lost what it is based on."""
        base = self._of_catalogue(own.based_on)
        if base is None or own.state is not OwnBaseModelState.READY:
            return None
        return derived(
            base, name=own.name, source=own.sha256, title=own.display_name, license=own.license, about=own.description
        )

    def candidates(self, own: OwnBaseModel) -> list[tuple[str, BaseModel]]:
        """Entries of the catalogue that an uploaded one may be made from, by their names."""
        return [
            (f"baseModels/{key}", entry)
            for key, entry in self.catalogue.items()
            if (f"baseModels/{key}" == own.based_on if own.based_on else entry.family in own.families)
        ]

    def _ready(self, own: OwnBaseModel, field: str) -> BaseModel:
        found = self.made_from(own)
        if found is not None:
            return found
        if own.state is OwnBaseModelState.READY:
            raise FailedPrecondition(
                f"The base model '{own.name}' is made from {own.based_on}, which is no longer on offer",
                field=field,
                reason="BASE_MODEL_STATE",
                remedy="Choose another one, or ask the operator for that entry of the catalogue.",
            )
        remedies = {
            OwnBaseModelState.UPLOADING: "Upload the rest of its file first.",
            OwnBaseModelState.CHECKING: "Wait until a worker has checked it.",
            OwnBaseModelState.FAILED: own.error.remedy if own.error else "Choose another one.",
        }
        why = f": {own.error.message}" if own.error else ""
        raise FailedPrecondition(
            f"The base model '{own.name}' is {own.state}{why}",
            field=field,
            reason="BASE_MODEL_STATE",
            remedy=remedies[own.state],
            metadata={"state": own.state.value},
        )

    def _of_catalogue(self, name: str) -> BaseModel | None:
        prefix, _, identifier = name.partition("/")
        return self.catalogue.get(identifier) if prefix == "baseModels" else None

    def _offered(self) -> str:
        return ", ".join(f"baseModels/{identifier}" for identifier in self.catalogue) or "none"

    def _unknown(self, name: str, field: str) -> NotFound:
        return NotFound(
            f"There is no base model '{name}'",
            field=field,
            reason="BASE_MODEL_NOT_FOUND",
            remedy=f"Choose one of: {self._offered()}.",
        )
