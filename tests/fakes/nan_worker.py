"""A worker whose adapter goes out of bounds after some step: `python -m tests.fakes.nan_worker`.

NAN_AFTER says after how many steps, with commas between several; all other settings are the worker's. The loss that
follows is the engine's own.
"""

from __future__ import annotations

import itertools
import math
import os
from typing import Any

from torch.optim.optimizer import Optimizer, register_optimizer_step_post_hook

from services.trainer.worker import app as worker_app

_steps = itertools.count(1)


def _spoil(optimizer: Optimizer, _arguments: Any, _keywords: Any) -> None:
    if str(next(_steps)) in os.environ["NAN_AFTER"].split(","):
        for group in optimizer.param_groups:
            for weight in group["params"]:
                weight.data.fill_(math.nan)


if __name__ == "__main__":
    register_optimizer_step_post_hook(_spoil)
    worker_app.main()
