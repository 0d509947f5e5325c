"""The tagger over real gRPC, with a real dataset service and its stores."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from google.protobuf.field_mask_pb2 import FieldMask
from PIL import Image, ImageDraw, ImageFont, ImageOps

from services.chassis import request_context
from services.chassis.errors import (
    Aborted,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from services.chassis.request_context import RequestContext
from tests.fakes.photographs import photo_of_a_clock
from tests.integration.tagger.conftest import DATASET, Suite, disc

TagJob, TagOptions = tagger_pb2.TagJob, tagger_pb2.TagOptions


def labels(image: dataset_pb2.Image) -> list[str]:
    return [tag.label for tag in image.tags]


async def test_a_dataset_is_tagged_with_measured_tags_and_their_origin(suite: Suite) -> None:
    red, blue = await suite.upload("red", "a.png"), await suite.upload("blue", "b.png")
    states = await suite.states(await suite.start(options=TagOptions(prepend_trigger_word=True)))
    job = states[-1]
    assert (job.state, job.total_images, job.tagged_images, job.failed_images) == (TagJob.STATE_SUCCEEDED, 2, 2, 0)
    assert len({state.etag for state in states}) == len(states), "a watcher sees each state once"
    image = await suite.image(red.name)
    assert labels(image)[:2] == ["sks", "red"]
    assert {"plain background", "white background"} <= set(labels(image))
    first, colour = image.tags[0], image.tags[1]
    assert (first.source, first.tagger) == (dataset_pb2.TAG_SOURCE_MANUAL, "")
    assert (colour.source, colour.tagger, colour.category) == (dataset_pb2.TAG_SOURCE_MEASURED, "measured", "colour")
    assert colour.score > 0.9
    assert "blue" in labels(await suite.image(blue.name))
    again = await suite.run(options=TagOptions(prepend_trigger_word=True))
    assert (again.tagged_images, again.skipped_images) == (0, 2), "a second run finds nothing to change"


async def test_hand_edits_survive_every_mode(suite: Suite) -> None:
    image = await suite.upload("red", "a.png")
    await suite.run()
    tagged = await suite.image(image.name)
    mine = [dataset_pb2.Tag(label="My Disc"), *(tag for tag in tagged.tags if tag.label != "red")]
    mine.append(dataset_pb2.Tag(label="stale", source=dataset_pb2.TAG_SOURCE_AUTO, tagger="old"))
    update = dataset_pb2.Image(name=image.name, etag=tagged.etag, tags=mine)
    await suite.datasets.UpdateImage(
        dataset_service_pb2.UpdateImageRequest(image=update, update_mask=FieldMask(paths=["tags"]))
    )
    await suite.run(options=TagOptions(mode=tagger_pb2.TAG_MODE_OVERWRITE_AUTO))
    after = labels(await suite.image(image.name))
    assert after[0] == "My Disc"
    assert "red" in after
    assert "stale" not in after
    skipped = await suite.run(options=TagOptions(mode=tagger_pb2.TAG_MODE_SKIP, prepend=["new"]))
    assert skipped.skipped_images == 1
    assert labels(await suite.image(image.name)) == after


async def test_edits_made_while_a_job_runs_are_kept(suite: Suite) -> None:
    images = [await suite.upload(colour, f"{colour}.png") for colour in ("red", "blue", "green", "purple")]
    job = await suite.start()

    async def edit(name: str) -> None:
        for number in range(5):
            image = await suite.image(name)
            image.tags.append(dataset_pb2.Tag(label=f"mine {number}"))
            update = dataset_service_pb2.UpdateImageRequest(image=image, update_mask=FieldMask(paths=["tags"]))
            # The job wrote in between; a person would read again and repeat, here the next round does.
            with suppress(Aborted):
                await suite.datasets.UpdateImage(update)

    await asyncio.gather(*(edit(image.name) for image in images))
    ended = (await suite.states(job))[-1]
    assert ended.state == TagJob.STATE_SUCCEEDED
    for image in images:
        found = labels(await suite.image(image.name))
        assert any(label.startswith("mine") for label in found)
        assert "white background" in found


async def test_a_dry_run_shows_and_writes_nothing(suite: Suite) -> None:
    image = await suite.upload("red", "a.png")
    job = await suite.run(dry_run=True, options=TagOptions(exclude=["plain*"], max_tags=2))
    assert [(change.image, list(change.added)) for change in job.changes] == [(image.name, ["red", "white background"])]
    assert not (await suite.image(image.name)).tags


async def test_options_reach_the_tags(suite: Suite) -> None:
    image = await suite.upload("red", "a.png")
    options = TagOptions(
        replace=[tagger_pb2.LabelReplacement(old_label="Red", new_label="crimson")],
        category_thresholds={"colour": 0.9},
        exclude=["plain_background"],
        prepend=["photo"],
    )
    await suite.run(options=options)
    assert labels(await suite.image(image.name)) == ["photo", "crimson", "white background"]


async def test_format_and_quality_are_facts_of_the_image_and_no_tags(suite: Suite) -> None:
    image = await suite.upload("red", "a.png")
    await suite.run()
    tagged = await suite.image(image.name)
    assert list(tagged.facts) == ["square", "low resolution"]
    assert not set(labels(tagged)) & {"square", "low resolution", "blurry"}
    for text, count in (('facts:"square"', 1), ("facts:blurry", 0)):
        request = dataset_service_pb2.ListImagesRequest(parent=DATASET, filter=text)
        assert (await suite.datasets.ListImages(request)).total_size == count


async def test_no_subject_is_suggested_without_a_tagger_that_names_objects(suite: Suite) -> None:
    await suite.upload("red", "a.png")
    with pytest.raises(FailedPrecondition) as caught:
        await suite.tagger.SuggestSubject(tagger_service_pb2.SuggestSubjectRequest(dataset=DATASET))
    assert caught.value.reason == "NO_OBJECT_TAGGER"
    assert "TAGGER_PHOTO" in caught.value.remedy


async def test_the_subject_of_a_dataset_is_suggested(photo_suite: Suite) -> None:
    request = tagger_service_pb2.SuggestSubjectRequest(dataset=DATASET)
    with pytest.raises(FailedPrecondition) as caught:
        await photo_suite.tagger.SuggestSubject(request)
    assert caught.value.reason == "DATASET_EMPTY"
    for seed in range(3):
        await photo_suite.upload("", f"clock-{seed}.png", data=photo_of_a_clock(seed))
    answer = await photo_suite.tagger.SuggestSubject(request)
    assert answer.subject == "clock"
    assert answer.question.startswith("These look like photos of a clock")
    assert (answer.agreeing_images, answer.seen_images) == (3, 3)
    assert answer.candidates[0].subject == "clock"
    with pytest.raises(NotFound) as missing:
        await photo_suite.tagger.SuggestSubject(
            tagger_service_pb2.SuggestSubjectRequest(dataset="projects/pets/datasets/none")
        )
    assert missing.value.reason == "DATASET_NOT_FOUND"


async def test_crops_are_suggested_inside_the_bars_and_nothing_is_changed(photo_suite: Suite) -> None:
    with Image.open(BytesIO(photo_of_a_clock())) as clock:
        barred = ImageOps.expand(clock.convert("RGB"), (0, 100, 0, 100), fill="black")
    buffer = BytesIO()
    barred.save(buffer, "PNG")
    image = await photo_suite.upload("", "clock.png", data=buffer.getvalue())
    other = await photo_suite.upload("red", "disc.png")
    assert (image.content_area.top, image.content_area.bottom) == (100 / barred.height, 1 - 100 / barred.height)
    request = tagger_service_pb2.SuggestCropsRequest(dataset=DATASET, images=[image.name])
    request.shapes.add(width=64, height=64)
    (found,) = [each async for each in photo_suite.tagger.SuggestCrops(request)]
    assert (found.image, found.etag, found.cuts_bars) == (image.name, image.etag, True)
    assert found.crop.top >= image.content_area.top
    assert found.crop.bottom <= image.content_area.bottom
    assert found.HasField("subject")
    everything = tagger_service_pb2.SuggestCropsRequest(dataset=DATASET)
    both = [each async for each in photo_suite.tagger.SuggestCrops(everything)]
    assert [each.image for each in both] == [image.name, other.name]
    assert not both[1].HasField("crop")
    assert await photo_suite.image(image.name) == image
    for dataset, names, field in ((DATASET, [f"{DATASET}/images/none"], "images[0]"), (f"{DATASET}x", [], "dataset")):
        asked = tagger_service_pb2.SuggestCropsRequest(dataset=dataset, images=names)
        with pytest.raises(NotFound) as caught:
            await anext(aiter(photo_suite.tagger.SuggestCrops(asked)))
        assert caught.value.field == field


async def test_a_tag_job_finds_what_is_written_and_crops_are_set_by_one_call(photo_suite: Suite) -> None:
    with Image.open(BytesIO(photo_of_a_clock())) as clock:
        dated = clock.convert("RGB")
    draw, font = ImageDraw.Draw(dated), ImageFont.load_default(dated.height // 16)
    draw.text((0.4 * dated.width, 0.9 * dated.height), "2026-11-26 09:30", fill=(255, 150, 30), font=font)
    buffer = BytesIO()
    dated.save(buffer, "PNG")
    image = await photo_suite.upload("", "clock.png", data=buffer.getvalue())
    plain = await photo_suite.upload("red", "disc.png")
    await photo_suite.run()
    found, nothing = await photo_suite.image(image.name), await photo_suite.image(plain.name)
    assert "text" in found.facts
    assert any(area.top > 0.8 and area.left < 0.45 and area.right > 0.8 for area in found.text_areas)
    assert (list(nothing.text_areas), "text" in nothing.facts) == ([], False)
    await _what_was_seen_is_listed_when_asked(photo_suite, found)
    request = tagger_service_pb2.CropImagesRequest(dataset=DATASET, images=[image.name])
    request.shapes.add(width=64, height=64)
    (done,) = (await photo_suite.tagger.CropImages(request)).crops
    cropped = await photo_suite.image(image.name)
    assert (done.image, cropped.crop, cropped.text_areas) == (image.name, done.crop, found.text_areas)


async def _what_was_seen_is_listed_when_asked(suite: Suite, photo: dataset_pb2.Image) -> None:
    listing = dataset_service_pb2.ListImagesRequest(parent=DATASET)
    shown, _ = (await suite.datasets.ListImages(listing)).images
    assert (len(shown.features.model_sha256), shown.features) == (64, photo.features)
    listing.with_features = True
    whole, drawn = (await suite.datasets.ListImages(listing)).images
    assert (len(whole.features.places), drawn.features.places) == (800, b"")
    assert drawn.features.model_sha256 == whole.features.model_sha256
    version = await suite.datasets.CreateDatasetVersion(dataset_service_pb2.CreateDatasetVersionRequest(parent=DATASET))
    frozen = dataset_service_pb2.ListDatasetVersionImagesRequest(parent=version.name, with_features=True)
    assert (await suite.datasets.ListDatasetVersionImages(frozen)).images[0].features == whole.features


async def test_jobs_are_listed_by_page_and_filter(suite: Suite) -> None:
    await suite.upload("red", "a.png")
    jobs = [await suite.run() for _ in range(3)]
    request = tagger_service_pb2.ListTagJobsRequest(parent="projects/pets", page_size=2)
    first = await suite.tagger.ListTagJobs(request)
    assert ([job.name for job in first.tag_jobs], first.total_size) == ([jobs[2].name, jobs[1].name], 3)
    request.page_token = first.next_page_token
    second = await suite.tagger.ListTagJobs(request)
    assert ([job.name for job in second.tag_jobs], second.next_page_token) == ([jobs[0].name], "")
    for text, count in ((f'state = "SUCCEEDED" AND dataset = "{DATASET}"', 3), ('state = "FAILED"', 0)):
        found = await suite.tagger.ListTagJobs(
            tagger_service_pb2.ListTagJobsRequest(parent="projects/pets", filter=text)
        )
        assert found.total_size == count
    for text in ('state = "ODD"', 'dataset : "x"', "color = 3"):
        with pytest.raises(InvalidArgument) as caught:
            await suite.tagger.ListTagJobs(tagger_service_pb2.ListTagJobsRequest(parent="projects/pets", filter=text))
        assert caught.value.field == "filter"


async def test_a_repeated_request_starts_one_job(suite: Suite) -> None:
    await suite.upload("red", "a.png")
    first, second = await asyncio.gather(suite.start(request_id="once"), suite.start(request_id="once"))
    assert first.name == second.name
    with pytest.raises(InvalidArgument) as caught:
        await suite.start(request_id="once", dry_run=True)
    assert (caught.value.field, caught.value.reason) == ("request_id", "REQUEST_ID_REUSED")


async def test_bad_requests_are_refused_with_the_field_and_start_nothing(suite: Suite) -> None:
    with pytest.raises(FailedPrecondition) as empty:
        await suite.start()
    assert (empty.value.field, empty.value.reason) == ("dataset", "DATASET_EMPTY")
    await suite.upload("red", "a.png")
    wrong: list[tuple[type[DomainError], str, dict[str, Any]]] = [
        (NotFound, "dataset", {"dataset": "projects/pets/datasets/none"}),
        (InvalidArgument, "dataset", {"dataset": "projects/other/datasets/discs"}),
        (InvalidArgument, "dataset", {"dataset": "projects/pets/datasets/../x"}),
        (NotFound, "options.tagger", {"options": TagOptions(tagger="taggers/none")}),
        (InvalidArgument, "options.threshold", {"options": TagOptions(threshold=1.5)}),
        (InvalidArgument, "options.max_tags", {"options": TagOptions(max_tags=1000)}),
        (InvalidArgument, "options.category_thresholds", {"options": TagOptions(category_thresholds={"style": 0.1})}),
        (InvalidArgument, "options.prepend[0]", {"options": TagOptions(prepend=["a,b"])}),
        (InvalidArgument, "filter", {"filter": "nonsense = 1"}),
        (FailedPrecondition, "filter", {"filter": 'file_name = "none.png"'}),
    ]
    for kind, field, request in wrong:
        fields: dict[str, Any] = {"parent": "projects/pets", "dataset": DATASET, **request}
        with pytest.raises(DomainError) as caught:
            await suite.tagger.TagImages(tagger_service_pb2.TagImagesRequest(**fields))
        assert isinstance(caught.value, kind), caught.value
        assert caught.value.field == field
    listed = await suite.tagger.ListTagJobs(tagger_service_pb2.ListTagJobsRequest(parent="projects/pets"))
    assert listed.total_size == 0


async def test_another_projects_jobs_and_datasets_are_out_of_reach(suite: Suite) -> None:
    await suite.upload("red", "a.png")
    job = await suite.run()
    with request_context.use(RequestContext(projects=frozenset({"other"}))):
        for call in (
            suite.tagger.GetTagJob(tagger_service_pb2.GetTagJobRequest(name=job.name)),
            suite.start(),
            suite.tagger.TagImage(tagger_service_pb2.TagImageRequest(parent="projects/pets", content=disc("red"))),
        ):
            with pytest.raises(PermissionDenied) as caught:
                await call
            assert caught.value.reason == "PROJECT_FORBIDDEN"


async def test_a_filter_chooses_the_images_and_an_ended_job_is_neither_cancelled_nor_retried(suite: Suite) -> None:
    one, two = await suite.upload("red", "one.png"), await suite.upload("blue", "two.png")
    job = await suite.run(filter='file_name = "two.png"')
    assert (job.total_images, job.tagged_images) == (1, 1)
    assert not (await suite.image(one.name)).tags
    assert (await suite.image(two.name)).tags
    with pytest.raises(FailedPrecondition, match="ended"):
        await suite.tagger.CancelTagJob(tagger_service_pb2.CancelTagJobRequest(name=job.name))
    with pytest.raises(FailedPrecondition, match="failed"):
        await suite.tagger.RetryTagJob(tagger_service_pb2.RetryTagJobRequest(name=job.name))
    with pytest.raises(NotFound):
        await suite.tagger.GetTagJob(tagger_service_pb2.GetTagJobRequest(name="projects/pets/tagJobs/none"))


async def test_a_lone_picture_is_tagged_at_once(suite: Suite) -> None:
    request = tagger_service_pb2.TagImageRequest(parent="projects/pets", content=disc("green"))
    answer = await suite.tagger.TagImage(request)
    assert "green" in [tag.label for tag in answer.tags]
    bad = [(b"GIF89a", "IMAGE_TYPE_UNSUPPORTED"), (disc("red")[:900], "IMAGE_UNREADABLE")]
    bad.append((b"\x89PNG\r\n\x1a\n" + bytes(6_000_000), "IMAGE_TOO_LARGE"))
    for content, reason in bad:
        request.content = content
        with pytest.raises(InvalidArgument) as caught:
            await suite.tagger.TagImage(request)
        assert (caught.value.field, caught.value.reason) == ("content", reason)
        assert caught.value.remedy


async def test_a_deployment_that_only_measures_says_so(suite: Suite) -> None:
    await suite.upload("red", "a.png")
    assert "fiveshot taggers add" in (await suite.run()).note
    answer = await suite.tagger.TagImage(
        tagger_service_pb2.TagImageRequest(parent="projects/pets", content=disc("red"))
    )
    assert "no object was recognised" in answer.note


async def test_taggers_declare_what_they_know(suite: Suite) -> None:
    answer = await suite.tagger.ListTaggers(tagger_service_pb2.ListTaggersRequest())
    taggers = {tagger.name: tagger for tagger in answer.taggers}
    assert answer.taggers[0].is_default
    assert sum(tagger.is_default for tagger in answer.taggers) == 1
    measured = taggers["taggers/measured"]
    assert "red background" in measured.vocabulary
    assert measured.model_sha256 == ""
    assert {category.category for category in measured.categories} == {"colour", "background"}


async def test_an_ended_job_is_deleted_and_its_tags_stay(suite: Suite) -> None:
    image = await suite.upload("red", "a.png")
    job = await suite.run()
    for kind, request in (
        (Aborted, tagger_service_pb2.DeleteTagJobRequest(name=job.name, etag="0")),
        (NotFound, tagger_service_pb2.DeleteTagJobRequest(name="projects/pets/tagJobs/none")),
        (InvalidArgument, tagger_service_pb2.DeleteTagJobRequest(name="projects/pets/jobs/none")),
    ):
        with pytest.raises(kind) as refused:
            await suite.tagger.DeleteTagJob(request)
        assert refused.value.field
    await suite.tagger.DeleteTagJob(tagger_service_pb2.DeleteTagJobRequest(name=job.name, etag=job.etag))
    with pytest.raises(NotFound):
        await suite.tagger.GetTagJob(tagger_service_pb2.GetTagJobRequest(name=job.name))
    assert (await suite.image(image.name)).tags
