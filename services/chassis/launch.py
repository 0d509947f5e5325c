"""`python -m services.chassis.launch MODULE …` does what `python -m MODULE …` does, and obeys SIGTERM from its start.

The first process of a container does not get the signals that it has no handler for, and Python has none for SIGTERM.
A process that is told to stop while it still imports would go on, take work, and be killed with it when its grace ends.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from typing import NoReturn


def main() -> None:
    """Runs the module of the first argument with the others, as its only one of the name `__main__`."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m services.chassis.launch MODULE [ARGUMENTS]")
    signal.signal(signal.SIGTERM, _end)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end(number: int, _frame: object) -> NoReturn:
    # Nothing has begun yet, so there is nothing to clean up, and no one whom an exception should pass.
    os._exit(128 + number)


if __name__ == "__main__":
    main()
