"""Helper processes of a run on a CPU, which wait for the next job when one has ended well.

A helper gets each job over its standard input, whose end tells it that the process which started it is gone, however
it went. Starting one takes seconds: it imports torch and loads the base model.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from services.trainer.engine.job import TrainJobSpec

LEAVES_WITHIN_S = 5.0
"""After the last step a helper has nothing to do but to let go of the others."""


class Helpers:
    """The helpers that one process has started."""

    def __init__(self) -> None:
        self._waiting: list[subprocess.Popen[bytes]] = []
        self._source = ""

    @property
    def waiting(self) -> tuple[subprocess.Popen[bytes], ...]:
        """Those that no run has now."""
        return tuple(self._waiting)

    def begin(self, spec: TrainJobSpec, places: Sequence[object]) -> list[subprocess.Popen[bytes]]:
        """Give a job to as many helpers as there are places; those that wait come first.

        They are lent to the run until ``end``. Helpers that hold another base model, or are not needed, end.
        """
        helpers = [helper for helper in self._waiting if helper.poll() is None]
        kept = len(places) if spec.base_model.source == self._source else 0
        for helper in helpers[kept:]:
            _close(helper)
        self._waiting, self._source = [], spec.base_model.source
        helpers = helpers[:kept]
        helpers += [_start() for _ in range(len(places) - len(helpers))]
        for helper, place in zip(helpers, places, strict=True):
            assert helper.stdin is not None
            pickle.dump((spec, place), helper.stdin)
            helper.stdin.flush()
        return helpers

    def end(self, helpers: Sequence[subprocess.Popen[bytes]], marks: Sequence[Path]) -> None:
        """Keep each helper that leaves its mark, the file by which it says that it is done; end the others."""
        deadline = time.monotonic() + (LEAVES_WITHIN_S if marks else 0.0)
        while marks and not all(mark.exists() for mark in marks) and time.monotonic() < deadline:
            if any(helper.poll() is not None for helper in helpers):
                break
            time.sleep(0.005)
        done = [mark.exists() for mark in marks] or [False] * len(helpers)
        for helper, kept in zip(helpers, done, strict=True):
            if kept:
                self._waiting.append(helper)
            else:
                _close(helper)

    def close(self) -> None:
        """End those that wait."""
        waiting, self._waiting = self._waiting, []
        for helper in waiting:
            _close(helper)


def _start() -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-P", "-m", "services.trainer.engine.helper"]
    return subprocess.Popen(argv, stdin=subprocess.PIPE, env=environment)


def _close(helper: subprocess.Popen[bytes]) -> None:
    assert helper.stdin is not None
    helper.stdin.close()
    try:
        helper.wait(timeout=5)
    except subprocess.TimeoutExpired:
        helper.kill()
        helper.wait()
