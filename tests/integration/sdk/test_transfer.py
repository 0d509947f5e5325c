"""Pictures and files that the Python client moves, against a real server; both clients."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from fiveshot import AsyncClient, Client, errors
from fiveshot.connection import Patience
from fiveshot.transfers import PicturesRefused, UploadProgress

from tests.fakes.small_api import PICTURE, SmallApi, lost, small_api
from tests.fixtures.patience import until

QUICK = Patience(attempts=3, first_pause_s=0.001, longest_pause_s=0.01)
NAMES = [f"{number}.png" for number in range(6)]


@pytest.fixture
def api() -> Iterator[SmallApi]:
    with small_api() as made:
        yield made


@pytest.fixture
def client(api: SmallApi) -> Iterator[Client]:
    with Client(api.address, patience=QUICK) as made:
        yield made


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / name).write_bytes(name.encode() * 150_000)
    return tmp_path


def test_photos_travel_side_by_side_and_keep_their_order(api: SmallApi, client: Client, photos: Path) -> None:
    told: list[UploadProgress] = []
    (photos / "notes.md").touch()
    result = client.datasets.get("cat").upload(photos, on_progress=told.append)
    assert [each.path.name for each in result.passed_over] == ["notes.md"]
    assert [image.file_name for image in result.images] == NAMES
    assert [image.file_name for image in api.dataset.images] == NAMES
    assert (told[-1].done_files, told[-1].total_files, told[-1].sent_bytes, told[-1].total_bytes) == (
        6, 6, 6 * 750_000, 6 * 750_000,
    )  # fmt: skip
    assert [update.sent_bytes for update in told] == sorted(update.sent_bytes for update in told)


async def test_the_first_photo_is_slow_and_the_others_are_on_their_way(api: SmallApi, photos: Path) -> None:
    api.dataset.slow = NAMES[0]
    async with AsyncClient(api.address, patience=QUICK) as client:
        dataset = await client.datasets.get("cat")
        running = asyncio.create_task(dataset.upload(photos, parallel=3))
        await until(lambda: set(api.dataset.begun) == set(NAMES[:3]), what="three uploads to begin")
        assert api.dataset.images == []
        api.dataset.proceed.set()
        result = await running
    assert [image.file_name for image in api.dataset.images] == NAMES
    assert [image.file_name for image in result.images] == NAMES


async def test_without_their_order_the_others_pass_the_slow_one(api: SmallApi, photos: Path) -> None:
    api.dataset.slow = NAMES[0]
    async with AsyncClient(api.address, patience=QUICK) as client:
        dataset = await client.datasets.get("cat")
        running = asyncio.create_task(dataset.upload(photos, parallel=2, keep_order=False))
        await until(lambda: len(api.dataset.images) == 5, what="the others to be stored")
        api.dataset.proceed.set()
        result = await running
    assert [image.file_name for image in result.images] == NAMES


def test_refused_photos_are_named_once_the_rest_is_stored(api: SmallApi, client: Client, photos: Path) -> None:
    (photos / "bad.png").write_bytes(b"x")
    (photos / "z.webp").write_bytes(b"x")
    (photos / "held.png").write_bytes(b"x")
    (photos / "held.txt").write_text("as it is now")
    with pytest.raises(PicturesRefused) as raised:
        client.datasets.get("cat").upload(photos)
    error = raised.value
    assert error.message == "2 pictures were refused, 7 are stored; bad.png: It is damaged"
    assert (error.reason, error.remedy, error.field) == ("IMAGE_UNREADABLE", "Save it again.", "file_name")
    assert [each.error.reason for each in error.upload.refused] == ["IMAGE_UNREADABLE", "IMAGE_TYPE_UNSUPPORTED"]
    assert error.upload.differing == {photos / "held.png": ["caption"]}
    assert len(api.dataset.images) == 6
    again = client.datasets.get("cat").upload(photos / "held.png", update_captions=True, strict=False)
    assert again.updated == [photos / "held.png"]
    assert [(update.image.caption, list(update.update_mask.paths)) for update in api.dataset.updates] == [
        ("as it is now", ["caption"])
    ]


def test_an_error_that_would_meet_every_photo_ends_the_upload(api: SmallApi, client: Client, photos: Path) -> None:
    (photos / "0.png").rename(photos / "denied.png")
    with pytest.raises(errors.PermissionDenied):
        client.datasets.get("cat").upload([photos / "denied.png", *(photos / name for name in NAMES[1:])], parallel=1)
    assert api.dataset.images == []


def test_an_upload_whose_answer_was_lost_is_made_again_as_the_same_request(
    api: SmallApi, client: Client, photos: Path
) -> None:
    api.dataset.failures = [lost(), lost()]
    told: list[UploadProgress] = []
    client.datasets.get("cat").upload(photos, parallel=1, on_progress=told.append)
    assert [image.file_name for image in api.dataset.images] == NAMES
    assert (len(api.dataset.request_ids), len(set(api.dataset.request_ids))) == (8, 6)
    assert told[-1].sent_bytes == told[-1].total_bytes


def test_a_folder_that_is_not_there_or_holds_no_photo_is_named(client: Client, tmp_path: Path) -> None:
    dataset = client.datasets.get("cat")
    with pytest.raises(errors.NotFound, match="There is no file"):
        dataset.upload(tmp_path / "photos")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a.png").write_bytes(b"x")
    with pytest.raises(errors.NotFound, match="Set recursive to enter inside"):
        dataset.upload(tmp_path)
    assert len(dataset.upload(tmp_path, recursive=True).images) == 1


def test_lists_are_iterated_page_by_page(api: SmallApi, client: Client, photos: Path) -> None:
    dataset = client.datasets.get("cat")
    dataset.upload(photos)
    assert [image.file_name for image in dataset.images] == NAMES
    assert [image.file_name for image in dataset.images.first(3)] == NAMES[:3]
    assert len(dataset.images.all()) == dataset.image_count == 6


def test_a_download_gets_its_name_only_when_whole_and_right(api: SmallApi, client: Client, tmp_path: Path) -> None:
    photo = tmp_path / "up.png"
    photo.write_bytes(PICTURE)
    dataset = client.datasets.get("cat")
    dataset.upload(photo)
    image = dataset.images.all()[0]
    # The line breaks in the middle: it is begun again.
    api.dataset.failures = [lost()]
    folder = tmp_path / "down"
    folder.mkdir()
    saved = image.download(folder)
    assert (saved.path, saved.size, saved.sha256) == (
        folder / "up.png", len(PICTURE), hashlib.sha256(PICTURE).hexdigest(),
    )  # fmt: skip
    assert saved.path.read_bytes() == image.read() == PICTURE
    with pytest.raises(errors.AlreadyExists, match="already exists"):
        image.download(folder, overwrite=False)
    api.dataset.damaged = True
    with pytest.raises(errors.DataLoss):
        image.download(folder)
    with pytest.raises(errors.DataLoss):
        image.read()
    assert saved.path.read_bytes() == PICTURE
    assert [path.name for path in folder.iterdir()] == ["up.png"]
