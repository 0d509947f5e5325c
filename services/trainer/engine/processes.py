"""Several processes that train as one: each takes a share of every batch, gradients are added up.

A batch and its noise are drawn whole in every process and then shared out, so that two processes compute the same
step as one, up to the rounding of sums. The processes are torchrun's (RANK, WORLD_SIZE), one an accelerator, or, on a
CPU, helpers that ``helpers.Helpers`` starts: for small models two processes of one thread are much faster than one
process of two threads, which wait for each other at every operation.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as distributed
from torch import Tensor, nn

from services.trainer.engine.errors import EngineError
from services.trainer.engine.helpers import Helpers
from services.trainer.engine.job import Command, TrainJobSpec
from services.trainer.engine.precision import choose_device
from services.trainer.recipe.sharing import drawn_samples
from services.trainer.recipe.workload import WORTH_A_HELPER

LARGEST_SHARED_MODEL = 1 << 30
"""Bytes of weights up to which a helper process may hold a copy of the base model in memory."""

WAIT = timedelta(minutes=30)
"""Longest wait for a peer; helpers wait for the main process through the end of an epoch."""


class Processes:
    """This process among its peers; alone by default."""

    def __init__(
        self,
        rank: int = 0,
        count: int = 1,
        meeting: Path | None = None,
        helpers: Sequence[subprocess.Popen[bytes]] = (),
    ) -> None:
        """Take a place.

        Args:
            meeting: a folder through which processes of this machine find each other; None for torchrun's.
            helpers: the processes that the main one has started.
        """
        self.rank = rank
        self.count = count
        self._meeting = meeting
        self._helpers = helpers

    def meet(self) -> None:
        """Join the others of this machine and share its cores. Call it when the first step is ready.

        Before that each process prepares by itself, so that nobody waits for the start of a helper.
        """
        if self._meeting is None:
            return
        (self._meeting / f"ready-{self.rank}").touch()
        while len(list(self._meeting.glob("ready-*"))) < self.count:
            if any(helper.poll() is not None for helper in self._helpers):
                raise _helper_died()
            time.sleep(0.02)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        store = distributed.FileStore(str(self._meeting / "store"), self.count)  # type: ignore[attr-defined]
        distributed.init_process_group("gloo", store=store, rank=self.rank, world_size=self.count, timeout=WAIT)
        torch.set_num_threads(max(1, torch.get_num_threads() // self.count))

    def leave(self) -> None:
        """Part from the others after the last step, as a helper, and say so."""
        assert self._meeting is not None, "only helpers leave"
        distributed.destroy_process_group()
        (self._meeting / _left(self.rank)).touch()

    @property
    def is_main(self) -> bool:
        """The one process that samples, exports and reports."""
        return self.rank == 0

    def share(self, size: int) -> slice:
        """This process's samples of a batch; may be empty for a small last batch."""
        return slice(self.rank, size, self.count)

    def add_up_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Sum the gradients of all processes in one message; a process without samples adds zeros."""
        if self.count == 1:
            return
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        pieces = torch.split(flat, [gradient.numel() for gradient in gradients])
        for gradient, piece in zip(gradients, pieces, strict=True):
            gradient.copy_(piece.view_as(gradient))

    def add_up(self, value: Tensor) -> Tensor:
        """Sum of a tensor over all processes."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def agree(self, command: Command) -> Command:
        """The main process's command, in every process: they must leave the loop at the same step."""
        if self.count == 1:
            return command
        number = torch.tensor([command.value])
        if distributed.get_backend() == "nccl":
            number = number.cuda()
        distributed.broadcast(number, src=0)
        return Command(int(number.item()))

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        if self.count > 1:
            distributed.barrier()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """All CPU threads for the main process while its helpers wait."""
        threads = torch.get_num_threads()
        torch.set_num_threads(threads * self.count if self._meeting else threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def joined_processes(spec: TrainJobSpec, pool: Helpers) -> Iterator[Processes]:
    """The processes of a run: torchrun's, helpers of the pool, to which they return after it, or this one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        device = choose_device(spec.device)
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=WAIT)
        yield Processes(distributed.get_rank(), distributed.get_world_size())
        return
    count = process_count(spec)
    if count == 1:
        pool.begin(spec, ())
        yield Processes()
        return
    threads = torch.get_num_threads()
    spec.output_dir.mkdir(parents=True, exist_ok=True)
    # Among the job's own files, which the worker clears even after a run that was killed.
    with tempfile.TemporaryDirectory(prefix=".processes-", dir=spec.output_dir) as folder:
        meeting = Path(folder)
        helpers = pool.begin(spec, [Processes(rank, count, meeting) for rank in range(1, count)])
        marks: list[Path] = []
        try:
            yield Processes(0, count, meeting, helpers)
            marks = [meeting / _left(rank) for rank in range(1, count)]
        except RuntimeError as error:
            # A peer's end shows here as a broken connection, a moment before the system reports its exit.
            time.sleep(0.2)
            if all(helper.poll() is None for helper in helpers):
                raise
            raise _helper_died() from error
        finally:
            torch.set_num_threads(threads)
            if distributed.is_initialized():
                distributed.destroy_process_group()
            pool.end(helpers, marks)


def _left(rank: int) -> str:
    """Name of the file that says that a helper has left a run."""
    return f"left-{rank}"


def process_count(spec: TrainJobSpec) -> int:
    """As the spec says; ``0`` means two on a CPU with two threads or more, for long jobs on small base models."""
    if spec.processes > 0:
        return spec.processes
    if drawn_samples(spec.items, spec.parameters) < WORTH_A_HELPER:
        return 1
    path = Path(spec.base_model.source)
    if choose_device(spec.device).type != "cpu" or torch.get_num_threads() < 2 or not path.is_dir():
        return 1
    size = sum(file.stat().st_size for file in path.glob("*/*.safetensors"))
    return 2 if size <= LARGEST_SHARED_MODEL else 1


def _helper_died() -> EngineError:
    return EngineError("HELPER_DIED", "A process of this run ended.", "Retry the job.", user_error=False)
