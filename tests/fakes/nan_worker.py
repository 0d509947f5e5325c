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
from services.trainer.engine.losses import per_sample_loss

_passes = itertools.count(1)


def _spoilt(*arguments: Any) -> Any:
    loss = per_sample_loss(*arguments)
    return loss * math.nan if next(_passes) > int(os.environ["NAN_AFTER"]) else loss


if __name__ == "__main__":
    setattr(train_loop, "per_sample_loss", _spoilt)  # noqa: B010  # typed as the honest one
    worker_app.main()
