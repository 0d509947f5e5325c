"""The parent's end of a decoder's process: start, exchange, kill. Blocking; each belongs to one thread at a time."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from typing import Any

from services.chassis.picture_decoding.limits import DecodeLimits
from services.chassis.picture_decoding.messages import Broken, Message, memory_file, receive, send

_START_S = 60.0
_END_S = 2.0


class Died(Exception):
    """The process has ended without an answer. signal_number: what ended it, 0 for an exit of its own."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"signal {signal_number}")
        self.signal_number = signal_number

    @property
    def spent(self) -> bool:
        """Whether it has used up its processor time."""
        return self.signal_number == signal.SIGXCPU


class TookTooLong(Exception):
    """The process did not answer within its time and was killed."""


class DecoderProcess:
    """One child. `protections`: which measures of the sandbox apply in it."""

    def __init__(self, limits: DecodeLimits, *, output_mib: int) -> None:
        """Starts the child and waits until it is ready. Raises Died or TookTooLong when it cannot be had."""
        self._limits = limits
        self._connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with other:
            # A new program and not a fork of this one, whose gRPC threads a fork would tear apart. No variable of this
            # process goes along: its keys and tokens are nothing for a decoder.
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "services.chassis.picture_decoding.child"),
                    *(str(number) for number in (other.fileno(), limits.memory_mib, output_mib)),
                ],
                cwd="/",
                env=_environment(),
                pass_fds=(other.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Ctrl-C at a terminal is for the parent, which then ends its children in order.
                start_new_session=True,
            )
        ready = self._received(_START_S).head
        self.protections = tuple(str(name) for name in ready["ready"])
        self._cpu_s = float(ready["cpu_s"])
        self.pictures = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def worn(self) -> bool:
        """Whether it has decoded as many pictures as it should."""
        return self.pictures >= self._limits.pictures

    def exchange(self, head: dict[str, Any], data: bytes) -> Message:
        """Sends a request with the file's bytes and waits for the answer.

        Raises Died, or TookTooLong; the process is gone then.
        """
        self.pictures += 1
        self._cap_processor()
        body = memory_file([data])
        try:
            send(self._connection, Message({**head, "size": len(data)}, body))
        except OSError as error:
            raise self._death() from error
        finally:
            os.close(body)
        answer = self._received(self._limits.wall_s)
        self._cpu_s = max(self._cpu_s, float(answer.head.get("cpu_s", 0.0)))
        return answer

    def kill(self) -> None:
        """Ends it at once. May be called from any thread, while another waits for its answer."""
        self._process.kill()

    def end(self) -> None:
        """Lets it end by itself, and sees to it."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _received(self, patience_s: float) -> Message:
        self._connection.settimeout(patience_s)
        try:
            return receive(self._connection)
        except TimeoutError as error:
            self.kill()
            self.end()
            raise TookTooLong from error
        except (Broken, OSError) as error:
            raise self._death() from error

    def _death(self) -> Died:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        self.kill()
        self.end()
        return Died(max(0, -(self._process.returncode or 0)))

    def _cap_processor(self) -> None:
        if not hasattr(resource, "prlimit"):
            return
        # Only the soft limit: it can be raised again for the next picture, and the child may not call for that itself.
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_CPU)
        soft = int(self._cpu_s) + 1 + self._limits.cpu_s
        with suppress(ProcessLookupError):
            resource.prlimit(self.pid, resource.RLIMIT_CPU, (soft, hard))


def _environment() -> dict[str, str]:
    return {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.defpath,
        "LC_ALL": "C.UTF-8",
        # One thread, one arena: address space is what is capped. Large blocks go back to the system at once.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": "262144",
        "MALLOC_TRIM_THRESHOLD_": "262144",
    }
