"""The whole suite as its users run it: `fiveshot up`, the main job through the gateway, `fiveshot down`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from PIL import Image
from safetensors import safe_open

from gateway.demo_pictures import draw_subject
from gateway.supervisor.folder import DataFolder
from tests.fixtures.monitoring import ONLY_WITH_A_GPU, asked, scraped
from tests.fixtures.patience import until_blocking
from tests.fixtures.processes import end_marked, finished

ROOT = Path(__file__).resolve().parents[2]
# Small enough for a busy machine: what is tested is the way, not the picture.
TINY = ("--set", "num_repeats=4", "--set", "regularization_fraction=0.25", "--set", "preview_steps=4")


class Stack:
    """The command line on a data folder."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.folder = DataFolder(data)
        # Of everything that runs in it, also what was detached.
        self.mark = uuid.uuid4().hex
        self.environment = {**os.environ, "FIVESHOT_DATA": str(data), "FIVESHOT_LISTEN": "", "WORKER_PROBE": "false"}
        self.environment["FIVESHOT_METRICS"] = "true"
        for name in ("FIVESHOT_SERVER", "FIVESHOT_API_KEY", "FIVESHOT_PROJECT"):
            self.environment.pop(name, None)

    def run(self, *arguments: str, limit_s: float = 280) -> subprocess.CompletedProcess[str]:
        """One command."""
        argv = (sys.executable, "-m", "gateway.cli.main", *arguments)
        return finished(argv, cwd=ROOT, env=self.environment, limit_s=limit_s, mark=self.mark)

    def json(self, *arguments: str) -> Any:
        """What a command that succeeds prints as JSON."""
        done = self.run("--json", *arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def processes(self) -> dict[str, psutil.Process]:
        """The stack's processes and the supervisor, by name."""
        state = self.folder.read_state()
        assert state is not None
        pids = {child.name: child.pid for child in state.children.values()} | {"supervisor": state.pid}
        return {name: psutil.Process(pid) for name, pid in pids.items()}


@pytest.fixture
def stack() -> Iterator[Stack]:
    with tempfile.TemporaryDirectory(prefix="fiveshot-e2e-") as folder:
        made = Stack(Path(folder) / "data")
        try:
            yield made
            made.run("down")
        finally:
            end_marked(made.mark)


def _gone(processes: dict[str, psutil.Process]) -> bool:
    return not any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes.values())


@pytest.mark.timeout(900)
def test_the_main_job_from_photos_to_a_kept_model(stack: Stack, tmp_path: Path) -> None:
    for number, (picture, caption) in enumerate(draw_subject("toy", 5, seed=1, size=128)):
        picture.save(tmp_path / f"toy-{number}.png")
        (tmp_path / f"toy-{number}.txt").write_text(caption)
    started = stack.json("up", "--detach")
    assert started["state"] == "ready"
    processes = stack.processes()
    assert set(processes) == {
        "supervisor", "seaweedfs", "nats", "dataset", "tagger", "trainer", "registry", "notifier", "worker-1", "authz",
        "envoy",
    }  # fmt: skip

    stack.json("dataset", "create", "toys", "--trigger-word", "sks")
    assert len(stack.json("dataset", "upload", "toys", str(tmp_path))["images"]) == 5
    assert stack.run("dataset", "tag", "toys").returncode == 0
    assert stack.json("dataset", "suggest-subject", "toys")["question"].endswith("?")
    edited = stack.json("dataset", "edit-tags", "toys", "--add", "my toy", "--filter", 'file_name = "toy-0.png"')
    assert edited["changedImages"] == 1
    images = stack.json("dataset", "images", "toys")["images"]
    labels = [tag["label"] for tag in images[0]["tags"]]
    assert labels[0] == "sks"
    assert labels[-1] == "my toy"
    version = stack.json("dataset", "freeze", "toys")
    assert version["imageCount"] == 5

    estimate = stack.json("train", "estimate", "toys/versions/1", "-e", "2", *TINY)
    watched = stack.run(
        "--json", "train", "start", "toys/versions/1", "--id", "first", "-e", "2", *TINY, "--watch", limit_s=700
    )
    assert watched.returncode == 0, watched.stdout[-3000:] + watched.stderr
    events = [update["event"] for update in map(json.loads, watched.stdout.splitlines()) if "event" in update]
    sequences = [int(event["sequence"]) for event in events]
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert sum("epochCompleted" in event for event in events) == 2
    told = [event["progress"] for event in events if "progress" in event]
    assert [one for one, other in pairwise(told) if one == other] == []
    job = stack.json("train", "show", "first")
    assert (job["state"], job["totalSteps"], job["datasetDigest"]) == (
        "STATE_SUCCEEDED", estimate["totalSteps"], version["digest"],
    )  # fmt: skip

    epochs = stack.json("epochs", "list", "first")["epochs"]
    assert [len(epoch["previews"]) for epoch in epochs] == [3, 3]
    assert len(stack.json("train", "metrics", "first")["metrics"]) == int(job["totalSteps"])
    out = tmp_path / "out"
    stack.json("epochs", "draw", "first", "--to", str(out))
    with Image.open(out / "contact_sheet.png") as sheet:
        assert sheet.width > 3 * 192
    saved = stack.json("models", "save", "first", "2", "toy", "--create", "--alias", "best")
    drawn = out / "try-out.png"
    tried = stack.json(
        "epochs", "try", "first", "--epochs", "1,2", "--strength", "0,1", "-p", "sks toy in the snow", "--steps", "4",
        "-o", str(drawn),
    )  # fmt: skip
    pictures = [cell["file"]["sha256"] for cell in tried["cells"]]
    # At strength 0 both epochs are the base model.
    assert (len(pictures), pictures[0] == pictures[2], len(set(pictures))) == (4, True, 3)
    of_version = stack.json(
        "models", "try", "toy", "--version", "best", "-p", "sks toy in the snow", "--steps", "4", "-o", str(drawn),
        "--force",
    )  # fmt: skip
    assert [cell["file"]["sha256"] for cell in of_version["cells"]] == pictures[3:]
    assert saved["lineage"]["datasetDigest"] == version["digest"]
    file = stack.json("models", "download", "toy@best", "--to", str(out / "toy.safetensors"))
    kept = {each["fileId"]: each["sha256"] for each in saved["files"]}
    assert file["sha256"] == kept["kohya"]
    _same_over_http(stack, saved, kept, out)
    with safe_open(out / "toy.safetensors", "np") as weights:
        assert any(key.startswith("lora_unet_") for key in weights.keys())  # noqa: SIM118
    assert {"preview-1", "preview-2", "preview-3", "contact-sheet"} <= set(kept)
    names = {each["fileId"]: each["fileName"] for each in saved["files"]}
    assert names["kohya"] == "toy-v1.safetensors"
    for shown in ("preview-1", "contact-sheet"):
        assert f"({names[shown]})" in saved["modelCard"]
    stack.json("models", "download", "toy", "--file", "preview-1", "--to", str(out / "preview-1.png"))
    assert hashlib.sha256((out / "preview-1.png").read_bytes()).hexdigest() == epochs[1]["previews"][0]["sha256"]
    sampled = finished(
        (
            sys.executable, "-m", "services.trainer.engine.sample", "--base-model", "fiveshot-tiny",
            "--lora", str(out / "toy.safetensors"), "--prompt", "a photo of sks", "--steps", "4",
            "--out", str(out / "sample.png"),
        ),
        cwd=ROOT, limit_s=280,
    )  # fmt: skip
    assert sampled.returncode == 0, sampled.stderr
    with Image.open(out / "sample.png") as picture:
        assert len(picture.getcolors(1 << 24) or []) > 100

    _every_metric_that_someone_looks_at_is_there(stack)
    memory = sum(each.memory_info().rss for each in processes.values())
    assert memory < 3e9
    assert stack.json("down") == {"stopped": True}
    until_blocking(lambda: _gone(processes), what="the stack to end")


def _same_over_http(stack: Stack, saved: Any, kept: dict[str, str], out: Path) -> None:
    """A version's file and an epoch's preview as an HTTP client gets them."""
    state = stack.folder.read_state()
    assert state is not None
    headers = {"x-api-key": stack.folder.credentials().api_key}
    with httpx.Client(base_url=f"http://{state.server}", headers=headers) as http:
        got = http.get(f"/v1/{saved['name']}:download")
        assert got.content == (out / "toy.safetensors").read_bytes()
        assert got.headers["etag"] == f'"{kept["kohya"]}"'
        assert got.headers["content-length"] == str(len(got.content))
        assert ".safetensors" in got.headers["content-disposition"]
        preview = http.get(f"/v1/{saved['lineage']['epoch']}:download?file_id=preview-1")
        assert (preview.headers["content-type"], preview.content[:4]) == ("image/png", b"\x89PNG")


def _every_metric_that_someone_looks_at_is_there(stack: Stack) -> None:
    """Every name in a panel or an alert rule has a value after a job, also those that count trouble."""
    children = stack.json("status")["children"].values()
    ports = [child["ports"]["metrics"] for child in children if "metrics" in child["ports"]]
    assert len(ports) == 8
    # The trainer looks at its queue every few seconds.
    until_blocking(lambda: "fiveshot_trainer_workers" in scraped(ports), what="the trainer to look at its queue")
    samples = scraped(ports)
    absent = {name: sorted(where) for name, where in asked().items() if name not in samples}
    assert {name: where for name, where in absent.items() if not name.startswith(ONLY_WITH_A_GPU)} == {}


@pytest.mark.timeout(600)
def test_a_stack_survives_what_happens_to_its_processes_and_leaves_none(stack: Stack) -> None:
    stack.json("up", "--detach")
    stack.json("dataset", "create", "kept")

    second = stack.run("up")
    assert second.returncode == 6
    assert "A stack already runs" in second.stderr
    assert "Traceback" not in second.stderr

    before = stack.processes()["dataset"]
    before.send_signal(signal.SIGKILL)
    until_blocking(lambda: _restarted(stack, "dataset", before.pid), what="the restart")
    assert [each["name"] for each in stack.json("dataset", "list")["datasets"]] == ["projects/default/datasets/kept"]
    assert stack.json("status")["children"]["dataset"]["restarts"] == 1

    processes = stack.processes()
    processes["supervisor"].send_signal(signal.SIGKILL)
    until_blocking(lambda: _gone(processes), what="orphans to end")
    assert stack.run("status").returncode == 5

    stack.json("up", "--detach")
    assert [each["name"] for each in stack.json("dataset", "list")["datasets"]] == ["projects/default/datasets/kept"]
    processes = stack.processes()
    processes["supervisor"].send_signal(signal.SIGINT)
    until_blocking(lambda: _gone(processes), what="the stack to end")
    state = stack.folder.read_state()
    assert state is not None
    assert state.state == "stopped"


def _restarted(stack: Stack, name: str, old_pid: int) -> bool:
    state = stack.folder.read_state()
    return state is not None and state.children[name].state == "ready" and state.children[name].pid != old_pid
