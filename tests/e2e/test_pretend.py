"""`fiveshot up --pretend`: the whole stack with a worker that trains nothing, and everything of it marked so.

The blocks of docs/quickstart.md run here too, on the same stack; those of TypeScript in tests/examples.
"""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from fiveshot import Client
from PIL import Image
from safetensors import safe_open

from gateway.supervisor import run
from gateway.supervisor.folder import DataFolder
from gateway.supervisor.run import StackError
from tests.fixtures.openapi_caller import OpenApiCaller
from tests.fixtures.patience import until_blocking
from tests.fixtures.processes import finished
from tests.fixtures.quickstart import blocks, environment
from tests.fixtures.running_stack import RunningStack


def test_the_main_job_through_the_client_takes_seconds_and_says_everywhere_that_it_is_pretended(
    pretending: RunningStack, photos: Path, tmp_path: Path
) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        ds = fs.datasets.create("cat", trigger="sks", subject="cat")
        ds.upload(photos)
        job = ds.train(epochs=3, prompts=["sks cat on a beach"])
        seen = list(job.watch())
        job.refresh()
        kinds = {each.kind for each in seen}
        assert {"progress", "epoch", "state"} <= kinds, kinds
        assert (job.state, job.pretended, job.message.epochs_completed) == ("succeeded", True, 3)
        assert all(attempt.pretended for attempt in job.message.attempts)
        assert job.message.recommendation_reason.startswith("Pretended")
        losses = [each.value for each in job.metrics()]
        assert len(losses) == job.total_steps
        assert losses[-1] < losses[0]

        best = job.recommended
        assert best.pretended
        picture = Image.open(io.BytesIO(best.previews[0].read()))
        assert (best.previews[0].prompt, picture.info["Software"]) == ("sks cat on a beach", "Fiveshot, pretended")
        version = best.save("my-cat")
        assert version.pretended
        assert "**Pretended.**" in version.message.model_card
        assert "- pretended" in version.message.model_card
        for form in ("kohya", "diffusers"):
            saved = version.download(tmp_path / f"{form}.safetensors", format=form)
            with safe_open(saved.path, "np") as file:
                said = file.metadata()
                assert said["fiveshot.pretended"] == "true"
                assert said["ss_training_comment"].startswith("Pretended")
                assert all(not file.get_tensor(key).any() for key in file.keys() if "alpha" not in key)  # noqa: SIM118

    shown = pretending.command("train", "show", job.id)
    assert "pretended" in shown.stdout
    listed = pretending.command("train", "list")
    assert re.search(r"SUCCEEDED,\s+pretended", listed.stdout, re.IGNORECASE), listed.stdout
    assert json.loads(pretending.command("--json", "epochs", "show", job.id, "1").stdout)["pretended"] is True
    assert "pretended" in pretending.command("models", "show", "my-cat", "1").stdout
    for service in ("dataset", "trainer", "registry"):
        _every_file_is_there(pretending, service)


def _every_file_is_there(stack: RunningStack, service: str) -> None:
    environment = psutil.Process(stack.state.children[service].pid).environ()
    checked = finished([sys.executable, "-m", f"services.{service}.app", "check-files"], env=environment)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    counts = json.loads(checked.stdout.splitlines()[-1])
    assert counts["named"] > 0
    assert counts["missing"] == 0


def test_the_worker_loads_no_torch(pretending: RunningStack) -> None:
    worker = pretending.state.children["worker-1"].pid
    loaded = Path(f"/proc/{worker}/maps").read_text()
    assert "libpython" in loaded or "python" in loaded
    assert "libtorch" not in loaded


def test_a_job_stops_resumes_and_is_cancelled_as_a_real_one(pretending: RunningStack, photos: Path) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        ds = fs.datasets.create("steered", trigger="sks")
        ds.upload(photos)
        job = ds.train(epochs=12)
        paused = False
        for update in job.watch():
            if update.kind == "epoch" and not paused:
                paused = True
                job.pause()
            if (update.kind, update.state) == ("state", "paused"):
                job.resume()
        job.refresh()
        assert (job.state, job.message.epochs_completed, len(job.message.attempts)) == ("succeeded", 12, 2)
        again = ds.train(epochs=12)
        for update in again.watch():
            if update.kind == "epoch":
                again.cancel()
                break
        until_blocking(lambda: again.refresh().state == "cancelled", what="the job to be cancelled")


async def test_a_job_by_nothing_but_the_openapi_document(pretending: RunningStack, photos: Path) -> None:
    at: dict[str, Any] = {"project": "default"}
    async with OpenApiCaller(f"http://{pretending.server}", pretending.api_key) as api:
        await api.call("CreateDataset", {"datasetId": "by-http", "dataset": {"triggerWord": "sks"}}, **at)
        for path in sorted(photos.iterdir()):
            await api.call("UploadImageContent", path.read_bytes(), **at, dataset="by-http", fileName=path.name)
        job = {
            "baseModel": "baseModels/fiveshot-tiny",
            "datasetVersion": "projects/default/datasets/by-http",
            "parameters": {"numEpochs": 2},
        }
        made = await api.call("CreateTrainingJob", {"trainingJob": job}, **at)
        name = made.value["name"]
        which: dict[str, Any] = {**at, "training_job": name.rpartition("/")[2]}
        lines = await api.call("WatchTrainingJob", **which, fromStart=True)
        numbers = [int(each["event"]["sequence"]) for each in lines.value]
        assert numbers == list(range(1, len(numbers) + 1))
        done = await api.call("GetTrainingJob", **which)
        assert (done.value["state"], done.value["pretended"]) == ("STATE_SUCCEEDED", True)
        epochs = await api.call("ListEpochs", **which)
        assert len(epochs.value["epochs"]) == 2
        await api.call("ListMetrics", **which, keys=["loss"], stride=5)
        preview = await api.call("GetEpochFileContent", **which, epoch="2", fileId="preview-1")
        assert preview.value.startswith(b"\x89PNG")
        saved = await api.call(
            "SaveEpoch", {"epoch": f"{name}/epochs/2", "modelId": "by-http", "createModel": True}, **at
        )
        version = saved.value.get("version", saved.value)["name"]
        assert version.endswith("/models/by-http/versions/1")
        file = await api.call("GetModelFileContent", **at, model="by-http", version="latest")
        assert b"fiveshot.pretended" in file.value


def test_a_folder_is_for_pretended_jobs_or_for_real_ones(tmp_path: Path) -> None:
    real = DataFolder(tmp_path / "real")
    real.credentials()
    with pytest.raises(StackError, match="holds real jobs"):
        run.run(real, listen=lambda event, child: None, pretend=True)
    pretended = DataFolder(tmp_path / "pretended")
    assert pretended.is_for_pretending(True)
    pretended.credentials()
    with pytest.raises(StackError, match="--pretend"):
        run.run(pretended, listen=lambda event, child: None)


def _holds_a_lora(path: Path) -> bool:
    with safe_open(path, "np") as file:
        return str(file.metadata()["fiveshot.pretended"]) == "true"


def test_the_key_and_the_lines_of_curl(pretending: RunningStack, photos: Path, tmp_path: Path) -> None:
    key, lines = blocks("sh")
    script = f"set -euo pipefail\nunset FIVESHOT_API_KEY\n{key}\n{lines}"
    done = finished(["bash", "-c", script], env=environment(pretending), cwd=tmp_path, limit_s=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert _holds_a_lora(tmp_path / "by-curl.safetensors")
    assert [each.suffix for each in tmp_path.iterdir() if "sheet" in each.name] == [".png"]


def test_the_lines_of_python(pretending: RunningStack, photos: Path, tmp_path: Path) -> None:
    (lines,) = blocks("python")
    done = finished([sys.executable, "-c", lines], env=environment(pretending), cwd=tmp_path, limit_s=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert _holds_a_lora(tmp_path / "by-python.safetensors")
    assert (tmp_path / "preview.png").exists()


@pytest.mark.parametrize("language", ["sh", "python", "ts"])
def test_the_page_has_code_in_each_language(language: str) -> None:
    assert blocks(language)
