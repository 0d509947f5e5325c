"""The `fiveshot` script. Loading the command line takes a moment, in which a Ctrl-C must not end in a traceback."""

from __future__ import annotations

import os
import signal
import sys

from gateway.cli.interrupted import left_at_work

_INTERRUPTED = 130
_INTERRUPTED_LINE = b"Interrupted.\n"


def main() -> None:
    """Loads the command line and runs it."""
    signal.signal(signal.SIGINT, _leave_unbegun)
    # Late, because everything is loaded by it.
    from gateway.cli.main import main as run

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        # No command had begun: one that has explains itself.
        _leave_unbegun(signal.SIGINT, None)
    finally:
        signal.signal(signal.SIGINT, _leave)


def _leave_unbegun(number: int, frame: object) -> None:
    """Nothing was begun here, but what would have been followed is at work elsewhere."""
    left = left_at_work(sys.argv[1:])
    os.write(2, f"{left}\n".encode(errors="backslashreplace") if left else _INTERRUPTED_LINE)
    os._exit(_INTERRUPTED)


def _leave(number: int, frame: object) -> None:
    """Nothing is at work. An exception would come up in the middle of some module that is loaded or put away."""
    os.write(2, _INTERRUPTED_LINE)
    os._exit(_INTERRUPTED)
