"""Archives in and out over the fakes: what is right is kept, what is wrong is named, and a way out leads back in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.chassis.byte_budget import ByteBudget
from services.chassis.errors import DomainError, InvalidArgument, NotFound
from services.chassis.zip_archives import ArchiveLimits
from services.dataset.models.checks import Limits
from services.dataset.models.names import DatasetRef, VersionRef
from services.dataset.models.resources import Crop, ImageFields
from services.dataset.use_cases.datasets import NewDataset
from services.dataset.use_cases.exports import ExportVerb, Layout
from services.dataset.use_cases.imports import Imported, ImportHeader, ImportVerb
from tests.fakes.archives import BAD_ENTRIES, HOSTILE, pieces, unzipped, zipped
from tests.fakes.pictures import jpeg, png
from tests.unit.dataset.conftest import SET, Service, build

MIB = 1024 * 1024


def _verb(service: Service, **settings: int) -> ImportVerb:
    limits = ArchiveLimits(max_entries=50, max_total_bytes=10 * MIB)
    budget = ByteBudget(total=20 * MIB, per_project=20 * MIB)
    given = {"max_bytes": 10 * MIB, **settings}
    return ImportVerb(service.store, service.uploads, service.masks, budget, limits, service.clock, idle_s=5.0, **given)


async def _import(service: Service, data: bytes, *, dataset: DatasetRef = SET, **header: object) -> Imported:
    async def messages() -> AsyncIterator[ImportHeader | bytes]:
        yield ImportHeader(dataset, **header)  # type: ignore[arg-type]
        for piece in pieces(data):
            yield piece

    return await _verb(service).run(messages())


def _told(imported: Imported) -> list[tuple[str, str]]:
    return [(one.file_name, one.error.reason if one.error else "") for one in imported.outcomes]


async def test_an_archive_gives_its_pictures_with_captions_and_repeats(service: Service) -> None:
    await service.new_set(trigger_word="sks")
    archive = zipped(
        {
            "photos/": b"",
            "photos/5_sks cat/B.PNG": png(seed=1),
            "photos/5_sks cat/b.TXT": "a cät\n".encode(),
            "photos/c.jfif": jpeg(seed=2),
            "photos/c.caption": b"\xef\xbb\xbfanother",
            "photos/bad.png": b"GIF89a",
            "photos/notes.md": b"x",
            "photos/lost.txt": b"x",
            "__MACOSX/photos/._c.jfif": b"x",
            "photos/.DS_Store": b"x",
            "metadata.jsonl": b'{"file_name": "photos/gone.png", "text": "x"}\n',
        }
    )
    imported = await _import(service, archive)
    assert _told(imported) == [
        ("photos/bad.png", "IMAGE_TYPE_MISMATCH"), ("photos/c.jfif", ""), ("photos/5_sks cat/B.PNG", ""),
    ]  # fmt: skip
    error = imported.outcomes[0].error
    assert error
    assert (error.field, bool(error.remedy)) == ("content", True)
    images = [one.image for one in imported.outcomes if one.image]
    assert [(each.picture.file_name, each.fields.caption, each.fields.num_repeats) for each in images] == [
        ("c.jpg", "another", 0), ("B.PNG", "a cät", 5),
    ]  # fmt: skip
    assert imported.words == ["sks cat"]
    assert {str(path): why.name for path, why in imported.passed_over} == {
        "photos/notes.md": "OTHER", "photos/lost.txt": "CAPTION", "photos/gone.png": "LINE",
        "__MACOSX/photos/._c.jfif": "HIDDEN", "photos/.DS_Store": "HIDDEN",
    }  # fmt: skip


async def test_captions_and_repeats_can_be_left_out(service: Service) -> None:
    await service.new_set()
    archive = zipped({"5_cat/a.png": png(), "5_cat/a.txt": b"\xff", "metadata.jsonl": b"no json"})
    imported = await _import(service, archive, captions=False, folder_repeats=False)
    assert [one.image.fields for one in imported.outcomes if one.image] == [ImageFields()]


async def test_names_that_do_not_say_that_they_are_utf8_are_read_as_such(service: Service) -> None:
    await service.new_set()
    archive = zipped({"kaXXtze.png": png()}).replace(b"kaXXtze", "kä".encode() + b"\xc3\xa4tze"[:4])
    assert _told(await _import(service, archive)) == [("käätz.png", "")]


@pytest.mark.parametrize("name", HOSTILE)
async def test_an_archive_that_is_not_plain_is_refused_whole(service: Service, name: str) -> None:
    await service.new_set()
    data, reason = HOSTILE[name]
    with pytest.raises(InvalidArgument) as refused:
        await _import(service, data(), request_id="r")
    assert (refused.value.reason, bool(refused.value.remedy)) == (reason, True)
    assert refused.value.field in ("content", "caption")
    assert service.nothing_stored()


@pytest.mark.parametrize("name", BAD_ENTRIES)
async def test_an_entry_that_is_not_plain_is_named_and_the_rest_is_kept(name: str) -> None:
    service = build(Limits(max_image_bytes=8 * 1024))
    await service.new_set()
    data, reason = BAD_ENTRIES[name]
    [(told, found)] = _told(await _import(service, data()))
    assert found == reason
    assert told.rpartition(".")[2] in ("png", "webp", "zip")
    assert service.nothing_stored()


async def test_a_picture_beside_a_bad_one_is_kept(service: Service) -> None:
    await service.new_set()
    inner = zipped({"a.png": png(seed=1)})
    archive = zipped({"good.png": png(seed=2), "inner.zip": inner, "same.png": png(seed=2)})
    assert _told(await _import(service, archive)) == [
        ("good.png", ""), ("same.png", "IMAGE_DUPLICATE"), ("inner.zip", "ARCHIVE_NESTED"),
    ]  # fmt: skip


async def test_a_changed_caption_is_named_and_taken_over_when_that_is_wanted(service: Service) -> None:
    await service.new_set()
    kept, changed = await service.add(1, caption="a cat"), await service.add(2, caption="old")
    archive = zipped(
        {
            "1.png": png(seed=1), "1.txt": b"a cat", "3_cat/2.PNG": png(seed=2), "3_cat/2.caption": b"new",
            "silent/1.jpg": jpeg(seed=9),
        }
    )  # fmt: skip
    first = await _import(service, archive)
    told = {one.file_name: (one.error and one.error.reason, one.differing, one.updated) for one in first.outcomes}
    assert told == {
        "1.png": ("IMAGE_DUPLICATE", (), False),
        "3_cat/2.PNG": ("IMAGE_DUPLICATE", ("caption", "num_repeats"), False),
        "silent/1.jpg": (None, (), False),
    }
    assert (await service.images.get(changed.ref)).fields.caption == "old"
    second = await _import(service, archive, update_present=True)
    updated = {one.file_name: one.image for one in second.outcomes if one.updated}
    assert list(updated) == ["3_cat/2.PNG"]
    stored = await service.images.get(changed.ref)
    assert (updated["3_cat/2.PNG"], stored.fields.caption, stored.fields.num_repeats) == (stored, "new", 3)
    assert await service.images.get(kept.ref) == kept
    third = await _import(service, archive, update_present=True)
    assert not any(one.differing or one.updated or one.image for one in third.outcomes)


async def test_of_a_picture_that_comes_twice_the_first_one_counts(service: Service) -> None:
    await service.new_set()
    archive = zipped({"a.png": png(seed=1), "a.txt": b"one", "b.png": png(seed=1), "b.txt": b"two"})
    imported = await _import(service, archive, update_present=True)
    assert [(one.file_name, one.differing, one.updated) for one in imported.outcomes] == [
        ("a.png", (), False), ("b.png", ("caption",), False),
    ]  # fmt: skip
    (image,) = service.store.state.images.values()
    assert image.fields.caption == "one"


async def test_a_full_dataset_takes_what_it_has_room_for() -> None:
    service = build(Limits(max_images=2))
    await service.new_set()
    told = _told(await _import(service, zipped({f"{n}.png": png(seed=n) for n in range(3)})))
    assert told == [("0.png", ""), ("1.png", ""), ("2.png", "DATASET_FULL")]


async def test_a_repeated_import_gives_the_same_images_and_another_is_refused(service: Service) -> None:
    await service.new_set()
    archive = zipped({"a.png": png(seed=1), "b.png": png(seed=2), "c.png": b"x"})
    first = await _import(service, archive, request_id="r" * 100)
    again = await _import(service, archive, request_id="r" * 100)
    assert [one.image for one in again.outcomes] == [one.image for one in first.outcomes]
    with pytest.raises(InvalidArgument) as refused:
        await _import(service, zipped({"a.png": png(seed=3)}), request_id="r" * 100)
    assert refused.value.reason == "REQUEST_ID_REUSED"
    assert len(service.store.state.images) == 2


async def test_an_import_that_broke_off_goes_on(service: Service) -> None:
    await service.new_set()
    archive = zipped({"a.png": png(seed=1), "b.png": png(seed=2)})
    service.pictures.fail_put_number = 3
    with pytest.raises(DomainError):
        await _import(service, archive, request_id="r")
    assert len(service.store.state.images) == 1
    assert _told(await _import(service, archive, request_id="r")) == [("a.png", ""), ("b.png", "")]


async def test_what_is_announced_is_held_to(service: Service) -> None:
    await service.new_set()
    with pytest.raises(InvalidArgument) as refused:
        await _import(service, zipped({"a.png": png()}), sha256="0" * 64)
    assert refused.value.reason == "ARCHIVE_DIGEST_MISMATCH"
    with pytest.raises(InvalidArgument) as refused:
        await _import(service, bytes(10 * MIB + 1))
    assert (refused.value.reason, refused.value.metadata["limit_bytes"]) == ("ARCHIVE_TOO_LARGE", str(10 * MIB))
    with pytest.raises(NotFound):
        await _import(service, b"", dataset=DatasetRef("acme", "absent"))
    assert service.nothing_stored()


@pytest.mark.parametrize("layout", Layout)
async def test_an_export_imports_to_the_same_digest(service: Service, layout: Layout) -> None:
    await service.new_set(trigger_word="a/b: sks", num_repeats=3)
    crop = Crop(0.1, 0.2, 1 / 3, 0.9)
    names = ["z.png", "Z.jpg", "z.png", 'a"<>.png', "ä b.png", "caption.png"]
    for seed, name in enumerate(names):
        data = jpeg(seed=seed) if name.endswith("jpg") else png(seed=seed)
        image = await service.add(data=data, name=name, caption="" if seed == 5 else f"line\r\n{seed} “x”")
        if seed % 2:
            fields = ImageFields(crop=crop, num_repeats=seed)
            await service.images.update(image.ref, fields, ("crop", "num_repeats"), "")
    version = await service.versions.create(SET, description="", request_id="")
    exports = ExportVerb(service.versions, service.images)
    download = await exports.open(version.ref, layout)
    data = b"".join([chunk async for chunk in download.chunks])
    assert (len(data), download.file_name) == (download.size_bytes, f"dogs-v1-{layout}.zip")
    files = unzipped(data)
    assert len({name.casefold() for name in files}) == len(files)
    if layout is Layout.KOHYA:
        assert {"3_a_b_ sks/z.png", "1_a_b_ sks/Z-2.jpg", "3_a_b_ sks/z-3.png", "3_a_b_ sks/z.txt"} <= set(files)

    other = DatasetRef("acme", "copy")
    await service.datasets.create(NewDataset("acme", "copy"))
    imported = await _import(service, data, dataset=other)
    assert all(one.image for one in imported.outcomes), _told(imported)
    assert not imported.passed_over
    copy = await service.versions.create(other, description="", request_id="")
    assert copy.digest == version.digest


async def test_an_export_of_nothing_and_of_lost_bytes_ends_with_an_error(service: Service) -> None:
    await service.new_set()
    image = await service.add()
    version = await service.versions.create(SET, description="", request_id="")
    exports = ExportVerb(service.versions, service.images)
    with pytest.raises(NotFound):
        await exports.open(VersionRef(SET, 9), Layout.KOHYA)
    download = await exports.open(version.ref, Layout.KOHYA)
    del service.pictures.objects[image.picture.original_key]
    with pytest.raises(DomainError, match="are not what was uploaded"):
        async for _ in download.chunks:
            pass
