"""Names, captions, digests, masks, file names and texts: the pure rules."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from services.chassis.errors import DomainError, InvalidArgument
from services.dataset.models.checks import Limits, check_file_name, check_label, check_text
from services.dataset.models.names import (
    DatasetRef,
    ImageRef,
    VersionImageRef,
    VersionRef,
    parse_picture,
    parse_project,
)
from services.dataset.models.resources import Crop, Dataset, DatasetFields, Image, ImageFields, Picture
from services.dataset.models.tags import Tag
from services.dataset.models.update_masks import masked
from services.dataset.models.versions import contents_digest, frozen

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SET = DatasetRef("acme", "dogs")
PICTURE = Picture("a.png", "image/png", 64, 48, 1000, "a" * 64, "o/a", "t/a", 90)


def image(name: str = "img-1", position: int = 1, **fields: object) -> Image:
    ref = ImageRef(SET, name)
    return Image(ref, position, PICTURE, ImageFields(**fields), NOW, NOW)  # type: ignore[arg-type]


def dataset(**fields: object) -> Dataset:
    return Dataset(SET, DatasetFields(**fields), NOW, NOW)  # type: ignore[arg-type]


def test_names_round_trip() -> None:
    assert DatasetRef.parse(SET.name) == SET
    assert ImageRef.parse("projects/acme/datasets/dogs/images/img-1") == ImageRef(SET, "img-1")
    assert VersionRef.parse("projects/acme/datasets/dogs/versions/12") == VersionRef(SET, 12)
    pinned = VersionImageRef(VersionRef(SET, 3), "img-1")
    assert parse_picture(pinned.name) == pinned
    assert parse_picture(ImageRef(SET, "img-1").name) == ImageRef(SET, "img-1")
    assert parse_project("projects/acme") == "acme"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "projects/acme",
        "projects/acme/datasets/../versions/1",
        "projects/acme/datasets/dogs/versions/0",
        "projects/acme/datasets/dogs/versions/01",
        "projects/acme/datasets/dogs/versions/1/images/img-1",
        "projects/acme/datasets/dogs/versions/one",
    ],
)
def test_a_wrong_version_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        VersionRef.parse(name, field="parent")
    assert (caught.value.reason, caught.value.field) == ("NAME_INVALID", "parent")


def test_a_wrong_picture_name_is_refused() -> None:
    for name in ("projects/acme/datasets/dogs/versions/1/images/../x", "projects/acme/datasets/dogs/images/UP"):
        with pytest.raises(InvalidArgument):
            parse_picture(name)


def test_freezing_applies_trigger_word_and_repeats_and_counts() -> None:
    live = [image("img-1", 4, tags=(Tag("red"),)), image("img-2", 9, caption="a dog", num_repeats=3)]
    version, pinned = frozen(
        replace(dataset(trigger_word="sks", num_repeats=2), last_version=6), live, description="note", now=NOW
    )
    assert version.ref.name == "projects/acme/datasets/dogs/versions/7"
    assert (version.image_count, version.size_bytes, version.trigger_word) == (2, 2000, "sks")
    assert [i.fields.caption for i in pinned] == ["sks, red", "sks, a dog"]
    assert [i.fields.num_repeats for i in pinned] == [2, 3]
    assert [i.position for i in pinned] == [1, 2]
    assert pinned[0].ref.name == "projects/acme/datasets/dogs/versions/7/images/img-1"


def test_digest_is_of_contents_and_order_only() -> None:
    def digest(*images: Image, **fields: object) -> str:
        return frozen(dataset(**fields), images, description="", now=NOW)[0].digest

    one = image("img-1", caption="x")
    assert digest(one) == digest(image("img-9", 5, caption="x"))
    assert digest(one) == digest(image("img-1", caption="x", num_repeats=1))
    other = image("img-2", caption="y")
    changes = [
        digest(image("img-1", caption="z")),
        digest(image("img-1", caption="x", num_repeats=2)),
        digest(one, num_repeats=4),
        digest(one, trigger_word="sks"),
        digest(image("img-1", caption="x", crop=Crop(0, 0, 0.5, 1))),
        digest(one, other),
        digest(other, one),
        digest(replace(one, picture=replace(PICTURE, sha256="b" * 64))),
    ]
    assert len({digest(one), *changes}) == len(changes) + 1


def test_digest_is_the_documented_canonical_json() -> None:
    _, pinned = frozen(dataset(), [image(caption="schön", crop=Crop(-0.0, 0.25, 1, 1))], description="", now=NOW)
    text = '[{"caption":"schön","crop":[0.0,0.25,1.0,1.0],"num_repeats":1,"sha256":"' + "a" * 64 + '"}]'
    assert contents_digest(pinned) == hashlib.sha256(text.encode()).hexdigest()


def test_mask_names_fields_and_empty_means_what_is_set() -> None:
    current = DatasetFields("name", "text", "sks", 5)
    given = DatasetFields(display_name="new", num_repeats=0)
    assert masked(current, given, ()) == DatasetFields("new", "text", "sks", 5)
    assert masked(current, given, ("num_repeats", "trigger_word")) == DatasetFields("name", "text", "", 0)
    assert masked(current, given, ("*",)) == given


@pytest.mark.parametrize("path", ["name", "etag", "crop.left", "", "images"])
def test_an_unknown_mask_path_is_refused_with_the_field_and_what_is_allowed(path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        masked(ImageFields(), ImageFields(), ("caption", path))
    assert (caught.value.field, caught.value.reason) == ("update_mask", "UPDATE_MASK_INVALID")
    assert "caption, tags, crop, num_repeats" in caught.value.remedy


def test_a_change_to_the_same_fields_is_no_change() -> None:
    before = image(caption="x")
    assert before.changed(ImageFields(caption="x"), NOW) is before
    after = before.changed(ImageFields(caption="y"), NOW)
    assert (after.revision, after.etag != before.etag) == (2, True)


def test_a_new_dataset_of_the_same_name_has_another_etag() -> None:
    later = replace(dataset(), create_time=datetime(2026, 3, 2, tzinfo=UTC))
    assert later.etag != dataset().etag


def test_dataset_counters_follow_images() -> None:
    added = dataset().with_image(image(position=1)).with_image(image("img-2", 2))
    assert (added.image_count, added.size_bytes, added.last_position, added.revision) == (2, 2000, 2, 3)
    fewer = added.without_image(image("img-2", 2), NOW)
    assert (fewer.image_count, fewer.size_bytes, fewer.last_position) == (1, 1000, 2)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../dog.png", "FILE_NAME_INVALID"),
        ("a/dog.png", "FILE_NAME_INVALID"),
        ("C:\\dog.png", "FILE_NAME_INVALID"),
        ("..png", "FILE_NAME_INVALID"),
        (".png", "FILE_NAME_INVALID"),
        ("dog\x00.png", "FILE_NAME_INVALID"),
        ("dog\n.png", "FILE_NAME_INVALID"),
        ("dog\u202egpj.png", "FILE_NAME_INVALID"),
        ("\u200b.png", "FILE_NAME_INVALID"),
        (" dog.png", "FILE_NAME_INVALID"),
        ("dog", "IMAGE_TYPE_UNSUPPORTED"),
        ("dog.gif", "IMAGE_TYPE_UNSUPPORTED"),
        ("dog.png.exe", "IMAGE_TYPE_UNSUPPORTED"),
        ("dog.png.", "IMAGE_TYPE_UNSUPPORTED"),
    ],
)
def test_bad_file_names(name: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_file_name(name, Limits(), field="header.file_name")
    assert (caught.value.reason, caught.value.field) == (reason, "header.file_name")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "promised"),
    [("dog.png", "png"), ("DOG.JPG", "jpeg"), ("my dog (1).jpeg", "jpeg"), ("Hündin.v2.png", "png")],
)
def test_good_file_names(name: str, promised: str) -> None:
    assert check_file_name(name, Limits(), field="f") == promised


def test_the_operator_may_narrow_the_types() -> None:
    with pytest.raises(InvalidArgument, match="not an allowed type"):
        check_file_name("dog.jpg", Limits(extensions=("png",)), field="f")


@pytest.mark.parametrize(
    ("name", "remedy"), [("IMG_1.HEIC", "Most Compatible"), ("a.dng", "raw converter"), ("a.webp", "png, jpg, jpeg")]
)
def test_a_type_that_is_not_taken_is_refused_with_the_way_to_one_that_is(name: str, remedy: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check_file_name(name, Limits(), field="f")
    assert caught.value.reason == "IMAGE_TYPE_UNSUPPORTED"
    assert remedy in caught.value.remedy


def test_texts_lose_blanks_and_refuse_control_characters() -> None:
    assert check_text("  a\tb\n", field="f", lines=True) == "a\tb"
    for text in ("a\x00b", "a\x1bb"):
        with pytest.raises(InvalidArgument):
            check_text(text, field="f", lines=True)
    with pytest.raises(InvalidArgument, match=r"U\+000A"):
        check_text("two\nlines", field="f")
    for text in ("a\u202eb", "\u2068a\u2069"):
        with pytest.raises(InvalidArgument, match=r"U\+20"):
            check_text(text, field="f", lines=True)
    for text in ("\u200b", "\u200d\u200c", "\u0301"):
        with pytest.raises(InvalidArgument, match="nothing that can be seen"):
            check_text(text, field="f")
    assert check_text("👩\u200d🚀", field="f") == "👩\u200d🚀"


@pytest.mark.parametrize("label", ["", "   ", "_", "a\x00", "\u200b"])
def test_an_empty_label_is_refused(label: str) -> None:
    with pytest.raises(DomainError):
        check_label(label, field="f")
