"""The `fiveshot` script. Loading the command line takes a moment, in which a Ctrl-C must not end in a traceback."""

from __future__ import annotations

import os
import signal

_INTERRUPTED = 130


def main() -> None:
    """Loads the command line and runs it."""
    signal.signal(signal.SIGINT, _leave)
    # Late, because everything is loaded by it.
    from gateway.cli.main import main as run

    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        # No command had begun: one that has explains itself.
        _leave(signal.SIGINT, None)
    finally:
        signal.signal(signal.SIGINT, _leave)


def _leave(number: int, frame: object) -> None:
    """Nothing is at work. An exception would come up in the middle of some module that is loaded or put away."""
    os.write(2, b"Interrupted.\n")
    os._exit(_INTERRUPTED)
