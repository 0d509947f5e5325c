"""Following a job at a terminal, comparing epochs and jobs, and what is said about texts."""

from __future__ import annotations

import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fiveshot.dataset.v1 import dataset_pb2, dataset_service_pb2
from fiveshot.tagger.v1 import tagger_pb2, tagger_service_pb2
from fiveshot.trainer.v1 import preview_request_pb2, training_event_pb2, training_job_pb2, training_service_pb2
from fiveshot.words import TEXT_FROM
from rich.console import Console
from typer.testing import CliRunner

from gateway import api_keys
from gateway.cli import compare, output, texts, verdicts, watch
from gateway.cli.main import app
from gateway.cli.session import Session
from gateway.cli.tags import unknown_labels
from gateway.supervisor.folder import DataFolder

JOB = "projects/default/trainingJobs/job-1"


def _progress(**facts: Any) -> training_service_pb2.WatchTrainingJobResponse:
    progress = training_event_pb2.JobProgress(**facts)
    return training_service_pb2.WatchTrainingJobResponse(event=training_event_pb2.TrainingJobEvent(progress=progress))


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_line_fits_the_terminal_and_is_not_clipped(width: int) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=width, highlight=False)
    with watch.View(console) as view:
        view.show(
            _progress(
                step=12345, total_steps=20000, epoch=12, phase="writing the previews", loss=0.1234,
                images_per_second=12.3, eta_seconds=3700,
            )
        )  # fmt: skip
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.getvalue()).replace("\r", "\n")
    line = [line for line in plain.split("\n") if line.strip()][-1]
    assert len(line) <= width
    for word in ("epoch 12: writing the previews", "12345/20000", "loss 0.1234", "1 h 01 min left"):
        assert word in line
    assert ("12.3 images/s" in line) is (width >= 100)


def test_a_notice_is_a_line_of_a_watch_and_stands_with_the_job() -> None:
    text = "The loss at step 7 is not a number; training went back to its start and goes on at half the learning rate."
    written = io.StringIO()
    with watch.View(Console(file=written, width=300)) as view:
        event = training_event_pb2.TrainingJobEvent(notice=training_event_pb2.JobNotice(text=text))
        view.show(training_service_pb2.WatchTrainingJobResponse(event=event))
    assert written.getvalue().splitlines() == [text]
    job = training_job_pb2.TrainingJob(name=JOB, notices=[text, "Then."])
    assert dict(watch.describe(job))["notices"] == f"{text} Then."
    late = io.StringIO()
    with watch.View(Console(file=late, width=300)) as view:
        view.show(training_service_pb2.WatchTrainingJobResponse(job=job))
    assert late.getvalue().splitlines()[1:] == [text, "Then."]


class _Interrupted:
    def WatchTrainingJob(self, request: Any) -> Any:
        raise KeyboardInterrupt

    def ListTrainingJobs(self, request: Any) -> Any:
        jobs = [training_job_pb2.TrainingJob(name=JOB)]
        return training_service_pb2.ListTrainingJobsResponse(training_jobs=jobs)


def test_ctrl_c_says_that_the_job_goes_on_and_how_to_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    channel = SimpleNamespace(resumed=lambda start: start())
    monkeypatch.setattr(Session, "stubs", SimpleNamespace(trainer=_Interrupted(), channel=channel))
    done = CliRunner().invoke(app, ["--server", "127.0.0.1:1", "train", "watch"], prog_name="fiveshot")
    assert done.exit_code == output.INTERRUPTED
    assert done.stderr.splitlines() == [
        "The job goes on. Follow it: fiveshot train watch job-1. End it: fiveshot train cancel job-1."
    ]


class _InterruptedTagger:
    def ListTagJobs(self, request: Any) -> Any:
        return tagger_service_pb2.ListTagJobsResponse(tag_jobs=[tagger_pb2.TagJob(name="projects/p/tagJobs/tag-1")])

    def GetTagJob(self, request: Any) -> Any:
        return tagger_pb2.TagJob(name=request.name)

    def WatchTagJob(self, request: Any) -> Any:
        raise KeyboardInterrupt

    def TagImages(self, request: Any) -> Any:
        raise KeyboardInterrupt

    def SuggestCrops(self, request: Any, timeout: float) -> Any:
        raise KeyboardInterrupt

    def SuggestMasks(self, request: Any, timeout: float) -> Any:
        raise KeyboardInterrupt


class _Datasets:
    def ListImages(self, request: Any) -> Any:
        images = [dataset_pb2.Image(name=f"{request.parent}/images/img-1", file_name="a.jpg")]
        return dataset_service_pb2.ListImagesResponse(images=images)


class _InterruptedStart:
    def CreateTrainingJob(self, request: Any) -> Any:
        raise KeyboardInterrupt


GOES_ON = "The job goes on. Follow it: fiveshot train watch{0}. End it: fiveshot train cancel{0}."


@pytest.mark.parametrize(
    ("command", "where", "told"),
    [
        ("train start cat --watch", "ListBaseModels", ["No job was queued.", "Interrupted."]),
        ("train start cat --watch", "GetBaseModel", [GOES_ON.format(" job-1")]),
        ("train start cat", "GetBaseModel", [GOES_ON.format(" job-1")]),
        ("train start cat --validate-only", "GetBaseModel", ["Interrupted."]),
        ("train watch", "ListTrainingJobs", [GOES_ON.format("")]),
        ("train watch job-1", "WatchTrainingJob", [GOES_ON.format(" job-1")]),
        ("train metrics job-1 --follow", "ListMetrics", [GOES_ON.format(" job-1")]),
        ("train metrics job-1", "ListMetrics", ["Interrupted."]),
        ("tag-jobs watch", "ListTagJobs", [GOES_ON.format("").replace("train", "tag-jobs")]),
        ("models save job-1 2 cat", "SaveEpoch",
         ["Whether it was saved is not known. See: fiveshot models show cat", "Interrupted."]),
    ],
)  # fmt: skip
def test_ctrl_c_says_what_goes_on_wherever_a_command_has_come_to(
    monkeypatch: pytest.MonkeyPatch, command: str, where: str, told: list[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    job, epoch = training_job_pb2.TrainingJob(name=JOB), training_job_pb2.Epoch(name=f"{JOB}/epochs/2")
    server = SimpleNamespace(
        CreateTrainingJob=lambda request: job,
        GetTagJob=None,
        ListEpochs=lambda request: training_service_pb2.ListEpochsResponse(epochs=[epoch]),
    )
    setattr(server, where, interrupted)
    channel = SimpleNamespace(resumed=lambda start: start())
    stubs = SimpleNamespace(trainer=server, tagger=server, registry=server, channel=channel)
    monkeypatch.setattr(Session, "stubs", stubs)
    words = [*command.split(), *(["--base-model", "own"] if where == "ListBaseModels" else [])]
    done = CliRunner().invoke(app, ["--server", "127.0.0.1:1", *words], prog_name="fiveshot")
    assert (done.exit_code, done.stderr.splitlines()) == (output.INTERRUPTED, told)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("tag-jobs watch", ["The job goes on. Follow it: fiveshot tag-jobs watch tag-1. "
                            "End it: fiveshot tag-jobs cancel tag-1."]),
        ("dataset tag cat", ["Whether the job was queued is not known. See: fiveshot tag-jobs list", "Interrupted."]),
        ("train start cat", ["Whether the job was queued is not known. See: fiveshot train list", "Interrupted."]),
        ("dataset mask cat --auto", ["No mask was changed.", "Interrupted."]),
    ],
)  # fmt: skip
def test_ctrl_c_says_what_goes_on_or_how_to_find_out(
    monkeypatch: pytest.MonkeyPatch, command: str, told: list[str]
) -> None:
    channel = SimpleNamespace(resumed=lambda start: start())
    stubs = SimpleNamespace(
        trainer=_InterruptedStart(), tagger=_InterruptedTagger(), dataset=_Datasets(), channel=channel
    )
    monkeypatch.setattr(Session, "stubs", stubs)
    done = CliRunner().invoke(app, ["--server", "127.0.0.1:1", *command.split()], prog_name="fiveshot")
    assert (done.exit_code, done.stderr.splitlines()) == (output.INTERRUPTED, told)


def test_ctrl_c_in_a_download_says_that_nothing_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    def write() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        output.saved(None, write)
    assert capsys.readouterr().err == "Nothing is kept of a file that is not whole. Give the same command again.\n"


def _epochs(*measured: tuple[float, float, float], recommended: int) -> list[training_job_pb2.Epoch]:
    return [
        training_job_pb2.Epoch(
            name=f"{JOB}/epochs/{number}",
            recommended=number == recommended,
            evaluation=training_job_pb2.Evaluation(
                fit_loss=fit,
                moved_loss=moved,
                drift=0.012,
                memorisation=likeness,
                photo_error=2 * fit,
                unseen_error=1.5 * moved,
            ),
        )
        for number, (fit, moved, likeness) in enumerate(measured, start=1)
    ]


def test_epochs_stand_on_one_scale_with_a_verdict_in_words() -> None:
    epochs = _epochs((0.4, 0.5, 0.3), (0.3, 0.4, 0.5), (0.29, 0.405, 0.6), (0.2, 0.5, 0.96), recommended=2)
    assert list(verdicts.rows(epochs)) == [
        ("1", "80", "75", "1.2", "30", "still learning"),
        ("2", "60", "60", "1.2", "50", "recommended"),
        ("3", "58", "61", "1.2", "60", "hardly better"),
        ("4", "40", "75", "1.2", "96", "photos learnt by heart; a preview is a copy of a photo"),
    ]
    assert [name for name, _ in verdicts.legend(epochs)] == ["photos", "unseen", "drift", "likeness"]


def test_the_same_numbers_stand_wherever_an_epoch_is_shown() -> None:
    [epoch] = _epochs((0.4, 0.5, 0.3), recommended=1)
    numbers = {"photos": "80%", "unseen": "75%", "drift": "1.2%", "likeness": "30%"}
    assert verdicts.measures(epoch) == numbers
    assert verdicts.in_words(epoch) == "photos 80%, unseen 75%, drift 1.2%, likeness 30%"
    job = training_job_pb2.TrainingJob()
    rows = {name: values for name, *values in compare.outcomes([job, job], [epoch, None])}
    assert {name: rows[name] for name in numbers} == {name: [text, ""] for name, text in numbers.items()}


def test_an_epoch_that_was_not_measured_has_no_numbers() -> None:
    bare = [training_job_pb2.Epoch(name=f"{JOB}/epochs/1")]
    assert list(verdicts.rows(bare)) == [("1", "", "", "", "", "")]
    assert list(verdicts.legend(bare)) == []


def test_two_jobs_are_compared_by_what_differs() -> None:
    one, other = (
        training_job_pb2.TrainingJob(
            base_model="baseModels/tiny", dataset_version=f"projects/p/datasets/cat/versions/{version}",
            parameters=training_job_pb2.TrainingParameters(rank=rank, alpha=8.0),
        )
        for version, rank in ((1, 8), (2, 16))
    )  # fmt: skip
    assert list(compare.differences([one, other])) == [
        ("dataset_version", "cat/versions/1", "cat/versions/2"), ("rank", "8", "16"),
    ]  # fmt: skip
    assert list(compare.differences([one, one, one])) == []


def test_it_is_said_which_of_caption_and_tags_counts(capsys: pytest.CaptureFixture[str]) -> None:
    tags = [dataset_pb2.Tag(label="red")]
    images = [
        dataset_pb2.Image(name="projects/p/datasets/cat/images/a", file_name="a.jpg", caption="a cat", tags=tags),
        dataset_pb2.Image(name="projects/p/datasets/cat/images/b", file_name="b.jpg", tags=tags),
        dataset_pb2.Image(name="projects/p/datasets/cat/images/c", file_name="c.jpg"),
    ]
    assert [texts.source_of(image) for image in images] == ["caption", "tags", "nothing"]
    texts.tell_competition(Session(), images, TEXT_FROM["caption-or-tags"])
    said = capsys.readouterr().err
    assert "1 picture has a caption and tags: the caption is trained, the tags are not" in said
    assert "fiveshot dataset update cat --text-from caption-and-tags" in said
    texts.tell_competition(Session(), images[1:])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("text_from", "sources", "said"),
    [
        ("caption", ["caption", "nothing", "nothing"], "the caption is trained, the tags are not"),
        ("tags", ["tags", "tags", "nothing"], "the tags are trained, the caption is not"),
        ("caption-and-tags", ["caption, tags", "tags", "nothing"], ""),
    ],
)
def test_the_dataset_chooses_which_of_caption_and_tags_counts(
    text_from: str, sources: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tags = [dataset_pb2.Tag(label="red")]
    images = [
        dataset_pb2.Image(name="projects/p/datasets/cat/images/a", caption="a cat", tags=tags),
        dataset_pb2.Image(tags=tags),
        dataset_pb2.Image(),
    ]
    assert [texts.source_of(image, TEXT_FROM[text_from]) for image in images] == sources
    assert texts.source_of(dataset_pb2.Image(training_text="sks cat"), TEXT_FROM[text_from]) == "dataset"
    texts.tell_competition(Session(), images, TEXT_FROM[text_from])
    told = capsys.readouterr().err
    assert said in told
    assert bool(told) == bool(said)


def test_pictures_that_teach_little_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    images = [
        dataset_pb2.Image(file_name=f"{number}.jpg", facts=["square", *facts])
        for number, facts in enumerate([["blurry"], [], ["blurry", "low resolution"]])
    ]
    texts.tell_faults(Session(), images)
    assert capsys.readouterr().err.splitlines() == ["1 low resolution: 2.jpg.", "2 blurry: 0.jpg, 2.jpg."]
    texts.tell_faults(Session(json=True), images)
    assert capsys.readouterr().err == ""


def test_a_tag_that_no_picture_has_is_named_with_the_nearest() -> None:
    stats = [dataset_service_pb2.TagStat(label=label) for label in ("square", "red dog")]
    session = Session()
    session.__dict__["dataset"] = SimpleNamespace(
        ListTagStats=lambda request: dataset_service_pb2.ListTagStatsResponse(stats=stats)
    )
    found = unknown_labels(session, "projects/p/datasets/cat", ["squre", "RED_dog", "zebra"])
    assert found == {"squre": "Did you mean square?", "zebra": ""}


def test_completion_gives_nothing_where_no_server_is(tmp_path: Path) -> None:
    from gateway.cli import completion

    root: Any = SimpleNamespace(params={"data": str(tmp_path)})
    context: Any = SimpleNamespace(find_root=lambda: root, params={"dataset": "cat"})
    assert completion.datasets(context, "") == []
    assert completion.image_files(context, "") == []
    assert completion.captioners(context, "") == []
    assert completion.keys(context, "") == []


def test_completion_knows_keys_jobs_of_taggers_preview_requests_and_captioners(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gateway.cli import completion

    class Server:
        def ListTagJobs(self, request: Any) -> Any:
            return tagger_service_pb2.ListTagJobsResponse(tag_jobs=[tagger_pb2.TagJob(name="projects/p/tagJobs/tag-1")])

        def ListPreviewRequests(self, request: Any) -> Any:
            found = [preview_request_pb2.PreviewRequest(name="projects/p/previewRequests/try-1")]
            return training_service_pb2.ListPreviewRequestsResponse(preview_requests=found)

        def ListTaggers(self, request: Any) -> Any:
            kinds = {"taggers/qwen": tagger_pb2.Tagger.KIND_CAPTIONS, "taggers/photo": tagger_pb2.Tagger.KIND_TAGS}
            taggers = [tagger_pb2.Tagger(name=name, kind=kind) for name, kind in kinds.items()]
            return tagger_service_pb2.ListTaggersResponse(taggers=taggers)

    channel = SimpleNamespace(endpoint=SimpleNamespace(parent="projects/p"), close=lambda: None)
    stubs = SimpleNamespace(tagger=Server(), trainer=Server(), channel=channel, close=lambda: None)
    monkeypatch.setattr(Session, "stubs", stubs)
    folder = DataFolder(tmp_path)
    folder.api_keys_file.parent.mkdir(parents=True, exist_ok=True)
    api_keys.save(folder.api_keys_file, [api_keys.ApiKey("ci", api_keys.digest("fs_secret"), ("p",))])
    root: Any = SimpleNamespace(params={"data": str(tmp_path), "server": "127.0.0.1:1"})
    context: Any = SimpleNamespace(find_root=lambda: root, params={})
    asked = (completion.tag_jobs, completion.preview_requests, completion.captioners, completion.keys)
    assert [complete(context, "") for complete in asked] == [["tag-1"], ["try-1"], ["qwen"], ["ci"]]
    assert completion.tag_jobs(context, "job") == []
