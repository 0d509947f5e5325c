"""The projects of a caller."""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis import request_context
from services.chassis.listing import memory
from services.chassis.listing.pages import Listing, ListRequest, Order, PageTokens
from services.chassis.request_context import ALL_PROJECTS
from services.dataset.ports import DatasetStore


@dataclass(frozen=True)
class Project:
    """A project, by its id, and how many datasets it holds."""

    id: str
    datasets: int


PROJECTS: Listing[Project] = Listing(
    "ListProjects",
    key=("id", str),
    default_order=[Order("id")],
    sortable={"id": str},
    read=lambda project, name: getattr(project, name),
)


@dataclass(frozen=True)
class ProjectPage:
    """A page. all_projects: the caller may touch others, too."""

    projects: list[Project]
    next_page_token: str
    total: int
    all_projects: bool


class ProjectVerbs:
    """ListProjects."""

    def __init__(self, store: DatasetStore, tokens: PageTokens) -> None:
        self._store = store
        self._tokens = tokens

    async def list(self, request: ListRequest) -> ProjectPage:
        """Those that the caller may touch; of a caller who may touch all, those that hold a dataset."""
        asked = PROJECTS.open(request, self._tokens)
        async with self._store.read() as view:
            counts = await view.projects()
        own = request_context.current().projects
        everything = own is None or ALL_PROJECTS in own
        ids = counts if own is None or everything else own
        rows, total = memory.page((Project(id, counts.get(id, 0)) for id in ids), asked.query, PROJECTS)
        found, token = asked.answer(rows)
        return ProjectPage(found, token, total, everything)
