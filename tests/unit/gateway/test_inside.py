"""Tokens between the processes: who holds one, what it opens, and how it is replaced."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway import inside
from services.chassis.callers import Callers, OwnToken
from services.chassis.errors import PermissionDenied, Unauthenticated
from services.chassis.request_context import INTERNAL_TOKEN_KEY
from services.chassis.settings import BaseServiceSettings

ROOT = Path(__file__).parents[3]
_CALL = re.compile(r"self\._(?:stub|datasets)\.([A-Z]\w+)\(")
DATASET, WORKER = "/fiveshot.dataset.v1.DatasetService/", "/fiveshot.trainer.v1.WorkerService/"
REGISTRY = "/fiveshot.registry.v1.RegistryService/"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside.make(tmp_path)
    return tmp_path


def _callers(folder: Path, name: str) -> Callers:
    return Callers(BaseServiceSettings(callers_file=inside.callers_file(folder, name)))


def _metadata(folder: Path, name: str) -> dict[str, str]:
    return {INTERNAL_TOKEN_KEY: inside.token_file(folder, name).read_text()}


def test_a_token_opens_what_its_holder_needs_and_nothing_else(folder: Path) -> None:
    worker = _metadata(folder, "worker")
    _callers(folder, "dataset").check(worker, DATASET + "DownloadImage")
    _callers(folder, "trainer").check(worker, WORKER + "AcquireJob")
    for called, method in (
        ("dataset", DATASET + "ListDatasets"),
        ("dataset", DATASET + "DeleteDataset"),
        ("dataset", DATASET + "UploadImage"),
        ("trainer", "/fiveshot.trainer.v1.TrainingService/CancelTrainingJob"),
        ("registry", REGISTRY + "DeleteModelVersion"),
    ):
        with pytest.raises(PermissionDenied) as refused:
            _callers(folder, called).check(worker, method)
        assert (refused.value.reason, refused.value.metadata["caller"]) == ("CALLER_NOT_ALLOWED", "worker")
    _callers(folder, "registry").check(worker, REGISTRY + "DownloadModelVersion")
    _callers(folder, "registry").check(_metadata(folder, "trainer"), REGISTRY + "GetModelVersion")
    for called in ("tagger", "authz"):
        with pytest.raises(Unauthenticated):
            _callers(folder, called).check(worker, "/any")
    with pytest.raises(PermissionDenied):
        _callers(folder, "trainer").check(_metadata(folder, "gateway"), WORKER + "AcquireJob")


@pytest.mark.parametrize("metadata", [{}, {INTERNAL_TOKEN_KEY: ""}, {INTERNAL_TOKEN_KEY: "guess"}])
def test_nobody_else_comes_in(folder: Path, metadata: dict[str, str]) -> None:
    for called in inside.MAY_CALL:
        with pytest.raises(Unauthenticated) as refused:
            _callers(folder, called).check(metadata, DATASET + "GetDataset")
        assert refused.value.reason == "INTERNAL_TOKEN_WRONG"


def test_a_token_is_replaced_while_both_sides_run(folder: Path) -> None:
    callers = _callers(folder, "dataset")
    own = OwnToken(BaseServiceSettings(internal_token_file=inside.token_file(folder, "worker")))
    old = own.current()
    inside.rotate(folder, "worker")
    new = own.current()
    assert new != old
    inside.rotate(folder, "worker")
    # A call that was on its way with an old token passes.
    for token in (old, new, own.current()):
        callers.check({INTERNAL_TOKEN_KEY: token}, DATASET + "DownloadImage")
    assert len({old, new, own.current()}) == 3


def test_a_replaced_token_is_dead_after_the_overlap(folder: Path) -> None:
    old = _metadata(folder, "worker")
    inside.rotate(folder, "worker", now=datetime.now(UTC) - inside.OVERLAP - timedelta(seconds=1))
    with pytest.raises(Unauthenticated):
        _callers(folder, "dataset").check(old, DATASET + "DownloadImage")
    _callers(folder, "dataset").check(_metadata(folder, "worker"), DATASET + "DownloadImage")


@pytest.mark.parametrize("text", ["", "{", '{"callers": []}', '{"callers": {"worker": {"tokens": [{}]}}}', "[1]"])
def test_a_broken_file_keeps_what_was_known_and_ends_a_start(folder: Path, text: str) -> None:
    token = _metadata(folder, "worker")
    callers = _callers(folder, "dataset")
    callers.check(token, DATASET + "DownloadImage")
    inside.callers_file(folder, "dataset").write_text(text)
    callers.check(token, DATASET + "DownloadImage")
    with pytest.raises(ValidationError, match="is no callers file"):
        _callers(folder, "dataset")


def test_files_are_for_their_owner_only(folder: Path) -> None:
    inside.rotate(folder, "worker")
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) == len(inside.HOLDERS) + len(inside.MAY_CALL)
    assert all(path.stat().st_mode & 0o077 == 0 for path in files)


def test_where_files_arrive_at_different_moments_a_token_is_announced_first(folder: Path) -> None:
    """As in a cluster: whoever is called may have its file a minute before or after the caller has its token."""
    old = _metadata(folder, "worker")
    inside.announce(folder, "worker")
    assert _metadata(folder, "worker") == old
    callers = _callers(folder, "dataset")
    callers.check(old, DATASET + "DownloadImage")
    announced = {INTERNAL_TOKEN_KEY: (folder / "announced" / "worker").read_text()}
    # A callee that has not seen the rotation knows the new token already.
    callers.check(announced, DATASET + "DownloadImage")
    inside.rotate(folder, "worker", overlap=timedelta(minutes=10))
    assert _metadata(folder, "worker") == announced
    for token in (old, announced):
        _callers(folder, "dataset").check(token, DATASET + "DownloadImage")
    assert not (folder / "announced" / "worker").exists()
    with pytest.raises(ValueError, match="'nobody' shows no token"):
        inside.announce(folder, "nobody")


def test_tokens_are_made_once(tmp_path: Path) -> None:
    assert not inside.is_made(tmp_path)
    inside.make(tmp_path)
    assert inside.is_made(tmp_path)
    # A release with one process more needs its token.
    inside.token_file(tmp_path, "worker").unlink()
    assert not inside.is_made(tmp_path)


def test_each_secret_holds_one_process_and_no_others_token(folder: Path) -> None:
    found = {each["metadata"]["name"].rpartition("-")[2]: each["stringData"] for each in inside.as_secrets(folder)}
    assert set(found) == set(inside.HOLDERS)
    for name, files in found.items():
        assert files["token"] == inside.token_file(folder, name).read_text()
        others = [inside.token_file(folder, other).read_text() for other in inside.HOLDERS if other != name]
        assert not [other for other in others if other in "".join(files.values())]
    assert set(found["worker"]) == {"token"}
    assert set(found["gateway"]) == {"token", "callers.json"}


def test_only_a_holder_is_rotated(folder: Path) -> None:
    with pytest.raises(ValueError, match="'nobody' shows no token"):
        inside.rotate(folder, "nobody")


@pytest.mark.parametrize(
    ("caller", "called", "source"),
    [
        ("tagger", "dataset", "services/tagger/adapters/grpc_datasets.py"),
        ("trainer", "dataset", "services/trainer/adapters/grpc_datasets.py"),
        ("registry", "trainer", "services/registry/adapters/grpc_trainer.py"),
        ("worker", "dataset", "services/trainer/worker/inputs.py"),
    ],
)
def test_the_table_has_what_the_code_calls_and_no_more(caller: str, called: str, source: str) -> None:
    calls = set(_CALL.findall((ROOT / source).read_text(encoding="utf-8")))
    assert {method.rpartition("/")[2] for method in inside.MAY_CALL[called][caller]} == calls
