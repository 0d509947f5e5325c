"""The command line without a server: one line an error, exit codes, arguments."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from fiveshot import errors
from fiveshot.sync.calls import pages
from fiveshot.trainer.v1 import training_job_pb2

from gateway.cli import labels, lookup, output
from gateway.cli.faults import Faults
from gateway.cli.main import app, hoist
from gateway.cli.parameters import parameters
from gateway.cli.session import Session
from gateway.cli.tagging import tag_options
from gateway.supervisor import run
from gateway.supervisor.folder import DataFolder
from gateway.supervisor.stack_settings import UnknownVariable, refuse_unknown
from tests.unit.gateway.command_line import run_command


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("dataset", "list"), output.UNREACHABLE, "fiveshot up"),
        (("status",), output.UNREACHABLE, "No stack is running"),
        (("dataset", "show"), output.USAGE, "Missing argument 'dataset'"),
        (("dataset", "nonsense"), output.USAGE, "No such command 'nonsense'"),
        (("dataset", "audit", "d", "--fix"), output.USAGE, "See `fiveshot dataset audit --help`"),
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
    result = run_command(*arguments, data=tmp_path / "data")
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
        result = run_command(*arguments, data=tmp_path)
    error = json.loads(result.stderr)["error"]
    assert (result.exit_code, error["details"][0]["reason"]) == (code, reason)


@pytest.mark.parametrize(
    ("variable", "value", "text"),
    [
        ("FIVESHOT_LISTEN", "nonsense", "FIVESHOT_LISTEN: 'nonsense' is not host:port"),
        ("FIVESHOT_WEBHOOK_NETWORKS", "10.0.0.0/8,here", "FIVESHOT_WEBHOOK_NETWORKS: 'here' is no network, such as"),
        ("FIVESHOT_WEBHOOK_NETWORKS", '["10.0.0.0/8"', "FIVESHOT_WEBHOOK_NETWORKS: "),
        ("FIVESHOT_WORKERS", "many", "FIVESHOT_WORKERS: Input should be a valid integer"),
        ("FIVESHOT_CATALOGUE", "/no/such.toml", "FIVESHOT_CATALOGUE: there is no file /no/such.toml"),
        ("FIVESHOT_S3_ENDPOINT", "s3:80", "FIVESHOT_S3_ENDPOINT needs FIVESHOT_S3_ACCESS_KEY"),
        ("FIVESHOT_S3_SECURE", "true", "FIVESHOT_S3_SECURE has no effect without FIVESHOT_S3_ENDPOINT"),
        ("FIVESHOT_LISTEN", "203.0.113.9:80", "FIVESHOT_LISTEN: 203.0.113.9:80 is no address of this machine"),
        ("FIVESHOT_WORKRES", "2", "FIVESHOT_WORKRES: no such setting. Did you mean FIVESHOT_WORKERS?"),
        ("GATEWAY_RATE_LIMIT_BURST", "0", "GATEWAY_RATE_LIMIT_BURST: Input should be greater than or equal to 1"),
    ],
)
@pytest.mark.parametrize("how", [(), ("--detach",)])
def test_a_wrong_variable_of_the_stack_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, text: str, how: tuple[str, ...]
) -> None:
    monkeypatch.setenv(variable, value)
    (DataFolder(tmp_path).log("supervisor")).write_text("what an earlier one said\n")
    result = run_command("up", *how, data=tmp_path)
    assert result.exit_code == output.FAILED
    assert text in result.stderr
    assert len(result.output.strip().splitlines()) == 1


def test_a_taken_address_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "port_is_free", lambda port, host: port == 0)
    monkeypatch.setenv("FIVESHOT_LISTEN", "127.0.0.1:7437")
    result = run_command("up", data=tmp_path)
    assert result.exit_code == output.FAILED
    assert "FIVESHOT_LISTEN: the port of 127.0.0.1:7437 is taken" in result.stderr


def test_what_the_command_line_reads_is_known_to_the_stack() -> None:
    root: Any = typer.main.get_command(app)
    read = {str(option.envvar) for option in root.params if option.envvar}
    refuse_unknown([*read, "FIVESHOT_DEBUG", "FIVESHOT_TEST_PATIENCE", "FIVESHOT_BINARY_WEED", "FIVESHOT_SERVICE_HOST"])
    with pytest.raises(UnknownVariable, match=r"^FIVESHOT_NONE: no such setting; FIVESHOT_TREADS: .* FIVESHOT_THREADS"):
        refuse_unknown([*read, "FIVESHOT_TREADS", "FIVESHOT_NONE", "OTHER"])


def test_an_alias_is_taken_away_without_a_version() -> None:
    arguments = ("models", "alias", "m", "best")
    without = run_command("--server", "127.0.0.1:1", *arguments, data=Path("/nowhere"))
    assert (without.exit_code, "No version was given" in without.output) == (output.USAGE, True)
    deleted = run_command("--server", "127.0.0.1:1", *arguments, "--delete", data=Path("/nowhere"))
    assert deleted.exit_code == output.UNREACHABLE


def test_an_error_as_json(tmp_path: Path) -> None:
    result = run_command("dataset", "list", "--json", data=tmp_path)
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


def test_an_error_line_names_the_command_that_sends_pictures() -> None:
    error = errors.FailedPrecondition("cat holds no image", reason="DATASET_EMPTY", remedy="Upload pictures first.")
    said = "cat holds no image. Upload pictures first. Pictures are sent with `fiveshot dataset upload DATASET FOLDER`."
    assert output.describe(error) == f"{said} [DATASET_EMPTY]"


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


def test_what_is_not_there_is_answered_with_the_nearest_that_is() -> None:
    error = lookup.no_such("key", "labtop", ["laptop", "ci"], "fiveshot keys list")
    assert (error.message, error.remedy) == (
        "There is no key 'labtop'", "Did you mean laptop? List them with `fiveshot keys list`."
    )  # fmt: skip
    assert lookup.no_such("key", "x", [], "fiveshot keys list").remedy == "List them with `fiveshot keys list`."
