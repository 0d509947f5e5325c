"""Who may touch which projects is what the list says, and no more."""

from __future__ import annotations

import pytest

from services.chassis import request_context
from services.chassis.listing.pages import ListRequest
from services.chassis.request_context import RequestContext
from services.dataset.models.names import DatasetRef
from tests.contract.dataset.rows import dataset
from tests.unit.dataset.conftest import Service


@pytest.fixture
async def filled(service: Service) -> Service:
    async with service.store.write() as tx:
        for project, name in (("acme", "a"), ("acme", "b"), ("rival", "a")):
            await tx.add_dataset(dataset(DatasetRef(project, name)))
    return service


@pytest.mark.parametrize(
    ("own", "found", "everything"),
    [
        ({"acme", "new"}, [("acme", 2), ("new", 0)], False),
        ({"*"}, [("acme", 2), ("rival", 1)], True),
        (None, [("acme", 2), ("rival", 1)], True),
        (set(), [], False),
    ],
)
async def test_the_projects_of_a_caller(
    filled: Service, own: set[str] | None, found: list[tuple[str, int]], everything: bool
) -> None:
    projects = None if own is None else frozenset(own)
    with request_context.use(RequestContext(projects=projects)):
        page = await filled.projects.list(ListRequest(parent=""))
    assert [(each.id, each.datasets) for each in page.projects] == found
    assert (page.total, page.all_projects, page.next_page_token) == (len(found), everything, "")


async def test_projects_come_page_by_page(filled: Service) -> None:
    with request_context.use(RequestContext(projects=frozenset({"c", "a", "b"}))):
        first = await filled.projects.list(ListRequest(parent="", page_size=2))
        rest = await filled.projects.list(ListRequest(parent="", page_size=2, page_token=first.next_page_token))
    assert [each.id for each in (*first.projects, *rest.projects)] == ["a", "b", "c"]
    assert rest.next_page_token == ""
