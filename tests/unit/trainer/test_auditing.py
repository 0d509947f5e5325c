"""Each finding of an audit: when it is made, and the call that mends it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fiveshot.dataset.v1 import dataset_service_pb2
from fiveshot.tagger.v1 import tagger_service_pb2
from fiveshot.trainer.v1 import audit_pb2

from services.chassis.errors import FailedPrecondition
from services.trainer.models.audit import (
    Audit,
    CountBoth,
    CropToSubjects,
    RemoveTags,
    SetCrops,
    SetTriggerWord,
    Severity,
    ShortenTexts,
    Verdict,
)
from services.trainer.models.base import TextSource, TrainingImage, TrainingSet
from services.trainer.proto_mapping.audits import audit_to_proto
from services.trainer.recipe.plan import PictureSize
from services.trainer.use_cases.auditing import Auditor
from services.trainer.use_cases.base_models import BaseModels
from services.trainer.use_cases.creating import JobCreator
from services.trainer.use_cases.planning import Planner
from tests.unit.trainer.test_planning import MODEL, REQUEST
from tests.unit.trainer.verbs import NO_KEY, Verbs
from tests.unit.trainer.verbs import REQUEST as JOB

# Far from each other: no two differ in fewer than 16 bits.
HASHES = ["0" * 16, "f" * 16, "00000000ffffffff", "ffffffff00000000", "0000ffff0000ffff", "ffff0000ffff0000"]
AREA = (0.0, 0.1, 1.0, 0.9)


def image(number: int, **changes: object) -> TrainingImage:
    """A sharp square picture with a caption of its own."""
    plain = TrainingImage(
        PictureSize(800, 800), f"sks on a chair, scene {number}", f"{REQUEST.dataset}/images/img-{number}",
        f"{number}.jpg", TextSource.CAPTION, perceptual_hash=HASHES[number % len(HASHES)],
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def good(*others: TrainingImage) -> list[TrainingImage]:
    """Five pictures with nothing wrong; others stand in for the last ones."""
    return [image(number) for number in range(5 - len(others))] + list(others)


class Datasets:
    """One set of photos."""

    def __init__(self, data: TrainingSet) -> None:
        self.data = data

    async def look(self, name: str) -> TrainingSet:
        return self.data


async def audited(images: list[TrainingImage], *, trigger_word: str = "sks", **parameters: object) -> Audit:
    datasets = Datasets(TrainingSet("", "", trigger_word, tuple(images)))
    planner = Planner(BaseModels({MODEL.id: MODEL}), datasets, min_images=3)  # type: ignore[arg-type]
    return await Auditor(planner)(replace(REQUEST, parameters=parameters))


def kinds(found: Audit) -> list[str]:
    return [finding.kind for finding in found.findings]


async def test_a_good_set_is_ready() -> None:
    found = await audited(good())
    assert (found.findings, found.verdict, found.image_count) == ((), Verdict.READY, 5)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"perceptual_hash": "0" * 15 + "7"}, "near-duplicates"),
        ({"size": PictureSize(48, 48)}, "too-small"),
        ({"content_area": AREA}, "bars"),
        ({"size": PictureSize(800, 300)}, "crop-loss"),
        ({"facts": ("blank",)}, "blank"),
        ({"facts": ("blurry",)}, "blurry"),
        ({"facts": ("underexposed",)}, "underexposed"),
        ({"facts": ("overexposed",)}, "overexposed"),
        ({"caption": "sks " + "on a very long and winding road " * 4}, "caption-too-long"),
        ({"caption": "sks", "text_source": TextSource.NONE}, "uneven-captions"),
    ],
)
async def test_one_bad_picture_needs_attention_and_is_named(changes: dict[str, object], kind: str) -> None:
    bad = image(4, **changes)
    found = await audited(good(bad))
    assert [each for each in kinds(found) if each != "uneven-captions" or kind == each] == [kind]
    assert found.findings[0].images == (bad.name,)
    assert found.verdict is Verdict.NEEDS_ATTENTION


async def test_of_near_duplicates_the_one_with_the_most_pixels_stays() -> None:
    small = image(0, size=PictureSize(400, 400), perceptual_hash=HASHES[4])
    found = await audited([small, *(image(number) for number in range(1, 5))])
    assert [each.images for each in found.findings if each.kind == "near-duplicates"] == [(small.name,)]


@pytest.mark.parametrize(
    "worse",
    [
        {"size": PictureSize(800, 1300), "content_area": (0.0, 0.3, 1.0, 0.7)},
        {"size": PictureSize(1600, 1600), "facts": ("blurry",)},
        {"size": PictureSize(1600, 1600), "facts": ("overexposed",)},
    ],
)
async def test_of_near_duplicates_neither_bars_nor_blur_stay(worse: dict[str, object]) -> None:
    bad = image(0, perceptual_hash=HASHES[4], **worse)
    found = await audited([bad, *(image(number) for number in range(1, 5))])
    assert [each.images for each in found.findings if each.kind == "near-duplicates"] == [(bad.name,)]


async def test_too_few_pictures_beside_blank_ones_block() -> None:
    blank = [image(number, facts=("blank",)) for number in (2, 3, 4)]
    found = await audited([image(0), image(1), *blank])
    assert (found.findings[0].kind, found.verdict) == ("blank", Verdict.BLOCKED)


async def test_six_bits_apart_look_the_same_and_seven_do_not() -> None:
    six, seven = f"{0x3F:016x}", f"{0x7F:016x}"
    assert kinds(await audited(good(image(4, perceptual_hash=six)))) == ["near-duplicates"]
    assert kinds(await audited(good(image(4, perceptual_hash=seven)))) == []
    assert kinds(await audited(good(image(3, perceptual_hash=""), image(4, perceptual_hash="")))) == []


async def test_bars_that_a_crop_cuts_are_no_finding() -> None:
    crop = (0.0, 0.1, 1.0, 0.9)
    found = await audited(good(image(4, content_area=AREA, size=PictureSize(800, 1000, crop))))
    assert kinds(found) == []
    (finding,) = (await audited(good(image(4, content_area=AREA)))).findings
    assert finding.fix == SetCrops(((f"{REQUEST.dataset}/images/img-4", AREA),))


async def test_cutting_bars_keeps_the_crop_that_is_set() -> None:
    within = PictureSize(800, 1000, (0.2, 0.0, 0.8, 0.5))
    fix = (await audited(good(image(4, content_area=AREA, size=within)))).findings[0].fix
    assert fix == SetCrops(((image(4).name, (0.2, 0.1, 0.8, 0.5)),))


DATE = (0.6, 0.92, 0.98, 0.97)
MIDDLE = (0.3, 0.45, 0.7, 0.55)


async def test_what_is_written_at_a_side_is_cut_off_and_figures_on_the_subject_stay() -> None:
    (finding,) = (await audited(good(image(4, text_areas=(DATE, MIDDLE))))).findings
    assert (finding.kind, finding.fix) == ("text", SetCrops(((image(4).name, (0.0, 0.0, 1.0, 0.92)),)))
    assert kinds(await audited(good(image(4, text_areas=(MIDDLE,))))) == []
    cropped = PictureSize(800, 800, (0.0, 0.0, 1.0, 0.92))
    assert kinds(await audited(good(image(4, text_areas=(DATE,), size=cropped)), aspect_buckets=True)) == []


async def test_text_that_no_small_crop_gets_rid_of_is_left() -> None:
    around = (0.0, 0.0, 1.0, 0.14), (0.0, 0.86, 1.0, 1.0)
    assert kinds(await audited(good(image(4, text_areas=around)))) == []


async def test_the_same_writing_in_the_middle_of_several_pictures_is_a_watermark() -> None:
    marked = [image(number, text_areas=((0.3, 0.45, 0.7, 0.55 + number / 100),)) for number in range(3)]
    (finding,) = (await audited([*marked, image(3), image(4)])).findings
    assert (finding.kind, finding.images, finding.fix) == ("watermark", tuple(each.name for each in marked), None)
    assert kinds(await audited([*marked[:2], image(2), image(3), image(4)])) == []
    elsewhere = replace(marked[2], text_areas=((0.3, 0.65, 0.7, 0.75),))
    assert kinds(await audited([*marked[:2], elsewhere, image(3), image(4)])) == []


async def test_what_the_bucket_cuts_away_is_mended_by_a_crop_to_the_subject() -> None:
    (finding,) = (await audited(good(image(4, size=PictureSize(800, 300))))).findings
    assert finding.fix == CropToSubjects((image(4).name,), ((64, 64),))
    call = audit_to_proto(await audited(good(image(4, size=PictureSize(800, 300))))).findings[0].fix
    request = tagger_service_pb2.CropImagesRequest()
    assert call.request.Unpack(request)
    assert (call.method, [(each.width, each.height) for each in request.shapes]) == (
        "fiveshot.tagger.v1.TaggerService/CropImages", [(64, 64)],
    )  # fmt: skip


async def test_too_few_pictures_block_instead_of_an_error() -> None:
    found = await audited([image(0), image(1)])
    assert (kinds(found), found.verdict) == (["too-few"], Verdict.BLOCKED)
    assert (await audited([image(0), image(1), image(2)])).verdict is Verdict.NEEDS_ATTENTION


async def test_copies_block_when_too_few_others_are_left() -> None:
    same = [image(number, perceptual_hash=HASHES[0]) for number in range(1, 4)]
    assert (await audited([image(0), *same, image(4)])).verdict is Verdict.BLOCKED
    assert (await audited([image(0), image(1, perceptual_hash=HASHES[0]), image(2), image(3), image(4)])).verdict is (
        Verdict.NEEDS_ATTENTION
    )


async def test_a_set_that_is_mostly_far_too_small_blocks() -> None:
    tiny = [image(number, size=PictureSize(30, 30)) for number in range(3)]
    found = await audited([*tiny, image(3), image(4)])
    assert (kinds(found), found.verdict) == (["too-small"], Verdict.BLOCKED)
    assert (await audited([*tiny[:2], *good()[2:]])).verdict is Verdict.NEEDS_ATTENTION


@pytest.mark.parametrize(
    ("word", "kind", "fix"),
    [("Dog", "trigger-is-common", "dgx"), ("red cat", "trigger-is-common", "rdcx"), ("s12345", "trigger-splits", "sx")],
)
async def test_a_trigger_word_that_will_not_do_gets_another(word: str, kind: str, fix: str) -> None:
    (finding,) = (await audited(good(), trigger_word=word)).findings
    assert (finding.kind, finding.fix) == (kind, SetTriggerWord(fix))


async def test_the_tag_that_is_the_subject_may_stand_on_every_picture() -> None:
    tagged = tuple(image(number, tags=("Dog", "collar"), text_source=TextSource.TAGS) for number in range(5))
    datasets = Datasets(TrainingSet("", "", "sks", tagged, "dog"))
    found = await Auditor(Planner(BaseModels({MODEL.id: MODEL}), datasets, min_images=3))(REQUEST)  # type: ignore[arg-type]
    assert [each.fix for each in found.findings] == [RemoveTags(("collar",))]


async def test_a_missing_trigger_word_and_a_tag_on_all_are_notices() -> None:
    tagged = [image(number, tags=("dog", f"scene {number}"), text_source=TextSource.TAGS) for number in range(5)]
    found = await audited(tagged)
    assert (kinds(found), found.verdict) == (["tag-on-all"], Verdict.READY)
    assert found.findings[0].fix == RemoveTags(("dog",))
    without = await audited(good(), trigger_word="")
    assert [(each.kind, each.severity) for each in without.findings] == [("no-trigger-word", Severity.NOTICE)]


async def test_a_text_is_shortened_to_what_the_model_reads() -> None:
    long = "sks " + ", ".join(f"thing {number}" for number in range(30))
    finding = (await audited(good(image(4, caption=long)))).findings[0]
    assert isinstance(finding.fix, ShortenTexts)
    text = finding.fix.captions[image(4).name]
    assert long.startswith(text)
    assert kinds(await audited(good(image(4, caption=text)))).count("caption-too-long") == 0


async def test_too_many_tags_lose_the_last_ones_and_keep_what_they_are() -> None:
    labels = tuple(f"thing {number}" for number in range(40))
    stored = tuple(label.encode() for label in labels)
    tagged = image(
        4, caption="sks, " + ", ".join(labels), text_source=TextSource.TAGS, tags=labels, stored_tags=stored,
        caption_counts=False,
    )  # fmt: skip
    fix = (await audited(good(tagged))).findings[0].fix
    assert isinstance(fix, ShortenTexts)
    left = fix.tags[tagged.name]
    assert (fix.captions, left, 0 < len(left) < 40) == ({}, stored[: len(left)], True)
    shorter = replace(tagged, caption="sks, " + ", ".join(labels[: len(left)]), tags=labels[: len(left)])
    assert kinds(await audited(good(shorter))).count("caption-too-long") == 0


async def test_where_only_captions_count_tags_that_are_there_are_let_in() -> None:
    unused = image(4, caption="sks", text_source=TextSource.NONE, tags=("dog",), tags_unused=True, tags_count=False)
    (finding,) = (await audited(good(unused))).findings
    assert (finding.kind, finding.fix) == ("uneven-captions", CountBoth())
    (finding,) = (await audited(good(replace(unused, tags=())))).findings
    assert (finding.kind, finding.fix) == ("uneven-captions", None)


async def test_the_gravest_comes_first() -> None:
    found = await audited([image(0), image(1, facts=("blurry",))], trigger_word="")
    assert kinds(found) == ["too-few", "blurry", "no-trigger-word"]


async def test_each_fix_is_a_request_ready_to_be_sent() -> None:
    pictures = [
        image(0, content_area=AREA), image(1, perceptual_hash=HASHES[0], caption="sks", text_source=TextSource.NONE),
        image(2), image(3), image(4),
    ]  # fmt: skip
    message = audit_to_proto(await audited(pictures))
    fixes = {each.kind: each.fix for each in message.findings}
    assert message.verdict == audit_pb2.DatasetAudit.VERDICT_NEEDS_ATTENTION
    crops, deletes = dataset_service_pb2.BatchUpdateImagesRequest(), dataset_service_pb2.BatchDeleteImagesRequest()
    tags = tagger_service_pb2.TagImagesRequest()
    assert fixes["bars"].request.Unpack(crops)
    assert fixes["near-duplicates"].request.Unpack(deletes)
    assert fixes["uneven-captions"].request.Unpack(tags)
    assert (crops.parent, crops.requests[0].image.crop.top) == (REQUEST.dataset, 0.1)
    assert list(crops.requests[0].update_mask.paths) == ["crop"]
    assert [each.name for each in deletes.requests] == [pictures[0].name]
    assert (tags.parent, tags.dataset) == ("projects/acme", REQUEST.dataset)
    assert fixes["bars"].method == "fiveshot.dataset.v1.DatasetService/BatchUpdateImages"


async def test_a_blocked_dataset_is_refused_before_it_is_frozen_unless_told_to_go_on() -> None:
    verbs = Verbs()
    same = tuple(replace(each, perceptual_hash=HASHES[0]) for each in verbs.datasets.set.images)
    verbs.datasets.set = replace(verbs.datasets.set, images=same)
    planner = Planner(BaseModels({MODEL.id: MODEL}), verbs.datasets, min_images=3)
    strict = JobCreator(
        verbs.store, planner, verbs.reading, clock=verbs.clock, new_id=lambda prefix: f"{prefix}-1", memory=verbs.memory
    )
    for validate_only in (False, True):
        with pytest.raises(FailedPrecondition) as caught:
            await strict.create(JOB, NO_KEY, validate_only=validate_only)
        assert (caught.value.reason, caught.value.metadata["finding"]) == ("DATASET_BLOCKED", "near-duplicates")
        assert caught.value.violations[0].field == "training_job.dataset_version"
    assert verbs.datasets.pinned == []
    made = await strict.create(replace(JOB, ignore_audit=True), NO_KEY, validate_only=False)
    assert (made.job.image_count, len(verbs.datasets.pinned)) == (5, 1)
