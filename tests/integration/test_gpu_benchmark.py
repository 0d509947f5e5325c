"""`make bench-gpu` runs from the steps to the tables of the page; here with the smallest model, on a CPU."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.fixtures.processes import finished

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def numbers(line: str) -> list[float]:
    return [float(cell) for cell in line.split("|")[2:-1]]


def test_the_tables_are_filled_and_the_rest_of_the_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    small = ["--batches", "4", "--variants", "plain", "fused_lora", "--repeats", "1", "--steps", "1"]
    argv = [sys.executable, "-m", "benchmarks.gpu", "--models", "fiveshot-tiny", "--device", "cpu", *small]
    done = finished([*argv, "--write", str(page)], limit_s=240)
    assert done.returncode == 0, done.stderr
    marked = re.compile(r"<!-- gpu: begin -->.*<!-- gpu: end -->", re.DOTALL)
    before, after = PAGE.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    assert marked.sub("", after) == marked.sub("", before)
    rows = {line.split("|")[1].strip(): line for line in after.splitlines() if line.startswith("| fiveshot-tiny")}
    assert set(rows) == {"fiveshot-tiny 4 plain", "fiveshot-tiny 4 fused_lora", "fiveshot-tiny, 4"}
    milliseconds, speed, *_ = numbers(rows["fiveshot-tiny 4 plain"])
    assert speed * milliseconds / 1e3 == pytest.approx(4, rel=0.02)
    seconds, in_steps, until_first, end_of_epoch, _ = numbers(rows["fiveshot-tiny, 4"])
    assert min(in_steps, until_first, end_of_epoch) > 0
    assert in_steps + until_first < seconds
