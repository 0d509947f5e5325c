from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.tagger.v1 import tagger_pb2

from services.tagger.models.jobs import ImageOutcome, ImageState, JobState, TagJob
from services.tagger.models.tags import CaptionOptions, Purpose, Tag, TagMode, TagOptions, TagSource
from services.tagger.proto_mapping import messages as proto_mapping
from tests.fakes.tagger_world import ScriptedCaptioner, ScriptedTagger, score

OPTIONS = TagOptions(
    tagger="taggers/wd",
    threshold=0.35,
    max_tags=7,
    exclude=("a", "b*"),
    prepend_trigger_word=True,
    mode=TagMode.OVERWRITE_AUTO,
    prepend=("first",),
    category_thresholds=(("colour", 0.3), ("general", 0.1)),
    adaptive_threshold=True,
    replace=(("kitten", "cat"),),
    keep_overlapping=True,
    captioner="taggers/qwen",
    caption=CaptionOptions(Purpose.PERSON, "woman", ("tattoo",), 75),
)


def test_options_survive_the_way_there_and_back() -> None:
    wire = tagger_pb2.TagOptions.FromString(proto_mapping.options_to_proto(OPTIONS).SerializeToString())
    assert proto_mapping.options_from_proto(wire) == OPTIONS


def test_empty_options_are_the_defaults() -> None:
    options = proto_mapping.options_from_proto(tagger_pb2.TagOptions())
    assert options == TagOptions()
    assert (options.threshold, options.max_tags, options.mode) == (None, 30, TagMode.APPEND)


def test_a_threshold_of_zero_is_a_threshold() -> None:
    assert proto_mapping.options_from_proto(tagger_pb2.TagOptions(threshold=0.0)).threshold == 0.0


def test_tags_survive_the_way_there_and_back() -> None:
    for source in TagSource:
        tag = Tag("red hat", source, 0.1235, "wd", "ab" * 32, "general")
        wire = dataset_pb2.Tag.FromString(proto_mapping.tag_to_proto(tag).SerializeToString())
        assert proto_mapping.tag_from_proto(wire) == tag


def test_a_tag_without_a_source_is_a_persons() -> None:
    assert proto_mapping.tag_from_proto(dataset_pb2.Tag(label="x")).source == TagSource.MANUAL


def test_a_job_shows_its_counts_its_failures_and_the_changes_of_a_dry_run() -> None:
    job = TagJob(
        name="projects/p/tagJobs/t",
        dataset="projects/p/datasets/d",
        options=OPTIONS,
        created_at=datetime(2026, 1, 2, 3, 4, 5, 678000, UTC),
        state=JobState.SUCCEEDED,
        note="a note",
        outcomes=(
            ImageOutcome("i1", ImageState.TAGGED, "", ("cat",), ("dog",), rescored=True, caption="A cat."),
            ImageOutcome("i2", ImageState.SKIPPED, calls=1),
            ImageOutcome("i3", ImageState.FAILED, "why", calls=3),
            ImageOutcome("i4", ImageState.LEFT),
        ),
    )
    wire = proto_mapping.job_to_proto(job)
    assert (wire.total_images, wire.tagged_images, wire.skipped_images, wire.failed_images) == (4, 1, 1, 1)
    assert (wire.captioner_calls, wire.rescored_images) == (4, 1)
    assert [(failure.image, failure.message) for failure in wire.failures] == [("i3", "why")]
    assert wire.create_time.ToDatetime(UTC) == job.created_at
    assert not wire.HasField("end_time")
    assert not wire.changes
    dry = replace(job, dry_run=True, ended_at=job.created_at, revision=2)
    shown = proto_mapping.job_to_proto(dry)
    assert [(each.image, list(each.added), list(each.removed), each.caption) for each in shown.changes] == [
        ("i1", ["cat"], ["dog"], "A cat.")
    ]
    assert not proto_mapping.job_to_proto(dry, with_changes=False).changes
    assert shown.HasField("end_time")
    assert shown.etag != wire.etag


def test_every_state_has_a_number_of_its_own() -> None:
    job = TagJob("n", "d", TagOptions(), datetime(2026, 1, 1, tzinfo=UTC))
    numbers = {proto_mapping.job_to_proto(replace(job, state=state)).state for state in JobState}
    assert len(numbers) == len(JobState)
    assert tagger_pb2.TagJob.STATE_UNSPECIFIED not in numbers


def test_a_tagger_is_listed_with_its_vocabulary_and_thresholds() -> None:
    wire = proto_mapping.tagger_to_proto(ScriptedTagger(score("cat")).describe(), is_default=True)
    assert (wire.name, wire.is_default, list(wire.vocabulary)) == ("taggers/scripted", True, ["cat"])
    assert {category.category: round(category.default_threshold, 2) for category in wire.categories}["general"] == 0.35
    taking = {category.category for category in wire.categories if category.takes_threshold}
    assert taking == {"general"}
    writer = proto_mapping.tagger_to_proto(ScriptedCaptioner().describe(), is_default=False)
    assert (writer.kind, writer.model) == (tagger_pb2.Tagger.KIND_CAPTIONS, "some-vl")
