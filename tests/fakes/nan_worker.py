"""A worker whose loss is no number from some forward pass on: `python -m tests.fakes.nan_worker`.

NAN_AFTER says after how many; all other settings are the worker's.
"""

from __future__ import annotations

import itertools
import math
import os
from typing import Any

from services.trainer import worker_app
from services.trainer.engine import train_loop

_passes = itertools.count(1)
_honest = train_loop.per_sample_loss


def _spoilt(*arguments: Any) -> Any:
    loss = _honest(*arguments)
    return loss * math.nan if next(_passes) > int(os.environ["NAN_AFTER"]) else loss


if __name__ == "__main__":
    train_loop.per_sample_loss = _spoilt
    worker_app.main()
