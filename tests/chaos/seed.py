"""The seed of a run: CHAOS_SEED, or a new one."""

from __future__ import annotations

import os
import random

SEED = int(os.environ.get("CHAOS_SEED", str(random.SystemRandom().randrange(10**6))))
