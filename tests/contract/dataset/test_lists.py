"""Lists, filters and labels of datasets, the same on every store."""

from __future__ import annotations

import pytest

from services.chassis.listing.pages import Query
from services.dataset.models.names import DatasetRef
from services.dataset.models.resources import Dataset
from services.dataset.ports import DATASETS, DatasetStore
from tests.contract.dataset.rows import dataset
from tests.fakes.dataset import FakeDatasetStore
from tests.fixtures.lists import every_page, first_page

NAMES = ["beta", "Alpha", "alpha_1", "100%", "Ärger", "zebra", "alpha"]


@pytest.mark.parametrize("order_by", ["", "display_name", "display_name desc", "update_time, display_name desc"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        'display_name:"a"',
        "display_name >= alpha",
        "display_name:*",
        'display_name = "ALPHA"',
        'display_name = "*A"',
        'display_name = "a*h*" OR display_name = "Ä*"',
        'NOT (display_name:"a" AND display_name != "zebra")',
        'display_name = (beta OR "alpha*")',
        'display_name != "*a*" AND create_time > "0001-01-01T00:00:00Z"',
    ],
)
async def test_lists_are_the_same_on_every_store(store: DatasetStore, order_by: str, text: str) -> None:
    rows = [
        dataset(DatasetRef("acme", f"d-{index}"), minutes=index // 2, display_name=name)
        for index, name in enumerate([*NAMES, ""])
    ]
    async with store.write() as tx:
        for row in [*rows, dataset(DatasetRef("other", "d-0"), display_name="alpha")]:
            await tx.add_dataset(row)
    model = FakeDatasetStore()
    async with model.write() as tx:
        for row in rows:
            await tx.add_dataset(row)
    query = first_page(DATASETS, filter=text, order_by=order_by)
    async with model.read() as view:
        expected, count = await view.datasets("acme", query)
    async with store.read() as view:

        async def read(asked: Query) -> list[Dataset]:
            found, total = await view.datasets("acme", asked)
            assert total == count
            return found

        paged = await every_page(DATASETS, read, filter=text, order_by=order_by)
    assert [row.ref.dataset for row in paged] == [row.ref.dataset for row in expected]
    assert len(expected) == count > 0


async def test_wildcards_of_sql_in_a_filter_are_plain_letters(store: DatasetStore) -> None:
    async with store.write() as tx:
        for name in ("100%", "100 x", "a_b", "axb"):
            await tx.add_dataset(
                dataset(DatasetRef("acme", f"d{name[0]}{ord(name[1])}{ord(name[-1])}"), display_name=name)
            )
    for text, names in (
        ('display_name:"%"', ["100%"]),
        ('display_name:"_"', ["a_b"]),
        ('display_name = "*0%"', ["100%"]),
    ):
        async with store.read() as view:
            found, _ = await view.datasets("acme", first_page(DATASETS, filter=text))
            assert [row.fields.display_name for row in found] == names


async def test_labels_come_back_and_lists_are_filtered_by_them(store: DatasetStore) -> None:
    kept: dict[str, dict[str, str]] = {
        "a": {}, "b": {"team": "pets"}, "c": {"team": "Ärger", "note": 'it\'s "100%"'}, "d": {"note": ""},
    }  # fmt: skip
    async with store.write() as tx:
        for name, labels in kept.items():
            await tx.add_dataset(dataset(DatasetRef("acme", name), labels=labels))
    async with store.read() as view:
        for text, ids in (
            ("", "abcd"),
            ('labels.team = "pets"', "b"),
            ('labels.team != "pets"', "c"),
            ("NOT labels.team = pets", "acd"),
            ('labels.team:"Ä*"', "c"),
            ("labels:team", "bc"),
            ("labels.note:*", "cd"),
            ("-labels:*", "a"),
            ('labels.note = "it\'s \\"100%\\""', "c"),
            ('labels.note = ""', "d"),
            ("labels:team OR labels:note", "bcd"),
        ):
            found, total = await view.datasets("acme", first_page(DATASETS, filter=text))
            assert (sorted(one.ref.dataset for one in found), total) == (list(ids), len(ids)), text
            assert all(one.fields.labels == kept[one.ref.dataset] for one in found)


async def test_projects_are_counted_by_their_datasets(store: DatasetStore) -> None:
    async with store.read() as view:
        assert await view.projects() == {}
    async with store.write() as tx:
        for project, name in (("acme", "a"), ("acme", "b"), ("zoo", "a")):
            await tx.add_dataset(dataset(DatasetRef(project, name)))
    async with store.read() as view:
        assert await view.projects() == {"acme": 2, "zoo": 1}
