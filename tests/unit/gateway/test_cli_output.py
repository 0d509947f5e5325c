"""What the command line prints and draws: lines, tables, sheets, charts, for a terminal, a file or nobody."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.trainer.v1 import training_event_pb2, training_job_pb2, training_service_pb2
from PIL import Image

from gateway.cli import output, pictures, tagging, watch
from gateway.cli.session import Session
from tests.fixtures.processes import finished


def test_what_goes_into_a_file_is_never_wrapped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(output, "out", output.console())
    output.table(("id", ">n", "note"), [("x" * 90, 1, ""), ("y", 2, "")])
    output.facts([("name", "n" * 200)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["id", "n"], ["x" * 90, "1"], ["y", "2"], ["name", "n" * 200]]


def test_a_very_long_file_name_leaves_room_for_what_is_said_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(output, "out", output.console())
    output.table(("file", "pixels"), [(f"{'狐' * 40} (1).jpg", "64×64")])
    output.table(("dataset", "pixels"), [("d" * 40, "64×64")])
    _, file, _, dataset = (line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert (file.endswith("64×64"), "…" in file, " (1).jpg" in file) == (True, True, True)
    assert dataset.split() == ["d" * 40, "64×64"]


def test_a_narrow_terminal_never_breaks_the_first_column(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(output, "out", output.console())
    row = ("job-01m89bmn1r0kjhxaypcebg", "running", "fiveshot-tiny", "200/200", "5", "0.4", "2026-11-25 12:42:10")
    output.table(tuple("abcdefg"), [row])
    shown = capsys.readouterr().out
    assert row[0] in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_an_error_stays_one_line_whatever_a_file_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    output.say_error("a\nb.png: no")
    assert capsys.readouterr().err == "Error: a b.png: no\n"


def test_a_tag_job_says_what_it_would_change_and_what_it_notes(capsys: pytest.CaptureFixture[str]) -> None:
    change = tagger_pb2.ImageChange(image="projects/p/datasets/d/images/i", added=["red"], removed=["blue"])
    other = tagger_pb2.ImageChange(image="projects/p/datasets/d/images/gone", added=["red"])
    job = tagger_pb2.TagJob(dry_run=True, tagged_images=2, changes=[change, other], note="Measured only.")
    tagging.tell(job, {change.image: "IMG_1.jpg"})
    shown = capsys.readouterr().out
    assert "IMG_1.jpg: +red, -blue" in shown
    assert "gone: +red" in shown
    assert "Note: Measured only." in shown


def test_a_terminal_without_the_signs_of_the_help_still_shows_it() -> None:
    argv = [sys.executable, "-m", "gateway.cli.main", "epochs", "--help"]
    done = finished(argv, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, "fault" in done.stderr) == (0, False)
    assert "epochs \\xd7 previews" in done.stdout


def test_a_help_whose_reader_has_gone_ends_in_peace() -> None:
    nobody_reads = "import os, sys; reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)"
    help_of = "sys.argv = ['fiveshot', 'train', '--help']; from gateway.cli.start import main; main()"
    done = finished([sys.executable, "-c", f"{nobody_reads}; {help_of}"])
    assert (done.returncode, done.stderr) == (0, "")


def test_a_contact_sheet_shows_rows_beside_the_training_pictures() -> None:
    red, blue = _png("red"), _png("blue")
    rows = [pictures.SheetRow(f"epoch {n}", "loss 0.1", [red] * 3, highlighted=n == 2) for n in (1, 2)]
    sheet = pictures.contact_sheet("Demo", [blue] * 5, ["a dog"] * 3, rows)
    colours = {colour: count for count, colour in sheet.getcolors(1 << 24) or []}
    cell = pictures.CELL**2
    assert colours[(255, 0, 0)] == 6 * cell
    assert colours[(0, 0, 255)] == 5 * cell
    assert pictures.contact_sheet("Empty", [], [], []).width > 0


def test_the_loss_chart_is_a_picture(tmp_path: Path) -> None:
    points = [pictures.LossPoint(step, 1 / step) for step in range(1, 50)]
    marks = [pictures.EpochMark(1, 25, 0.1, 0.2, False), pictures.EpochMark(2, 50, 0.05, 0.1, True)]
    pictures.loss_chart("Demo", points, marks, tmp_path / "loss.png")
    with Image.open(tmp_path / "loss.png") as chart:
        assert chart.size == (1080, 540)
        assert len(chart.convert("RGB").getcolors(1 << 24) or []) > 50
    assert pictures.running_mean([0.0, 3.0, 6.0], 1) == [1.5, 3.0, 4.5]


class _Trainer:
    """A job of five steps that succeeds."""

    def WatchTrainingJob(self, request: Any) -> Any:
        for number in range(1, 6):
            progress = training_event_pb2.JobProgress(step=number, total_steps=5, epoch=1, phase="training", loss=0.5)
            event = training_event_pb2.TrainingJobEvent(sequence=number, progress=progress)
            yield training_service_pb2.WatchTrainingJobResponse(resume_token=str(number), event=event)

    def GetTrainingJob(self, request: Any) -> Any:
        return training_job_pb2.TrainingJob(name=request.name, state=training_job_pb2.TrainingJob.STATE_SUCCEEDED)


def test_following_a_job_prints_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    session = Session()
    channel = SimpleNamespace(resumed=lambda start: start())
    session.__dict__["stubs"] = SimpleNamespace(trainer=_Trainer(), channel=channel)
    assert watch.exit_code(watch.follow(session, "projects/p/trainingJobs/j")) == 0
    assert "epoch 1: training 5/5 loss 0.5000" in capsys.readouterr().err


def test_durations_and_sizes_for_people() -> None:
    durations = [output.duration(seconds) for seconds in (1.25, 59, 65, 3700)]
    assert durations == ["1.2 s", "59 s", "1 min 05 s", "1 h 01 min"]
    assert [output.size(count) for count in (12, 1500, 5_000_000)] == ["12 B", "1.5 kB", "5.0 MB"]


def _png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_no_text_of_a_server_moves_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = "a\x1b[2J\u202eb[red]"
    for stream in ("out", "err"):
        monkeypatch.setattr(output, stream, output.console(stderr=stream == "err"))
    output.table(["name"], [[hostile]], title="one")
    output.facts([("label", hostile)])
    output.say(hostile)
    output.note(hostile)
    output.say_error(hostile)
    shown = capsys.readouterr()
    assert (shown.out + shown.err).count("a\\u001b[2J\\u202eb[red]") == 5
    assert not set("\x1b\u202e") & set(shown.out + shown.err)
