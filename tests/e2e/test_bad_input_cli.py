"""The same mistakes at the command line, against a running stack: one line that says what to do, and an exit code."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from gateway.cli import output
from tests.fakes import lora_files, pictures
from tests.fakes.archives import unzipped, zipped
from tests.fixtures.cut_line import CutLine
from tests.fixtures.processes import finished
from tests.fixtures.running_stack import RunningStack, Stored

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024

FILES = {
    "jpeg.png": pictures.jpeg(),
    "truncated.png": pictures.png(seed=7)[:2000],
    "six_megabytes.png": pictures.heavy_png(6 * MIB),
    "four_megabytes.png": pictures.heavy_png(4 * MIB),
    "empty.png": b"",
    "huge.png": pictures.png_of_declared_size(20_000, 20_000),
    "good.png": pictures.png(seed=2000),
    "picture.gif": pictures.gif(),
    "no.zip": b"no archive",
    "no.safetensors": b"\x80\x04K\x01." + bytes(20),
    "bad.zip": zipped({"sub/jpeg.png": pictures.jpeg()}),
}

COMMANDS = [
    ("dataset upload photos jpeg.png", output.USAGE, "IMAGE_TYPE_MISMATCH; field chunk"),
    ("dataset upload photos picture.gif", output.USAGE, "IMAGE_TYPE_UNSUPPORTED; field file_name"),
    ("dataset upload photos truncated.png", output.USAGE, "IMAGE_UNREADABLE; field chunk"),
    ("dataset upload photos six_megabytes.png", output.USAGE, "IMAGE_TOO_LARGE; field header.size_bytes"),
    ("dataset upload photos empty.png", output.USAGE, "IMAGE_EMPTY; field chunk"),
    ("dataset upload photos huge.png", output.USAGE, "IMAGE_TOO_MANY_PIXELS; field chunk"),
    ("dataset upload photos no.zip", output.USAGE, "ARCHIVE_UNREADABLE; field content"),
    ("dataset upload photos bad.zip", output.USAGE, "IMAGE_TYPE_MISMATCH; field content"),
    ("dataset upload none no.zip", output.NOT_FOUND, "RESOURCE_NOT_FOUND; field parent"),
    ("models import cat no.safetensors --create", output.USAGE, "MODEL_FILE_PICKLE; field content"),
    ("models import cat no.zip --create", output.USAGE, "FILE_NAME_INVALID; field file_name"),
    ("models import cat none.safetensors", output.NOT_FOUND, "NOT_FOUND; field file_name"),
    ("models import none no.safetensors", output.NOT_FOUND, "MODEL_NOT_FOUND; field model_id"),
    (
        "models import cat no.safetensors --create --base-model none",
        output.NOT_FOUND,
        "BASE_MODEL_NOT_FOUND; field base_model",
    ),
    ("dataset export empty", output.NOT_FOUND, "RESOURCE_NOT_FOUND"),
    ("dataset export photos 9", output.NOT_FOUND, "RESOURCE_NOT_FOUND; field name"),
    ("dataset upload full good.png", output.LIMIT, "DATASET_FULL; field header.parent"),
    ("dataset upload none good.png", output.NOT_FOUND, "RESOURCE_NOT_FOUND; field header.parent"),
    ("dataset show none", output.NOT_FOUND, "RESOURCE_NOT_FOUND; field name"),
    ("dataset freeze empty", output.STATE, "DATASET_EMPTY"),
    ("train start photos --base-model none", output.NOT_FOUND, "BASE_MODEL_NOT_FOUND; field training_job.base_model"),
    ("train start photos --epochs 0", output.USAGE, "PARAMETER_INVALID; field training_job.parameters.num_epochs"),
    ("train start photos --epochs 10000", output.USAGE, "PARAMETER_INVALID; field training_job.parameters.num_epochs"),
    ("train start none", output.NOT_FOUND, "DATASET_NOT_FOUND; field training_job.dataset_version"),
    ("train start empty", output.STATE, "DATASET_EMPTY; field training_job.dataset_version"),
    ("dataset list --api-key fs_wrong", output.NOT_ALLOWED, "API_KEY_INVALID"),
    ("dataset upload photos four_megabytes.png --api-key fs_wrong", output.NOT_ALLOWED, "API_KEY_INVALID"),
    ("dataset show photos --project other", output.NOT_ALLOWED, "PROJECT_FORBIDDEN; field name"),
    ("dataset create ../evil", output.USAGE, "ID_INVALID; field dataset_id"),
    ("dataset create backpack_dog", output.USAGE, "ID_INVALID; field dataset_id"),
    ("dataset caption photos 1001.png text", output.NOT_FOUND, "IMAGE_NOT_FOUND; field image"),
    ("train start photos --id my_job", output.USAGE, "ID_INVALID; field training_job_id"),
    ("train watch", output.NOT_FOUND, "NO_JOB; field job"),
    ("epochs list", output.NOT_FOUND, "NO_JOB; field job"),
    ("workers", output.NOT_ALLOWED, "ALL_PROJECTS_NEEDED"),
    ("project purge --yes --project other", output.NOT_ALLOWED, "PROJECT_FORBIDDEN; field parent"),
    ("train delete none", output.NOT_FOUND, "JOB_NOT_FOUND; field name"),
    ("epochs delete none 1", output.NOT_FOUND, "JOB_NOT_FOUND; field name"),
    ("models delete-version none 1", output.NOT_FOUND, "MODEL_NOT_FOUND; field name"),
    ("dataset delete-version photos 9", output.NOT_FOUND, "RESOURCE_NOT_FOUND; field name"),
    ("models save recommended cat --create", output.NOT_FOUND, "NO_JOB; field job"),
    ("models save recommended my_cat --create", output.USAGE, "ID_INVALID; field model_id"),
    ("base-models check none", output.NOT_FOUND, "BASE_MODEL_UNUSABLE"),
    ("base-models add sdxl --source /no/such", output.STATE, "BASE_MODEL_UNUSABLE"),
    ("dataset crop photos --auto --clear", output.USAGE, "INVALID_ARGUMENT"),
    ("dataset crop photos --box 0,0,9,9", output.USAGE, "INVALID_ARGUMENT; field images"),
    ("dataset crop photos 1000.png --box 0,0,9", output.USAGE, "INVALID_ARGUMENT; field box"),
    ("dataset crop photos 1000.png --box 0,0,9999,9", output.USAGE, "INVALID_ARGUMENT; field box"),
    ("dataset crop photos nothing --auto", output.NOT_FOUND, "IMAGE_NOT_FOUND; field image"),
    ("dataset crop photos --auto --sheet sheet.txt", output.USAGE, "INVALID_ARGUMENT; field sheet"),
    ("dataset crop photos --auto -b none", output.NOT_FOUND, "BASE_MODEL_NOT_FOUND; field name"),
    ("dataset download photos 1000.png --crop --thumbnail", output.USAGE, "INVALID_ARGUMENT; field crop"),
    ("dataset audit photos --fix none", output.USAGE, "INVALID_ARGUMENT; field fix"),
    ("train preview none", output.NOT_FOUND, "DATASET_NOT_FOUND; field training_job.dataset_version"),
    ("dataset show ../../other/datasets/photos", output.USAGE, "NAME_INVALID; field name"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one file for each mistake."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


def _words(command: str, files: Path) -> list[str]:
    return [str(files / word) if word in FILES else word for word in command.split()]


@pytest.mark.parametrize(("command", "code", "mark"), COMMANDS, ids=[command for command, _, _ in COMMANDS])
def test_a_mistake_is_one_line_and_an_exit_code(
    filled_stack: RunningStack, before: Stored, files: Path, command: str, code: int, mark: str
) -> None:
    done = filled_stack.command(*_words(command, files))
    lines = done.stderr.splitlines()
    assert (len(lines), done.exit_code) == (1, code), done.output
    assert lines[0].startswith("Error: ")
    assert f"[{mark}" in lines[0]
    assert isinstance(done.exception, SystemExit)
    assert asyncio.run(filled_stack.stored()) == before


@pytest.mark.parametrize(
    ("command", "offer"),
    [
        ("dataset show photso", "Did you mean photos?"),
        ("dataset show Photos", "Did you mean 'photos'?"),
        ("dataset caption photos 100.png text", "Did you mean 1000.png?"),
        ("train start photos --base-model fiveshot-tyni", "Did you mean fiveshot-tiny?"),
        ("datset list", "Did you mean 'dataset'?"),
    ],
)
def test_what_was_meant_is_offered(filled_stack: RunningStack, command: str, offer: str) -> None:
    done = filled_stack.command(*command.split())
    assert done.exit_code in (output.USAGE, output.NOT_FOUND)
    assert offer in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_key_at_all(filled_stack: RunningStack) -> None:
    done = filled_stack.command("--server", filled_stack.server, "dataset", "list")
    assert (done.exit_code, len(done.stderr.splitlines())) == (output.NOT_ALLOWED, 1)
    assert "[CREDENTIALS_MISSING]" in done.stderr


def test_an_archive_goes_up_and_comes_down(filled_stack: RunningStack, tmp_path: Path) -> None:
    files = {"3_sks cat/a.png": pictures.png(seed=91), "3_sks cat/a.txt": b"by the sea", "notes.md": b"x"}
    (tmp_path / "Photos.ZIP").write_bytes(zipped(files | {"__MACOSX/._a.png": b"x"}))
    filled_stack.command("dataset", "create", "archived", "--trigger-word", "sks")
    done = filled_stack.command("dataset", "upload", "archived", str(tmp_path / "Photos.ZIP"))
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(
        "1 uploaded, 0 refused.\nPassed over: 1 file that is no picture, 1 hidden file.\n"
        "Repeats from the folders' names: 3."
    )
    again = filled_stack.command("dataset", "import", "archived", str(tmp_path / "Photos.ZIP"), "--json")
    assert json.loads(again.stdout)["present"] == [str(tmp_path / "Photos.ZIP" / "3_sks cat/a.png")]
    filled_stack.command("dataset", "freeze", "archived")
    out = tmp_path / "out.zip"
    done = filled_stack.command("dataset", "export", "archived", "--to", str(out), "--json")
    assert json.loads(done.stdout)["sizeBytes"] == out.stat().st_size
    assert unzipped(out.read_bytes())["3_sks/a.txt"] == b"sks, by the sea"
    done = filled_stack.command("dataset", "export", "archived/versions/1", "--layout", "imagefolder", "--to", str(out))
    assert (done.exit_code, "--force" in done.stderr) == (output.STATE, True)
    filled_stack.command("dataset", "delete", "archived", "--force")


def test_a_purge_counts_first_and_leaves_nothing(filled_stack: RunningStack, tmp_path: Path) -> None:
    made = filled_stack.command("keys", "add", "all", "--for", "*", "--role", "admin", "--json")
    whole = ("--server", filled_stack.server, "--api-key", json.loads(made.stdout)["apiKey"], "--project", "brief")
    (tmp_path / "cat.zip").write_bytes(zipped({f"{n}.png": pictures.png(seed=n) for n in range(3)}))
    (tmp_path / "cat.safetensors").write_bytes(lora_files.safetensors(lora_files.KOHYA))
    steps = [
        ("dataset", "create", "cat", "--trigger-word", "sks"),
        ("dataset", "upload", "cat", str(tmp_path / "cat.zip")),
        ("dataset", "tag", "cat"),
        ("dataset", "freeze", "cat"),
        ("train", "start", "cat", "--epochs", "1"),
        ("models", "import", "cat", str(tmp_path / "cat.safetensors"), "--create", "--base-model", "fiveshot-tiny"),
        ("webhooks", "create", "http://127.0.0.1:9/hook", "--id", "hook"),
    ]
    for step in steps:
        done = filled_stack.command(*whole, *step)
        assert done.exit_code == 0, done.output
    shown = json.loads(filled_stack.command(*whole, "workers", "--json").stdout)
    assert {"project": "projects/brief"}.items() <= shown["queue"]["projects"][0].items()
    assert "jobs wait" in filled_stack.command(*whole, "workers").stdout
    counts = {"previewRequests": 0, "tagJobs": 1, "trainingJobs": 1, "models": 1, "datasets": 1, "webhooks": 1}
    for yes, left in ((False, counts), (True, dict.fromkeys(counts, 0))):
        done = filled_stack.command(*whole, "project", "purge", "--json", *(["--yes"] if yes else []))
        assert json.loads(done.stdout) == {"project": "projects/brief", "deleted": yes, "counts": counts}
        after = filled_stack.command(*whole, "project", "purge", "--json")
        assert json.loads(after.stdout)["counts"] == left
    assert filled_stack.command(*whole, "project", "purge").stdout == (
        "This would delete 0 preview requests, 0 tag jobs, 0 training jobs, 0 models, 0 datasets, 0 webhooks"
        " of projects/brief.\n"
    )
    filled_stack.command("keys", "remove", "all")


def test_an_upload_whose_line_breaks_midway(filled_stack: RunningStack, before: Stored, files: Path) -> None:
    upload = ("dataset", "upload", "photos", str(files / "four_megabytes.png"))
    with CutLine(filled_stack.server, after_bytes=1 * MIB) as line:
        done = filled_stack.command("--server", line.address, "--api-key", filled_stack.api_key, *upload)
    lines = done.stderr.splitlines()
    assert (len(lines), done.exit_code) == (1, output.UNREACHABLE), done.output
    assert line.cut
    assert asyncio.run(filled_stack.stored()) == before


def test_a_process_of_its_own_says_the_same(filled_stack: RunningStack, files: Path) -> None:
    done = finished(
        (
            sys.executable, "-m", "gateway.cli.main", "--data", str(filled_stack.folder.path),
            "dataset", "upload", "photos", str(files / "huge.png"),
        ),
        cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (output.USAGE, 1)
    assert done.stderr.startswith("Error: ")
    assert "IMAGE_TOO_MANY_PIXELS" in done.stderr
