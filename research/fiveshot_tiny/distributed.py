"""A few equal processes that average their gradients after every step.

On a machine with few, shared cores, single-thread processes are far steadier than OpenMP threads: a thread that
loses its core stalls the others at every barrier of every operation, a process only once a step.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed
from torch.multiprocessing.spawn import spawn

Arguments = TypeVar("Arguments")

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Group:
    """This process's place among `processes` equal ones; rank 0 reports and saves."""

    rank: int = 0
    processes: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that reports and saves."""
        return self.rank == 0

    def sum_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replaces each tensor by its sum over all processes, in one exchange."""
        if self.processes == 1:
            return
        flat = torch.cat([t.flatten() for t in tensors])
        torch.distributed.all_reduce(flat)
        for tensor, part in zip(tensors, torch.split(flat, [t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replaces each gradient by its mean over all processes; a missing gradient counts as zero."""
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in parameters if p.grad is not None]
        self.sum_(gradients)
        torch._foreach_div_(gradients, self.processes)

    def agree(self, value: float) -> float:
        """Rank 0's value, in all processes."""
        if self.processes == 1:
            return value
        cell = torch.tensor([value], dtype=torch.float64)
        torch.distributed.broadcast(cell, 0)
        return float(cell.item())

    def wait(self) -> None:
        """Returns when all processes have come here."""
        if self.processes > 1:
            torch.distributed.barrier()


def run_in_group(work: Callable[[Group, Arguments], None], arguments: Arguments, *, processes: int) -> None:
    """Runs `work` in this process alone, or in `processes` single-thread processes joined by gloo on this machine.

    Raises torch.multiprocessing.ProcessRaisedException with the traceback when one of them fails; the others stop.
    """
    if processes == 1:
        work(Group(), arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        meeting_place = (Path(folder) / "rendezvous").as_uri()  # a file, because a fixed port may be taken
        spawn(_enter, (work, arguments, processes, meeting_place), nprocs=processes)  # type: ignore[no-untyped-call]


def _enter(
    rank: int, work: Callable[[Group, Arguments], None], arguments: Arguments, processes: int, meeting_place: str
) -> None:
    _end_with_the_parent()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.distributed.init_process_group("gloo", init_method=meeting_place, rank=rank, world_size=processes)
    try:
        work(Group(rank, processes), arguments)
    finally:
        torch.distributed.destroy_process_group()


def _end_with_the_parent() -> None:
    """Has Linux end this process when the one that started it is gone, or both would train and save in one folder."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
