"""A worker whose adapter goes out of bounds after some step: `python -m tests.fakes.nan_worker`.

NAN_AFTER says after how many steps; all other settings are the worker's. The loss that follows is the engine's own.
"""

from __future__ import annotations

import itertools
import math
import os
from typing import Any

from services.trainer.engine import train_loop
from services.trainer.worker import app as worker_app

_steps = itertools.count(1)
_honest = train_loop._train_step


def _spoilt(run: Any, passes: Any) -> Any:
    result = _honest(run, passes)
    if next(_steps) == int(os.environ["NAN_AFTER"]):
        for group in run.state.optimizer.param_groups:
            for weight in group["params"]:
                weight.data.fill_(math.nan)
    return result


if __name__ == "__main__":
    train_loop._train_step = _spoilt
    worker_app.main()
