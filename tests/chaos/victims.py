"""Processes that can be killed and started again on the same ports and folders."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.supervisor.servers import ServerSpec
from tests.fixtures import processes
from tests.fixtures.preloaded import Forked, Preloaded

ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[bytes] | Forked


@dataclass
class Victim:
    """One process. died: how often it was killed."""

    spec: ServerSpec
    process: Process | None = None
    died: int = field(default=0)

    def start(self) -> None:
        """Starts it without waiting for it."""
        self.spec.data_dir.mkdir(parents=True, exist_ok=True)
        for path in self.spec.leftovers:
            path.unlink(missing_ok=True)
        self.process = self._started(self.spec.data_dir / f"{self.spec.name}.log")

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

    def _started(self, log: Path) -> Process:
        with log.open("ab") as output:
            return processes.start(self.spec, output.fileno())


@dataclass
class ForkedVictim(Victim):
    """A process of our own code. It is forked from one that has loaded it: each of its lives would take more than a
    second of a core to import the same."""

    origin: Preloaded = field(kw_only=True)
    module: str = field(kw_only=True)

    def _started(self, log: Path) -> Process:
        return self.origin.start(self.module, self.spec.env, log)


def python_process(
    origin: Preloaded,
    name: str,
    module: str,
    folder: Path,
    variables: Mapping[str, str],
    *,
    ready: Callable[[], bool] = lambda: True,
    leftovers: tuple[Path, ...] = (),
) -> Victim:
    """`python -m module` with these variables, forked from `origin`."""
    environment = {**variables, "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk' / 'python' / 'src'}", "OMP_NUM_THREADS": "1"}
    spec = ServerSpec(
        name=name,
        argv=(),
        ready=ready,
        ports={},
        data_dir=folder / name,
        env={**os.environ, **environment},
        leftovers=leftovers,
    )
    return ForkedVictim(spec, origin=origin, module=module)
