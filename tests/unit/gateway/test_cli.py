"""The command line without a server: one line an error, exit codes, arguments, files, what is drawn."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fiveshot import errors
from fiveshot.sync.calls import pages
from fiveshot.tagger.v1 import tagger_pb2
from fiveshot.trainer.v1 import training_event_pb2, training_job_pb2, training_service_pb2
from PIL import Image
from typer.testing import CliRunner

from gateway import api_keys
from gateway.cli import labels, lookup, output, pictures, tagging, watch
from gateway.cli.faults import Faults
from gateway.cli.main import app, hoist
from gateway.cli.parameters import parameters
from gateway.cli.session import Session
from gateway.cli.tagging import tag_options
from gateway.supervisor import run
from gateway.supervisor.folder import DataFolder
from tests.fixtures.processes import finished


def _run(*arguments: str, data: Path) -> Any:
    return CliRunner().invoke(app, ["--data", str(data), *arguments], prog_name="fiveshot")


@pytest.fixture(autouse=True)
def _no_server_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIVESHOT_SERVER", "FIVESHOT_API_KEY", "FIVESHOT_PROJECT", "FIVESHOT_DATA"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("dataset", "list"), output.UNREACHABLE, "fiveshot up"),
        (("status",), output.UNREACHABLE, "No stack is running"),
        (("dataset", "show"), output.USAGE, "Missing argument 'dataset'"),
        (("dataset", "nonsense"), output.USAGE, "No such command 'nonsense'"),
        (("--nonsense",), output.USAGE, "No such option"),
        (("--server", "127.0.0.1:1", "dataset", "show", "../x"), output.USAGE, "neither an id nor a resource name"),
        (("--server", "127.0.0.1:1", "train", "start", "d", "--set", "rnk=4"), output.USAGE, "Did you mean rank"),
        (("--server", "127.0.0.1:1", "train", "start", "d", "--set", "unet-lr=1"), output.USAGE, "mean learning_rate"),
        (("--server", "127.0.0.1:1", "--project", "Bad Name", "dataset", "list"), output.USAGE, "is not a project"),
        (("--server", "127.0.0.1:1", "dataset", "upload", "d", "/no/such"), output.NOT_FOUND, "no file /no/such"),
        (("--server", "127.0.0.1:1", "dataset", "tag", "d", "--mode", "x"), output.USAGE, "overwrite-auto"),
        (("--server", "127.0.0.1:1", "dataset", "edit-tags", "d", "--replace", "x"), output.USAGE, "OLD=NEW"),
        (("keys", "list"), output.NOT_FOUND, "no stack in"),
        (("console",), output.UNREACHABLE, "fiveshot up"),
        (("console", "--minutes", "0"), output.USAGE, "--minutes"),
    ],
)
def test_a_mistake_is_one_line_and_an_exit_code(
    tmp_path: Path, arguments: tuple[str, ...], code: int, text: str
) -> None:
    result = _run(*arguments, data=tmp_path / "data")
    assert result.exit_code == code
    assert text in result.output
    assert "Traceback" not in result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("dataset", "show", "--json"), output.USAGE, "USAGE"),
        (("up", "--json"), output.STATE, "STACK_RUNNING"),
        (("up", "--detach", "--json"), output.STATE, "STACK_RUNNING"),
    ],
)
def test_every_error_as_json(tmp_path: Path, arguments: tuple[str, ...], code: int, reason: str) -> None:
    with DataFolder(tmp_path).held():
        result = _run(*arguments, data=tmp_path)
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, error["details"][0]["reason"]) == (code, reason)


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("FIVESHOT_LISTEN", "nonsense", "FIVESHOT_LISTEN: 'nonsense' is not host:port"),
        ("FIVESHOT_WORKERS", "many", "FIVESHOT_WORKERS: Input should be a valid integer"),
        ("FIVESHOT_CATALOGUE", "/no/such.toml", "FIVESHOT_CATALOGUE: there is no file /no/such.toml"),
        ("FIVESHOT_S3_ENDPOINT", "s3:80", "FIVESHOT_S3_ENDPOINT needs FIVESHOT_S3_ACCESS_KEY"),
    ],
)
@pytest.mark.parametrize("how", [(), ("--detach",)])
def test_a_wrong_variable_of_the_stack_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, text: str, how: tuple[str, ...]
) -> None:
    monkeypatch.setenv(variable, value)
    (DataFolder(tmp_path).log("supervisor")).write_text("what an earlier one said\n")
    result = _run("up", *how, data=tmp_path)
    assert result.exit_code == output.FAILED
    assert text in result.stderr
    assert len(result.output.strip().splitlines()) == 1


def test_a_taken_address_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "port_is_free", lambda port, host: False)
    monkeypatch.setenv("FIVESHOT_LISTEN", "127.0.0.1:7437")
    result = _run("up", data=tmp_path)
    assert result.exit_code == output.FAILED
    assert "Nothing can listen on 127.0.0.1:7437" in result.stderr


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


def test_an_alias_is_taken_away_without_a_version() -> None:
    arguments = ("models", "alias", "m", "best")
    without = _run("--server", "127.0.0.1:1", *arguments, data=Path("/nowhere"))
    assert (without.exit_code, "No version was given" in without.output) == (output.USAGE, True)
    deleted = _run("--server", "127.0.0.1:1", *arguments, "--delete", data=Path("/nowhere"))
    assert deleted.exit_code == output.UNREACHABLE


def test_an_error_as_json(tmp_path: Path) -> None:
    result = _run("dataset", "list", "--json", data=tmp_path)
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, error["code"], result.stdout) == (5, 14, "")
    assert error["details"][0]["reason"] == "NO_SERVER"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.InvalidArgument("x"), 2), (errors.NotFound("x"), 3), (errors.Unauthenticated("x"), 4),
        (errors.PermissionDenied("x"), 4), (errors.Unavailable("x"), 5), (errors.DeadlineExceeded("x"), 5),
        (errors.FailedPrecondition("x"), 6), (errors.AlreadyExists("x"), 6), (errors.Aborted("x"), 6),
        (errors.ResourceExhausted("x"), 7), (errors.Internal("x"), 1), (errors.DataLoss("x"), 1),
    ],
)  # fmt: skip
def test_exit_codes(error: errors.FiveshotError, code: int) -> None:
    assert output.exit_code(error) == code


def test_an_error_line_has_field_remedy_and_reason() -> None:
    error = errors.InvalidArgument("Too many epochs", field="num_epochs", reason="TOO_MANY", remedy="Take fewer.")
    assert output.describe(error) == "Too many epochs. Take fewer. [TOO_MANY; field num_epochs]"


def test_each_of_several_wrong_fields_has_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [
        errors.FieldViolation("job.rank", "rank must be more"),
        errors.FieldViolation("job.seed", "seed\nis [odd]"),
    ]
    error = errors.InvalidArgument(
        "2 parameters are wrong: rank, seed", reason="WRONG", remedy="See.", violations=wrong
    )
    output.print_error(error, as_json=False)
    assert capsys.readouterr().err.splitlines() == [
        "Error: 2 parameters are wrong: rank, seed. See. [WRONG]",
        "  job.rank: rank must be more",
        "  job.seed: seed is [odd]",
    ]


def test_a_remedy_names_the_option_and_not_the_field_of_the_api() -> None:
    error = errors.NotFound("No model", remedy="Set create_model to make it, or name an existing model.")
    assert "Give --create to make it, or name an existing model." in output.describe(error)


def test_global_options_may_stand_anywhere() -> None:
    assert hoist(["dataset", "list", "--json"]) == ["--json", "dataset", "list"]
    assert hoist(["dataset", "show", "d", "--project", "acme"]) == ["--project", "acme", "dataset", "show", "d"]
    assert hoist(["a", "--server=x:1", "b"]) == ["--server=x:1", "a", "b"]
    assert hoist(["a", "--", "--json"]) == ["a", "--", "--json"]
    assert hoist(["a", "--project"]) == ["--project", "a"]


def test_parameters_take_the_type_of_their_field() -> None:
    faults = Faults()
    named = {"num_epochs": 3, "rank": None}
    found = parameters(named, ["alpha=8", "flip=no", "optimizer=lion", "lr-warmup-steps=5"], ["a dog"], faults)
    assert found == training_job_pb2.TrainingParameters(
        num_epochs=3, alpha=8.0, flip=False, optimizer="lion", lr_warmup_steps=5, preview_prompts=["a dog"]
    )
    assert not found.HasField("rank")
    seeds = parameters({}, ["preview_seeds=7, 8,9"], [], faults)
    assert list(seeds.preview_seeds) == [7, 8, 9]
    assert not faults.found


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ("rank=x", "rank"),
        ("flip=maybe", "flip"),
        ("alpha=", "alpha"),
        ("no_such=1", "no_such"),
        ("preview_seeds=1,x", "preview_seeds"),
        ("num_epochs=3000000000", "num_epochs"),
        ("num_epochs=" + "9" * 5000, "num_epochs"),
    ],
)
def test_a_wrong_parameter_is_named_and_the_others_are_kept(wrong: str, field: str) -> None:
    faults = Faults()
    assert parameters({"rank": 2**40}, [wrong, "seed=5"], [], faults).seed == 5
    assert [fault.field for fault in faults.found] == ["rank", field]
    assert all(len(str(fault)) < 300 for fault in faults.found)


def test_what_the_service_finds_wrong_is_named_with_what_the_command_line_does() -> None:
    def ask() -> None:
        found = errors.FieldViolation("training_job.priority", "too much")
        raise errors.InvalidArgument("", violations=[found])

    def away() -> None:
        raise errors.Unavailable("away")

    def needless() -> None:
        raise AssertionError("nothing is wrong")

    faults = Faults()
    faults.refuse(needless)
    parameters({}, ["no_such=1"], [], faults)
    with pytest.raises(errors.InvalidArgument, match="There is no parameter 'no_such'"):
        faults.refuse(away)
    assert faults.take(lambda: labels.parsed(["team"]), dict[str, str]()) == {}
    with pytest.raises(errors.InvalidArgument, match="3 fields are wrong") as refused:
        faults.refuse(ask)
    assert [item.field for item in refused.value.violations] == ["no_such", "labels", "training_job.priority"]


@pytest.mark.parametrize("said", ["Set force to delete it.", "Save what you need, then set force to delete it."])
def test_a_remedy_names_the_option_and_not_the_field(said: str) -> None:
    told = output.at_the_command_line(said)
    assert told == said.replace("Set force", "Give --force").replace("set force", "give --force")
    assert "--force" in told


def test_tag_options_by_plain_values() -> None:
    found = tag_options({"mode": "overwrite-auto", "tagger": "measured", "threshold": None, "max_tags": 5})
    assert (found.tagger, found.max_tags, found.HasField("threshold")) == ("taggers/measured", 5, False)


def test_names_are_put_below_the_project() -> None:
    session = Session(project="acme")
    assert session.name("datasets", "dogs") == "projects/acme/datasets/dogs"
    assert session.name("datasets", "dogs/versions/3") == "projects/acme/datasets/dogs/versions/3"
    assert session.name("datasets", "projects/b/datasets/d") == "projects/b/datasets/d"
    for wrong in ("", "../x", "a b", "a//b", "a/"):
        with pytest.raises(errors.InvalidArgument):
            session.name("datasets", wrong)


def test_pages_are_followed_up_to_the_limit() -> None:
    asked: list[str] = []

    def call(request: SimpleNamespace) -> SimpleNamespace:
        asked.append(request.page_token)
        start = int(request.page_token or 0)
        items = list(range(start, min(start + 2, 5)))
        return SimpleNamespace(items=items, next_page_token=str(start + 2) if start + 2 < 5 else "")

    assert list(pages(call, SimpleNamespace(page_token="", page_size=0), "items", 0)) == [0, 1, 2, 3, 4]
    assert asked == ["", "2", "4"]
    asked.clear()
    assert list(pages(call, SimpleNamespace(page_token="", page_size=0), "items", 3)) == [0, 1, 2]
    assert asked == ["", "2"]


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


def test_keys_are_added_listed_and_withdrawn(tmp_path: Path) -> None:
    from gateway.supervisor.folder import DataFolder

    folder = DataFolder(tmp_path)
    folder.credentials()
    made = _run("keys", "add", "backend", "--for", "acme", "--days", "3", "--json", data=tmp_path)
    assert made.exit_code == 0
    secret = json.loads(made.stdout)["apiKey"]
    listed = json.loads(_run("keys", "list", "--json", data=tmp_path).stdout)["keys"]
    assert [key["id"] for key in listed] == ["local", "backend"]
    assert secret not in folder.api_keys_file.read_text()
    assert _run("keys", "add", "backend", "--for", "acme", data=tmp_path).exit_code == output.STATE
    assert _run("keys", "add", "x", "--for", "../etc", data=tmp_path).exit_code == output.USAGE
    looks = _run("keys", "add", "viewer", "--for", "acme", "--role", "reader", "--json", data=tmp_path)
    assert json.loads(looks.stdout)["role"] == "reader"
    assert _run("keys", "add", "boss", "--for", "acme", "--role", "owner", data=tmp_path).exit_code == output.USAGE
    roles = {each.id: each.role for each in api_keys.load(folder.api_keys_file)}
    assert roles == {"local": "admin", "backend": "editor", "viewer": "reader"}
    assert _run("keys", "remove", "backend", data=tmp_path).exit_code == output.OK
    assert _run("keys", "remove", "backend", data=tmp_path).exit_code == output.NOT_FOUND


def test_a_key_is_rotated_with_an_overlap_and_the_command_line_keeps_its_own(tmp_path: Path) -> None:
    from gateway.supervisor.folder import DataFolder

    folder = DataFolder(tmp_path)
    before = folder.credentials().api_key
    made = json.loads(_run("keys", "rotate", "local", "--overlap", "2", "--json", data=tmp_path).stdout)
    assert folder.credentials().api_key == made["apiKey"] != before
    keys = api_keys.load(folder.api_keys_file)
    old, new = api_keys.find(keys, before), api_keys.find(keys, made["apiKey"])
    assert old is not None
    assert new is not None
    assert (old.id, new.id, new.expires) == ("local", "local", None)
    assert old.expires is not None
    assert old.expires.isoformat() == made["replacedUntil"]
    assert _run("keys", "rotate", "nobody", data=tmp_path).exit_code == output.NOT_FOUND


def test_durations_and_sizes_for_people() -> None:
    durations = [output.duration(seconds) for seconds in (1.25, 59, 65, 3700)]
    assert durations == ["1.2 s", "59 s", "1 min 05 s", "1 h 01 min"]
    assert [output.size(count) for count in (12, 1500, 5_000_000)] == ["12 B", "1.5 kB", "5.0 MB"]


def _png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_what_is_not_there_is_answered_with_the_nearest_that_is() -> None:
    error = lookup.no_such("key", "labtop", ["laptop", "ci"], "fiveshot keys list")
    assert (error.message, error.remedy) == (
        "There is no key 'labtop'", "Did you mean laptop? List them with `fiveshot keys list`."
    )  # fmt: skip
    assert lookup.no_such("key", "x", [], "fiveshot keys list").remedy == "List them with `fiveshot keys list`."


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
