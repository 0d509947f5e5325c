"""A helper process of ``helpers.Helpers``: takes its share of every batch of one job after the other, reports nothing.

It ends when the process that started it does.
"""

from __future__ import annotations

import gc
import os
import pickle
import queue
import sys
import threading

import torch

from services.trainer.engine.job import TrainJobSpec
from services.trainer.engine.processes import Processes
from services.trainer.engine.train_loop import train_share
from services.trainer.engine.warm import Warm

Jobs = queue.SimpleQueue[tuple[TrainJobSpec, Processes]]


def main() -> None:
    """Read a job from standard input, join the others, train; then wait for the next."""
    jobs: Jobs = queue.SimpleQueue()
    threading.Thread(target=_read, args=(jobs,), daemon=True).start()
    warm = Warm()
    # What was imported stays, and would be searched for garbage with every job.
    gc.freeze()
    while True:
        spec, processes = jobs.get()
        # The run before has shared the cores out.
        torch.set_num_threads(1)
        train_share(spec, processes, warm)
        processes.leave()


def _read(jobs: Jobs) -> None:
    """Jobs as they come, and the end of the process with the pipe, in the middle of a step as well."""
    while True:
        try:
            jobs.put(pickle.load(sys.stdin.buffer))
        except EOFError:
            os._exit(0)


if __name__ == "__main__":
    main()
