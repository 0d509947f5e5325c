"""UploadImage over the fakes: what is taken, what is refused, and that a refusal leaves nothing behind."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from services.chassis.byte_budget import ByteBudget
from services.chassis.errors import (
    AlreadyExists,
    DeadlineExceeded,
    DomainError,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.dataset.models.checks import Limits
from services.dataset.models.tags import Tag
from services.dataset.use_cases.uploads import UploadHeader
from tests.fakes import pictures
from tests.fixtures.patience import until
from tests.unit.dataset.conftest import SET, Service, build, upload

PNG = pictures.png()
LIMIT = Limits().max_image_bytes


async def test_a_picture_is_stored_with_what_its_bytes_say(service: Service) -> None:
    await service.new_set()
    data = pictures.jpeg(80, 40, orientation=6)
    image = await service.add(
        data=data, name="dog.JPG", size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest(),
        caption=" a dog ", tags=("Red", "dog"),
    )  # fmt: skip
    picture = image.picture
    assert (picture.content_type, picture.width, picture.height) == ("image/jpeg", 40, 80)
    assert (picture.size_bytes, picture.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert (image.fields.caption, image.fields.tags) == ("a dog", (Tag("Red"), Tag("dog")))
    assert picture.original_key == f"datasets/acme/dogs/originals/{picture.sha256}/{image.ref.image}"
    assert service.pictures.objects[picture.original_key] == data
    dataset = await service.datasets.get(SET)
    assert (dataset.image_count, dataset.size_bytes) == (1, len(data))
    assert not service.store.state.keys


BAD_FILES: list[tuple[str, str, Callable[[], bytes], str, str]] = [
    ("zero bytes", "a.png", lambda: b"", "IMAGE_EMPTY", "chunk"),
    ("jpeg named png", "a.png", pictures.jpeg, "IMAGE_TYPE_MISMATCH", "chunk"),
    ("png named jpg", "a.jpg", pictures.png, "IMAGE_TYPE_MISMATCH", "chunk"),
    ("gif named png", "a.png", pictures.gif, "IMAGE_TYPE_MISMATCH", "chunk"),
    ("text named jpg", "a.jpg", lambda: b"hello" * 100, "IMAGE_TYPE_MISMATCH", "chunk"),
    ("gif", "a.gif", pictures.gif, "IMAGE_TYPE_UNSUPPORTED", "header.file_name"),
    ("truncated jpeg", "a.jpg", lambda: pictures.jpeg()[:-200], "IMAGE_UNREADABLE", "chunk"),
    ("truncated png", "a.png", lambda: pictures.png()[:-400], "IMAGE_UNREADABLE", "chunk"),
    ("only a signature", "a.png", lambda: PNG[:8], "IMAGE_UNREADABLE", "chunk"),
    ("400 MP", "a.png", lambda: pictures.png_of_declared_size(20_000, 20_000), "IMAGE_TOO_MANY_PIXELS", "chunk"),
    ("tiny", "a.png", lambda: pictures.png(8, 200), "IMAGE_TOO_SMALL", "chunk"),
    ("6 MB", "a.png", lambda: pictures.heavy_png(6 * 1024 * 1024), "IMAGE_TOO_LARGE", "chunk"),
    ("path", "../a.png", pictures.png, "FILE_NAME_INVALID", "header.file_name"),
]


@pytest.mark.parametrize(("what", "name", "data", "reason", "field"), BAD_FILES, ids=[case[0] for case in BAD_FILES])
async def test_bad_files_are_refused_whole(
    service: Service, what: str, name: str, data: Callable[[], bytes], reason: str, field: str
) -> None:
    await service.new_set()
    with pytest.raises(InvalidArgument) as caught:
        await service.add(data=data(), name=name, request_id="r")
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert caught.value.remedy
    assert service.nothing_stored()


async def test_a_file_of_exactly_the_limit_is_taken(service: Service) -> None:
    await service.new_set()
    padding = LIMIT - len(pictures.heavy_png(0))
    exact = pictures.heavy_png(padding)
    assert len(exact) == LIMIT
    assert (await service.add(data=exact)).picture.size_bytes == LIMIT


@pytest.mark.parametrize(
    ("header", "reason", "field"),
    [
        ({"size_bytes": LIMIT + 1}, "IMAGE_TOO_LARGE", "header.size_bytes"),
        ({"size_bytes": len(PNG) + 1}, "IMAGE_INCOMPLETE", "header.size_bytes"),
        ({"size_bytes": len(PNG) - 1}, "IMAGE_INCOMPLETE", "header.size_bytes"),
        ({"sha256": "0" * 64}, "IMAGE_DIGEST_MISMATCH", "header.sha256"),
        ({"caption": "a\x00"}, "TEXT_INVALID", "header.caption"),
        ({"tags": ("ok", " ")}, "LABEL_EMPTY", "header.tags"),
    ],
)
async def test_bad_headers_are_refused_whole(
    service: Service, header: dict[str, object], reason: str, field: str
) -> None:
    await service.new_set()
    with pytest.raises(InvalidArgument) as caught:
        await service.uploads.upload(upload(PNG, **header))  # type: ignore[arg-type]
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert service.nothing_stored()


async def test_what_the_header_already_shows_is_refused_before_the_bytes_are_read(service: Service) -> None:
    await service.new_set()
    read: list[int] = []

    async def stream(**header: object) -> AsyncIterator[UploadHeader | bytes]:
        yield UploadHeader(SET, **header)  # type: ignore[arg-type]
        read.append(1)
        yield PNG

    await service.uploads.upload(stream(file_name="a.png"))
    read.clear()
    wrong: list[dict[str, object]] = [
        {"file_name": "a.gif"},
        {"file_name": "a.png", "size_bytes": LIMIT + 1},
        {"file_name": "a.png", "sha256": hashlib.sha256(PNG).hexdigest()},
    ]
    for header in wrong:
        with pytest.raises(DomainError):
            await service.uploads.upload(stream(**header))
    assert not read


async def test_the_order_of_messages(service: Service) -> None:
    await service.new_set()

    async def stream(*messages: UploadHeader | bytes) -> AsyncIterator[UploadHeader | bytes]:
        for message in messages:
            yield message

    header = UploadHeader(SET, "a.png")
    for messages, reason in (
        ((), "UPLOAD_HEADER_MISSING"),
        ((PNG,), "UPLOAD_HEADER_MISSING"),
        ((header, PNG, header), "UPLOAD_HEADER_REPEATED"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            await service.uploads.upload(stream(*messages))
        assert caught.value.reason == reason
    assert service.nothing_stored()


async def test_an_unknown_dataset(service: Service) -> None:
    with pytest.raises(NotFound):
        await service.add(1)
    assert service.nothing_stored()


async def test_the_same_bytes_twice_name_the_existing_image(service: Service) -> None:
    await service.new_set()
    first = await service.add(data=PNG, name="first.png")
    with pytest.raises(AlreadyExists) as caught:
        await service.add(data=PNG, name="second.png")
    assert (caught.value.reason, caught.value.metadata["image"]) == ("IMAGE_DUPLICATE", first.ref.name)
    assert "first.png" in caught.value.message
    assert len(service.pictures.objects) == 2
    assert (await service.datasets.get(SET)).image_count == 1


async def test_of_two_equal_uploads_at_once_one_wins_and_its_bytes_stay(service: Service) -> None:
    await service.new_set()
    results = await asyncio.gather(*(service.add(data=PNG, name=f"{i}.png") for i in range(4)), return_exceptions=True)
    images = [result for result in results if not isinstance(result, BaseException)]
    assert len(images) == 1
    assert all(isinstance(result, AlreadyExists) for result in results if isinstance(result, BaseException))
    assert set(service.pictures.objects) == set(images[0].picture.keys)
    assert not service.store.state.keys


async def test_the_image_after_the_last_is_refused_also_when_many_race() -> None:
    service = build(Limits(max_images=3))
    await service.new_set()
    results = await asyncio.gather(*(service.add(seed) for seed in range(6)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, BaseException)]
    assert len(refused) == 3
    assert all(isinstance(error, ResourceExhausted) and error.reason == "DATASET_FULL" for error in refused)
    assert (await service.datasets.get(SET)).image_count == 3
    assert len(service.store.state.images) == 3
    assert len(service.pictures.objects) == 6
    with pytest.raises(ResourceExhausted) as caught:
        await service.add(9)
    assert caught.value.metadata["limit"] == "3"


async def test_a_repeated_request_gives_the_first_answer_even_in_a_full_dataset() -> None:
    service = build(Limits(max_images=1))
    await service.new_set()
    first = await service.add(1, request_id="r-1")
    assert await service.add(1, request_id="r-1") == first
    with pytest.raises(InvalidArgument) as caught:
        await service.add(2, request_id="r-1")
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert set(service.pictures.objects) == set(first.picture.keys)


async def test_equal_requests_at_once_give_one_image(service: Service) -> None:
    await service.new_set()
    images = await asyncio.gather(*(service.add(1, request_id="r-1") for _ in range(4)))
    assert len({image.ref for image in images}) == 1
    assert set(service.pictures.objects) == set(images[0].picture.keys)
    assert not service.store.state.keys


@pytest.mark.parametrize("put", [1, 2])
async def test_a_failed_write_of_bytes_leaves_nothing(service: Service, put: int) -> None:
    await service.new_set()
    service.pictures.fail_put_number = put
    with pytest.raises(Unavailable):
        await service.add(1)
    assert service.nothing_stored()


async def test_bytes_without_a_row_are_swept_once_their_time_is_over(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.new_set()

    put = service.pictures.put

    async def last(key: str, data: bytes, *, content_type: str) -> None:
        await put(key, data, content_type=content_type)
        service.store.broken = len(service.pictures.objects) == 2

    # The database goes away between the bytes and the row, and stays away for the clean-up.
    monkeypatch.setattr(service.pictures, "put", last)
    with pytest.raises(Unavailable):
        await service.add(1)
    service.store.broken = False
    assert len(service.pictures.objects) == 2
    assert await service.upkeep.sweep() == 0
    service.clock.now += timedelta(minutes=20)
    assert await service.upkeep.sweep() == 2
    assert service.nothing_stored()


async def test_an_upload_whose_place_was_swept_is_refused_and_leaves_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.new_set()
    put = service.pictures.put

    async def slow(key: str, data: bytes, *, content_type: str) -> None:
        await put(key, data, content_type=content_type)
        service.clock.now += timedelta(minutes=20)
        await service.upkeep.sweep()

    monkeypatch.setattr(service.pictures, "put", slow)
    with pytest.raises(DomainError) as caught:
        await service.add(1)
    assert caught.value.reason == "UPLOAD_TOO_SLOW"
    assert not service.store.state.images


async def test_a_stream_that_stalls_is_given_up() -> None:
    service = build(Limits(), idle_s=0.05)
    await service.new_set()

    async def stream() -> AsyncIterator[UploadHeader | bytes]:
        yield UploadHeader(SET, "a.png")
        yield PNG[:20]
        await asyncio.Event().wait()

    with pytest.raises(DeadlineExceeded) as caught:
        await service.uploads.upload(stream())
    assert caught.value.reason == "UPLOAD_STALLED"
    assert service.nothing_stored()


async def test_a_caller_that_goes_away_midway_leaves_nothing(service: Service) -> None:
    await service.new_set()
    started = asyncio.Event()

    async def stream() -> AsyncIterator[UploadHeader | bytes]:
        yield UploadHeader(SET, "a.png")
        yield PNG[:20]
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(service.uploads.upload(stream()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert service.nothing_stored()


async def test_a_caller_that_goes_away_while_storing_leaves_all_or_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    await service.new_set()
    storing, go_on = asyncio.Event(), asyncio.Event()
    put = service.pictures.put

    async def slow(key: str, data: bytes, *, content_type: str) -> None:
        storing.set()
        await go_on.wait()
        await put(key, data, content_type=content_type)

    monkeypatch.setattr(service.pictures, "put", slow)
    task = asyncio.create_task(service.uploads.upload(upload(PNG)))
    await storing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    await until(lambda: bool(service.store.state.images))
    assert len(service.pictures.objects) == 2
    assert not service.store.state.keys


async def test_upkeep_goes_on_after_an_outage_and_forgets_old_requests(service: Service) -> None:
    await service.new_set()
    await service.add(1, request_id="r-1")
    service.store.broken = True
    running = asyncio.create_task(service.upkeep.run(interval_s=0.01))
    await until(lambda: service.store.refused >= 2)
    assert not running.done()
    service.store.broken = False
    service.clock.now += timedelta(days=4000)
    await until(lambda: not service.store.state.requests)
    running.cancel()
    assert len(service.store.state.images) == 1


async def test_uploads_over_the_budget_are_refused_and_store_nothing() -> None:
    budget = ByteBudget(total=1000, per_project=len(PNG) - 1)
    service = build(Limits(), budget=budget)
    await service.new_set()
    for announced in (len(PNG), 0):
        with pytest.raises(ResourceExhausted) as caught:
            await service.uploads.upload(upload(PNG, size_bytes=announced))
        assert caught.value.reason == "BYTES_IN_FLIGHT"
        assert caught.value.retry_after_s
    assert service.nothing_stored()
    assert budget.in_flight == 0


async def test_the_budget_is_whole_again_after_uploads_of_every_end() -> None:
    budget = ByteBudget(total=1 << 20, per_project=1 << 20)
    service = build(Limits(), budget=budget)
    await service.new_set()
    await service.uploads.upload(upload(PNG))
    for data in (PNG, PNG[:100], b"nonsense"):
        with pytest.raises(DomainError):
            await service.uploads.upload(upload(data))
    assert budget.in_flight == 0
