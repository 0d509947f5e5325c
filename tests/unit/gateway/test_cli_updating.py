"""Changes from the command line: only what is given, labels one by one, guarded by the etag that was read."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from fiveshot import errors
from fiveshot.dataset.v1 import dataset_pb2
from fiveshot.registry.v1 import model_pb2
from fiveshot.trainer.v1 import training_job_pb2
from rich.console import Console
from typer.testing import CliRunner

from gateway.cli import labels, output
from gateway.cli.main import app
from gateway.cli.session import Session

LABELS = {"team": "pets", "stage": "raw"}


class _Server:
    """All services, each with one resource; remembers what it was asked to change."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def GetDataset(self, request: Any) -> Any:
        return dataset_pb2.Dataset(name=request.name, etag="e", labels=LABELS)

    def GetTrainingJob(self, request: Any) -> Any:
        return training_job_pb2.TrainingJob(name=request.name, etag="e", labels=LABELS)

    def GetModel(self, request: Any) -> Any:
        return model_pb2.Model(name=request.name, etag="e", labels=LABELS)

    def GetModelVersion(self, request: Any) -> Any:
        return model_pb2.ModelVersion(name=request.name.replace("latest", "7"), etag="e", labels=LABELS)

    def __getattr__(self, method: str) -> Any:
        def update(request: Any) -> Any:
            self.requests.append(request)
            return next(value for field, value in request.ListFields() if field.name != "update_mask")

        return update


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> _Server:
    made = _Server()
    stubs = SimpleNamespace(dataset=made, trainer=made, registry=made)
    monkeypatch.setattr(Session, "stubs", stubs)
    return made


@pytest.mark.parametrize(
    "command",
    [
        ("dataset", "update", "cat"), ("train", "update", "job-1"), ("models", "update", "cat"),
        ("models", "label", "cat"),
    ],
)  # fmt: skip
def test_labels_change_one_by_one_under_the_etag_that_was_read(server: _Server, command: tuple[str, ...]) -> None:
    options = ("--label", "team=cats", "--label", "new=", "--remove-label", "stage")
    done = CliRunner().invoke(app, ["--server", "127.0.0.1:1", *command, *options], prog_name="fiveshot")
    assert (done.exit_code, done.stderr) == (0, "")
    [request] = server.requests
    changed = next(value for field, value in request.ListFields() if field.name != "update_mask")
    assert dict(changed.labels) == {"team": "cats", "new": ""}
    assert (list(request.update_mask.paths), changed.etag) == (["labels"], "e")
    assert "latest" not in changed.name


def test_only_what_is_given_is_changed(server: _Server) -> None:
    command = ["--server", "127.0.0.1:1", "train", "update", "job-1", "--priority", "0"]
    assert CliRunner().invoke(app, command, prog_name="fiveshot").exit_code == 0
    assert list(server.requests[0].update_mask.paths) == ["priority"]
    nothing = CliRunner().invoke(app, command[:-2], prog_name="fiveshot")
    assert (nothing.exit_code, "No change was given" in nothing.stderr) == (output.USAGE, True)
    assert len(server.requests) == 1


def test_a_label_that_is_not_there_cannot_be_taken_away() -> None:
    with pytest.raises(errors.InvalidArgument) as refused:
        labels.changed(LABELS, None, ["nope"])
    assert refused.value.remedy == "It has stage, team."


@pytest.mark.parametrize(("width", "columns"), [(80, ["job", "loss"]), (200, ["job", "loss", "note"])])
def test_columns_that_can_be_spared_go_where_the_terminal_is_narrow(
    monkeypatch: pytest.MonkeyPatch, width: int, columns: list[str]
) -> None:
    written = io.StringIO()
    monkeypatch.setattr(output, "out", Console(file=written, width=width, highlight=False))
    output.table(("job", ">loss", "?note", "?>empty"), [("job-1", "0.1", "n" * 90, "")])
    head, row = written.getvalue().splitlines()
    assert head.split() == columns
    assert row.split()[:2] == ["job-1", "0.1"]


def test_an_edit_of_tags_without_an_edit_is_refused_in_the_words_of_the_options(server: _Server) -> None:
    refused = CliRunner().invoke(app, ["--server", "127.0.0.1:1", "dataset", "edit-tags", "cat"], prog_name="fiveshot")
    assert refused.exit_code == output.USAGE
    assert "No change was given. Give at least one option, such as --add" in refused.stderr
    assert not server.requests
