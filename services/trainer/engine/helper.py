"""A helper process of ``processes.joined_processes``: takes its share of every batch and reports nothing.

Gets its job from the process that started it and ends when that process does.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading

import torch

from services.trainer.engine.train_loop import train_share


def main() -> None:
    """Read the job from standard input, join the others, train."""
    spec, processes = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    train_share(spec, processes)
    # The process group's threads would wait for a peer that has left already; there is nothing here to clean up.
    os._exit(0)


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    main()
