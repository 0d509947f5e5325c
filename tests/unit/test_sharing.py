"""Which worker of pytest-xdist gets which file: a shared stack is started once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.sharing import ROOT, scope, shared

E2E = sorted((ROOT / "tests" / "e2e").glob("test_*.py"))


def test_files_on_one_stack_are_one_unit_of_work_and_others_are_their_own() -> None:
    assert scope("tests/e2e/test_words.py") == scope("tests/e2e/test_bad_input.py") != scope("tests/e2e/test_events.py")
    assert scope("tests/e2e/test_crowds.py") == scope("tests/e2e/test_hostile_calls.py")
    for alone in ("tests/e2e/test_main_job.py", "tests/unit/test_sharing.py", "tests/e2e/none.py"):
        assert scope(alone) == alone


@pytest.mark.parametrize("file", E2E, ids=lambda file: file.stem)
def test_no_file_asks_for_two_stacks_which_two_workers_would_start(file: Path) -> None:
    assert len(shared(file.read_text(encoding="utf-8"))) <= 1
