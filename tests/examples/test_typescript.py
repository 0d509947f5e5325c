"""The TypeScript example against a stack that pretends: the main job, and a watch whose line is cut again and again.

`make test-examples` builds it first; it needs node 20 and npm's registry.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fiveshot import Client
from safetensors import safe_open

from tests.fixtures.cut_line import CutLine
from tests.fixtures.patience import within
from tests.fixtures.pretending import five_photos, pretending_stack
from tests.fixtures.processes import async_child, finished
from tests.fixtures.quickstart import EXAMPLE, blocks, can_run_typescript, environment
from tests.fixtures.running_stack import RunningStack

CUTS = 20
# More than the largest event takes, so that every line brings the watch on.
ANSWERED = 3_000

pytestmark = pytest.mark.skipif(not can_run_typescript(), reason="the example is not built: make test-examples")


@pytest.fixture(scope="module")
def pretending() -> Iterator[RunningStack]:
    with pretending_stack() as stack:
        yield stack


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return five_photos(tmp_path / "photos")


async def test_the_main_job_over_a_line_that_is_cut_while_it_is_followed(
    pretending: RunningStack, photos: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.safetensors"
    sequences: list[int] = []
    seen: list[str] = []
    with CutLine(pretending.server) as line:
        command: list[str | Path] = ["node", EXAMPLE / "dist" / "main.js", photos, output, "by-example"]
        env = environment(pretending, FIVESHOT_SERVER=line.address)
        async with async_child(command, env=env) as process, within(180):
            assert process.stdout is not None
            async for raw in process.stdout:
                text = raw.decode()
                seen.append(text)
                number = text.partition(" ")[0]
                if number.isdecimal() and int(number):
                    sequences.append(int(number))
                    if line.cut < CUTS:
                        line.break_now()
            assert await process.wait() == 0, seen[-5:]
        assert line.cut == CUTS
    assert sequences == list(range(sequences[0], sequences[-1] + 1)), "lost or repeated"
    with safe_open(output, "np") as file:
        assert file.metadata()["fiveshot.pretended"] == "true"
    assert any(text.startswith("saved ") and "pretended" in text for text in seen)


def test_a_watch_from_the_start_over_twenty_cut_lines_has_each_event_once(
    pretending: RunningStack, photos: Path
) -> None:
    with Client(pretending.server, api_key=pretending.api_key) as fs:
        dataset = fs.datasets.create("long", trigger="sks")
        dataset.upload(photos)
        name = dataset.train(epochs=50).name
    command: list[str | Path] = ["node", EXAMPLE / "dist" / "watch.js", name]
    whole = finished(command, env=environment(pretending), limit_s=180)
    assert whole.returncode == 0, whole.stderr
    with CutLine(pretending.server, after_answered=ANSWERED) as line:
        cut = finished(command, env=environment(pretending, FIVESHOT_SERVER=line.address), limit_s=180)
        assert cut.returncode == 0, cut.stderr
        assert line.cut >= CUTS
    assert cut.stderr.count("connection lost") >= CUTS
    numbers = [int(each.partition(" ")[0]) for each in cut.stdout.splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert cut.stdout == whole.stdout


def test_a_refusal_is_one_line_with_what_to_do(pretending: RunningStack) -> None:
    command: list[str | Path] = ["node", EXAMPLE / "dist" / "watch.js", "projects/default/trainingJobs/nowhere"]
    done = finished(command, env=environment(pretending))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "JOB_NOT_FOUND" in done.stderr


def test_the_lines_of_the_quick_start(pretending: RunningStack, photos: Path, tmp_path: Path) -> None:
    (lines,) = blocks("ts")
    source = tmp_path / "quickstart.ts"
    source.write_text(lines, encoding="utf-8")
    # Beside the modules that it imports; types are left out rather than checked.
    strip = (
        "const ts=require(process.argv[1]),fs=require('fs');"
        "fs.writeFileSync(process.argv[3],ts.transpileModule(fs.readFileSync(process.argv[2],'utf8'),"
        "{compilerOptions:{module:'esnext',target:'es2022'}}).outputText)"
    )
    made = EXAMPLE / "dist" / "quickstart.js"
    typescript = EXAMPLE / "node_modules" / "typescript"
    try:
        stripped = finished(["node", "-e", strip, typescript, source, made])
        assert stripped.returncode == 0, stripped.stderr
        done = finished(["node", made], env=environment(pretending), cwd=tmp_path, limit_s=180)
    finally:
        made.unlink(missing_ok=True)
    assert done.returncode == 0, done.stderr
    with safe_open(tmp_path / "by-ts.safetensors", "np") as file:
        assert file.metadata()["fiveshot.pretended"] == "true"
