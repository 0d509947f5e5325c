"""Processes of a fleet that are replaced on the same port: replicas of services, a worker, and gateways."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from gateway.supervisor.servers import ServerSpec
from tests.fixtures import processes
from tests.fixtures.patience import until
from tests.fixtures.preloaded import Forked, Preloaded

DRAIN = Path(__file__).parents[2] / "deploy" / "helm" / "files" / "drain.sh"
_ENDS_S = 40.0


class Unit(Protocol):
    """What is replaced as one. kind: of those that can stand in for it."""

    name: str
    kind: str

    async def start(self) -> None:
        """Starts it and waits until it serves."""

    async def stop(self) -> None:
        """Ends it as a cluster does."""

    async def kill(self) -> None:
        """kill -9."""


@dataclass
class Replica:
    """A process of our own code, forked from one that has loaded it, or started anew where `origin` is None."""

    name: str
    kind: str
    module: str
    environment: Mapping[str, str]
    folder: Path
    origin: Preloaded | None
    argv: tuple[str, ...] = ()
    cwd: Path | None = None
    process: Forked | subprocess.Popen[bytes] | None = None

    @property
    def port_file(self) -> Path:
        """Where it writes that it serves."""
        return self.folder / f"{self.name}.port"

    @property
    def log(self) -> Path:
        """What it prints, over all its lives."""
        return self.folder / f"{self.name}.log"

    async def start(self) -> None:
        """Starts it and waits until it serves."""
        self.port_file.unlink(missing_ok=True)
        if self.origin is not None:
            self.process = await asyncio.to_thread(self.origin.start, self.module, self.environment, self.log)
        else:
            with self.log.open("ab") as output:
                self.process = processes.popen(
                    self.argv, env=self.environment, cwd=self.cwd, stdout=output.fileno(), stderr=output.fileno()
                )
        process = self.process

        def serves() -> bool:
            assert process.poll() is None, f"{self.name} ended: {self.log.read_text(errors='replace')[-3000:]}"
            return self.port_file.exists()

        await until(serves, what=f"{self.name} to serve")

    async def stop(self) -> None:
        """SIGTERM, and its end with 0."""
        process = self.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        await until(lambda: process.poll() is not None, limit_s=_ENDS_S, what=f"{self.name} to end")
        assert process.poll() == 0, f"{self.name} ended with {process.poll()}"
        await self.kill()

    async def kill(self) -> None:
        """kill -9 of it and all that it started."""
        if self.process is not None:
            await asyncio.to_thread(processes.kill_group, self.process)
            self.process = None


@dataclass
class Gateway:
    """Envoy and its authorization, which are one pod. admin_port: of Envoy's own page, which the pod's end asks."""

    name: str
    authz: Replica
    spec: ServerSpec
    admin_port: int
    notice_s: int
    calls_s: int
    quiet_s: int
    kind: str = "gateway"
    process: subprocess.Popen[bytes] | None = field(default=None)

    async def start(self) -> None:
        """The authorization first, as in the pod."""
        await self.authz.start()
        with (self.spec.data_dir / "envoy.log").open("ab") as output:
            self.process = processes.start(self.spec, output.fileno())
        await asyncio.to_thread(processes.wait_ready, self.spec, self.process)

    async def stop(self) -> None:
        """What the pod's manifest does before SIGTERM, with shorter pauses; then Envoy ends, then the authorization."""
        waits = {"NOTICE_S": str(self.notice_s), "CALLS_S": str(self.calls_s), "QUIET_S": str(self.quiet_s)}
        ended = await processes.finished_async(self._pre_stop(), env={**os.environ, **waits})
        assert ended.returncode == 0, ended.stderr
        process = self.process
        assert process is not None
        process.send_signal(signal.SIGTERM)
        await until(lambda: process.poll() is not None, limit_s=_ENDS_S, what=f"{self.name} to end")
        await self.authz.stop()
        await self.kill()

    async def kill(self) -> None:
        """kill -9 of both at once."""
        if self.process is not None:
            await asyncio.to_thread(processes.kill_group, self.process)
            self.process = None
        await self.authz.kill()

    def _pre_stop(self) -> list[str]:
        # tests/integration/gateway/test_drain.py shows that the manifest says the same.
        return ["bash", "-c", DRAIN.read_text(encoding="utf-8").replace("/9901", f"/{self.admin_port}")]
