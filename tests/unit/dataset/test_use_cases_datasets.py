"""The verbs on datasets, over the fakes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.chassis.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
)
from services.chassis.listing.pages import ListRequest
from services.dataset.models.resources import DatasetFields
from services.dataset.use_cases.datasets import NewDataset
from tests.unit.dataset.conftest import SET, Service


async def test_create_get_and_generated_ids(service: Service) -> None:
    made = await service.new_set(display_name=" Dogs ", trigger_word="sks")
    assert await service.datasets.get(SET) == made
    assert made.fields.display_name == "Dogs"
    other = await service.datasets.create(NewDataset("acme"))
    assert other.ref.dataset.startswith("ds-")


async def test_a_taken_name_is_refused(service: Service) -> None:
    await service.new_set()
    for validate_only in (False, True):
        with pytest.raises(AlreadyExists) as caught:
            await service.datasets.create(NewDataset("acme", "dogs", validate_only=validate_only))
        assert (caught.value.reason, caught.value.field) == ("DATASET_EXISTS", "dataset_id")


async def test_validate_only_stores_nothing(service: Service) -> None:
    made = await service.datasets.create(NewDataset("acme", "dogs", request_id="r", validate_only=True))
    assert made.ref == SET
    assert not service.store.state.datasets
    assert not service.store.state.requests


async def test_a_repeated_request_gives_the_first_answer(service: Service) -> None:
    wanted = NewDataset("acme", "", DatasetFields(display_name="Dogs"), request_id="r-1")
    first = await service.datasets.create(wanted)
    assert await service.datasets.create(wanted) == first
    assert len(service.store.state.datasets) == 1
    with pytest.raises(InvalidArgument) as caught:
        await service.datasets.create(replace(wanted, fields=DatasetFields(display_name="Cats")))
    assert caught.value.reason == "REQUEST_ID_REUSED"


async def test_update_with_mask_and_etag(service: Service) -> None:
    made = await service.new_set(display_name="Dogs", trigger_word="sks")
    changed = await service.datasets.update(SET, DatasetFields(num_repeats=3), (), made.etag)
    assert changed.fields == DatasetFields("Dogs", "", "sks", 3)
    assert changed.update_time > made.update_time
    with pytest.raises(Aborted) as caught:
        await service.datasets.update(SET, DatasetFields(num_repeats=4), (), made.etag)
    assert caught.value.reason == "ETAG_MISMATCH"
    assert (await service.datasets.get(SET)).fields.num_repeats == 3


async def test_an_update_that_changes_nothing_keeps_the_etag(service: Service) -> None:
    made = await service.new_set(display_name="Dogs")
    assert await service.datasets.update(SET, DatasetFields(display_name="Dogs"), (), "") == made


async def test_list_pages_with_filter_and_order(service: Service) -> None:
    for name in ("beta dog", "Alpha dog", "cat", "gamma DOG"):
        await service.datasets.create(NewDataset("acme", "", DatasetFields(display_name=name)))
    await service.datasets.create(NewDataset("other", "", DatasetFields(display_name="a dog")))
    query = ListRequest("projects/acme", page_size=2, filter='display_name:"Dog"', order_by="display_name")
    shown, token, total = await service.datasets.list(query)
    assert ([d.fields.display_name for d in shown], total) == (["Alpha dog", "beta dog"], 3)
    rest, end, _ = await service.datasets.list(replace(query, page_token=token))
    assert ([d.fields.display_name for d in rest], end) == (["gamma DOG"], "")
    newest, _, _ = await service.datasets.list(ListRequest("projects/acme"))
    assert newest[0].fields.display_name == "gamma DOG"
    with pytest.raises(InvalidArgument) as caught:
        await service.datasets.list(replace(query, page_token=token, filter=""))
    assert caught.value.field == "page_token"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (ListRequest("projects/acme", filter="colour = 1"), "filter"),
        (ListRequest("projects/acme", filter='display_name = "a\x00"'), "filter"),
        (ListRequest("projects/acme", order_by="size"), "order_by"),
        (ListRequest("projects/acme", page_token="bogus"), "page_token"),
    ],
)
async def test_bad_lists_name_the_field(service: Service, query: ListRequest, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        await service.datasets.list(query)
    assert caught.value.field == field


async def test_delete_takes_rows_and_bytes(service: Service) -> None:
    made = await service.new_set()
    await service.add(1)
    with pytest.raises(Aborted):
        await service.datasets.delete(SET, etag=made.etag, force=False)
    await service.datasets.delete(SET, etag="", force=False)
    assert not service.pictures.objects
    assert not service.store.state.keys
    with pytest.raises(NotFound):
        await service.datasets.get(SET)


async def test_delete_with_versions_needs_force(service: Service) -> None:
    await service.new_set()
    await service.add(1)
    await service.versions.create(SET, description="", request_id="")
    with pytest.raises(FailedPrecondition) as caught:
        await service.datasets.delete(SET, etag="", force=False)
    assert (caught.value.reason, caught.value.field) == ("DATASET_HAS_VERSIONS", "force")
    assert service.store.state.images
    await service.datasets.delete(SET, etag="", force=True)
    assert not service.store.state.version_images
    assert not service.pictures.objects
