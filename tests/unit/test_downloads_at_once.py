"""Downloads of a project at once, in each service that sends files: one too many is refused before its first byte."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from services.chassis.budgets import DOWNLOADS, AtOnce, Budgets
from services.chassis.byte_budget import ByteBudget
from services.chassis.errors import ResourceExhausted
from services.chassis.listing.pages import PageTokens
from services.dataset.models.checks import Limits
from services.dataset.use_cases.exports import ExportVerb, Layout
from services.dataset.use_cases.images import View
from services.dataset.use_cases.trained_pictures import Form, TrainedPictures
from services.registry.use_cases.versions import Versions
from tests.fakes.decoder import InlineDecoder
from tests.fakes.pictures import png
from tests.unit.dataset.conftest import SET, build
from tests.unit.registry.test_repositories import REX, Bench

Open = Callable[[], Awaitable[AsyncIterator[bytes]]]


def counted() -> AtOnce:
    """Two downloads at once, of project `acme` or `pets`."""
    return AtOnce(Budgets(lambda project: {DOWNLOADS.name: 2}), DOWNLOADS)


async def check(opened: Open, at_once: AtOnce, project: str) -> None:
    """Two are at work, the third is refused; who leaves and who has read to the end both make room."""
    first, second, third = [await opened() for _ in range(3)]
    assert await anext(first)
    assert await anext(second)
    assert at_once.of(project) == 2
    with pytest.raises(ResourceExhausted) as caught:
        await anext(third)
    error = caught.value
    assert (error.reason, error.metadata["budget"], error.field) == ("BUDGET_USED_UP", "downloads", "name")
    assert error.retry_after_s
    assert at_once.of("another") == 0
    await first.aclose()  # type: ignore[attr-defined]
    assert at_once.of(project) == 1
    async for _ in second:
        pass
    assert at_once.of(project) == 0
    assert b"".join([chunk async for chunk in await opened()])


@pytest.mark.parametrize("view", [View.ORIGINAL, View.THUMBNAIL, View.CROP])
async def test_pictures(view: View) -> None:
    service, at_once = build(Limits()), counted()
    await service.new_set()
    image = await service.add(data=png(64, 64, seed=1), name="a.png")
    budget = ByteBudget(total=1 << 20, per_project=1 << 20)
    verb = TrainedPictures(service.images, InlineDecoder(), budget, limits=Limits(), at_once=at_once)

    async def opened() -> AsyncIterator[bytes]:
        return (await verb.download(image.ref, Form(view))).chunks

    await check(opened, at_once, SET.project)


async def test_archives() -> None:
    service, at_once = build(Limits()), counted()
    await service.new_set()
    await service.add(data=png(64, 64, seed=1), name="a.png")
    version = await service.versions.create(SET, description="", request_id="")
    verb = ExportVerb(service.versions, service.images, at_once)

    async def opened() -> AsyncIterator[bytes]:
        return (await verb.open(version.ref, Layout.KOHYA)).chunks

    await check(opened, at_once, SET.project)


async def test_files_of_versions() -> None:
    bench, at_once = Bench(), counted()
    await bench.save()
    versions = Versions(bench.store, bench.files, PageTokens(), at_once)

    async def opened() -> AsyncIterator[bytes]:
        return (await versions.download(f"{REX}/versions/1", "kohya"))[1]

    await check(opened, at_once, "pets")
