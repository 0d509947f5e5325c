"""Uploads that try to take more than their share, through the running service."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from services.chassis import errors
from services.chassis.store_settings import S3Settings
from tests.fakes import pictures
from tests.fixtures.dataset import DatasetServer, running_dataset
from tests.fixtures.jpeg_writer import with_scans
from tests.fixtures.png_writer import png


async def outcome(server: DatasetServer, data: bytes, file_name: str) -> str:
    try:
        await server.upload(data, file_name=file_name, size_bytes=len(data))
    except errors.DomainError as error:
        return error.reason
    return "OK"


async def test_a_burst_is_answered_within_its_budget_and_the_next_upload_works(
    s3_settings: S3Settings, database_url: str
) -> None:
    limits = {"max_image_bytes": 900_000, "upload_budget_mib": 2, "project_upload_budget_mib": 1}
    async with running_dataset(s3_settings, database_url, **limits) as server:
        await server.new_set()
        files = [pictures.heavy_png(700_000) + bytes([number]) for number in range(30)]
        outcomes = Counter(await asyncio.gather(*(outcome(server, data, f"{i}.png") for i, data in enumerate(files))))
        assert set(outcomes) == {"OK", "BYTES_IN_FLIGHT"}
        stored = await server.stored()
        assert stored["images"] == outcomes["OK"]
        assert stored["objects"] == 2 * outcomes["OK"]
        assert await outcome(server, pictures.png(seed=99), "after.png") == "OK"


async def test_a_refused_burst_says_when_to_come_back(s3_settings: S3Settings, database_url: str) -> None:
    limits = {"max_image_bytes": 900_000, "upload_budget_mib": 1, "project_upload_budget_mib": 1}
    async with running_dataset(s3_settings, database_url, **limits) as server:
        await server.new_set()
        data = pictures.heavy_png(700_000)
        found = await asyncio.gather(
            *(server.upload(data + bytes([number]), file_name=f"{number}.png") for number in range(8)),
            return_exceptions=True,
        )
    refused = [error for error in found if isinstance(error, BaseException)]
    assert refused
    for error in refused:
        assert isinstance(error, errors.ResourceExhausted)
        assert error.retry_after_s == 1.0
        assert error.quotas[0].subject == "projects/acme"


@pytest.mark.parametrize(
    ("data", "file_name", "reason"),
    [
        (with_scans(1500), "scans.jpg", "IMAGE_TOO_COSTLY"),
        (png(color_type=3, with_palette=False), "no-palette.png", "IMAGE_UNREADABLE"),
        (b"RIFF\x24\0\0\0WEBPVP8 " + bytes(99), "web.png", "IMAGE_TYPE_MISMATCH"),
    ],
)
async def test_hostile_pictures_are_refused_and_leave_nothing(
    dataset_server: DatasetServer, data: bytes, file_name: str, reason: str
) -> None:
    await dataset_server.new_set()
    before = await dataset_server.stored()
    with pytest.raises(errors.InvalidArgument) as caught:
        await dataset_server.upload(data, file_name=file_name)
    assert (caught.value.reason, caught.value.field) == (reason, "chunk")
    assert caught.value.remedy
    assert await dataset_server.stored() == before
