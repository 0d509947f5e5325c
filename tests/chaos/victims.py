"""Processes that can be killed and started again on the same ports and folders."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.supervisor.servers import ServerSpec
from tests.fixtures import processes

ROOT = Path(__file__).parents[2]


@dataclass
class Victim:
    """One process. died: how often it was killed."""

    spec: ServerSpec
    process: subprocess.Popen[bytes] | None = None
    died: int = field(default=0)

    def start(self) -> None:
        """Starts it without waiting for it."""
        self.spec.data_dir.mkdir(parents=True, exist_ok=True)
        for path in self.spec.leftovers:
            path.unlink(missing_ok=True)
        with (self.spec.data_dir / f"{self.spec.name}.log").open("ab") as output:
            self.process = processes.start(self.spec, output.fileno())

    def wait_ready(self) -> None:
        """Waits until it answers."""
        assert self.process is not None
        processes.wait_ready(self.spec, self.process)

    def kill(self) -> None:
        """kill -9 of the process and its children."""
        if self.process is not None:
            processes.kill_group(self.process)
            self.process = None
            self.died += 1


def python_process(
    name: str,
    module: str,
    folder: Path,
    variables: Mapping[str, str],
    *,
    ready: Callable[[], bool] = lambda: True,
    leftovers: tuple[Path, ...] = (),
) -> Victim:
    """A process of our own code."""
    environment = {**variables, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk' / 'python' / 'src'}", "OMP_NUM_THREADS": "1"}
    return Victim(
        ServerSpec(
            name=name,
            argv=(sys.executable, "-m", module),
            ready=ready,
            ports={},
            data_dir=folder / name,
            env={**os.environ, **environment},
            leftovers=leftovers,
        )
    )
