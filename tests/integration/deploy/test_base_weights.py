"""The Job that fills the volume of base weights, run as its pod runs it, against a real HTTP server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.fixtures.helm_chart import CHART
from tests.fixtures.patience import within
from tests.fixtures.processes import async_child, finished

UNET, CONFIG = b"weights " * 300_000, b'{"_class_name": "X"}'


class Store(ThreadingHTTPServer):
    """Serves bytes by path, counts what is asked for, and cuts an answer short where `cut` says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {"/unet": UNET, "/config": CONFIG}
        self.moved: dict[str, str] = {}
        self.cut: set[str] = set()
        self.asked: list[tuple[str, str | None]] = []
        self.stuck: Callable[[], object] | None = None
        self.go_on = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Answer(BaseHTTPRequestHandler):
    server: Store

    def do_GET(self) -> None:
        store = self.server
        store.asked.append((self.path, self.headers.get("Authorization")))
        if store.stuck is not None:
            store.stuck()
            store.go_on.wait()
        if self.path in store.moved:
            self.send_response(302)
            self.send_header("Location", store.moved[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = store.files.get(self.path)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        whole = body or b""
        self.wfile.write(whole[: len(whole) // 2] if self.path in store.cut else whole)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[Store]:
    with Store() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def entry(store: Store, path: str, target: str, content: bytes) -> dict[str, str]:
    return {"url": store.url(path), "sha256": hashlib.sha256(content).hexdigest(), "path": target}


def model(store: Store) -> list[dict[str, str]]:
    return [
        entry(store, "/config", "big/model_index.json", CONFIG),
        entry(store, "/unet", "big/unet/x.safetensors", UNET),
    ]


def fill(files: list[dict[str, str]], folder: Path, **env: str) -> tuple[int, str]:
    """Exit status and output of the script, with a folder that may be there already."""
    folder.mkdir(exist_ok=True)
    listed = folder.parent / "weights.json"
    listed.write_text(json.dumps({"files": files}), encoding="utf-8")
    run = finished([sys.executable, CHART / "files" / "fill_weights.py", listed, folder], env={**os.environ, **env})
    assert run.stderr == ""
    return run.returncode, run.stdout


def test_a_model_is_filled_once(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "base_models"
    assert fill(model(store), folder)[0] == 0
    assert (folder / "big" / "unet" / "x.safetensors").read_bytes() == UNET
    assert (folder / "big" / "model_index.json").read_bytes() == CONFIG
    store.asked.clear()
    status, output = fill(model(store), folder)
    assert (status, store.asked) == (0, [])
    assert "big: there already" in output


def test_a_model_that_is_not_whole_does_not_appear_and_goes_on_later(store: Store, tmp_path: Path) -> None:
    """A worker offers each model whose folder it finds."""
    folder = tmp_path / "base_models"
    store.cut.add("/unet")
    status, output = fill(model(store), folder)
    assert (status, (folder / "big").exists()) == (1, False)
    assert "big/unet/x.safetensors: " in output
    store.cut.clear()
    store.asked.clear()
    assert fill(model(store), folder)[0] == 0
    assert [path for path, _ in store.asked] == ["/unet"]
    assert (folder / "big" / "unet" / "x.safetensors").read_bytes() == UNET


def test_another_content_than_the_list_says_is_refused(store: Store, tmp_path: Path) -> None:
    files = model(store)
    store.files["/unet"] = b"pickled"
    status, output = fill(files, tmp_path / "base_models")
    assert status == 1
    assert hashlib.sha256(b"pickled").hexdigest() in output
    assert "baseWeights.files" in output
    assert [path for path in (tmp_path / "base_models").rglob("*") if path.name.startswith("x.")] == []


def test_a_damaged_file_and_a_new_list_are_mended_in_one_move(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "base_models"
    fill(model(store), folder)
    (folder / "big" / "unet" / "x.safetensors").write_bytes(b"damaged")
    (folder / "big" / "gone.json").write_bytes(b"of an older list")
    store.asked.clear()
    assert fill(model(store), folder)[0] == 0
    assert [path for path, _ in store.asked] == ["/unet"]
    assert (folder / "big" / "unet" / "x.safetensors").read_bytes() == UNET
    assert not (folder / "big" / "gone.json").exists()
    assert list((folder / ".filling").rglob("*")) == []


def test_one_model_that_fails_does_not_keep_the_others(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "base_models"
    single = entry(store, "/config", "small.safetensors", CONFIG)
    status, output = fill([entry(store, "/absent", "other/x.json", b""), single], folder)
    assert (status, (folder / "small.safetensors").read_bytes()) == (1, CONFIG)
    assert "other/x.json: HTTP Error 404" in output
    assert not (folder / "other").exists()


def test_the_authorization_does_not_follow_a_redirect(store: Store, tmp_path: Path) -> None:
    store.moved["/hub"] = store.url("/config")
    files = [entry(store, "/hub", "small.safetensors", CONFIG)]
    assert fill(files, tmp_path / "base_models", WEIGHTS_AUTHORIZATION="Bearer secret")[0] == 0
    assert store.asked == [("/hub", "Bearer secret"), ("/config", None)]


async def test_the_first_process_of_its_container_ends_when_it_is_told_to(store: Store, tmp_path: Path) -> None:
    """Without a handler it would not get the signal, and a node that is drained would wait for it."""
    stuck = asyncio.Event()
    loop = asyncio.get_running_loop()
    store.stuck = lambda: loop.call_soon_threadsafe(stuck.set)
    listed = tmp_path / "weights.json"
    listed.write_text(json.dumps({"files": model(store)}), encoding="utf-8")
    argv = ["sh", "-c", 'trap "" TERM; exec "$@"', "sh", sys.executable, CHART / "files" / "fill_weights.py"]
    (tmp_path / "models").mkdir()
    async with async_child([*map(str, argv), str(listed), str(tmp_path / "models")], env=dict(os.environ)) as process:
        async with within():
            await stuck.wait()
            process.terminate()
            _, problems = await process.communicate()
    store.go_on.set()
    assert (process.returncode, problems) == (143, b"")
