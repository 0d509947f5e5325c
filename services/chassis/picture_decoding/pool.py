"""A few decoder's processes for a service or a worker.

A picture that takes too much ends its process and nothing else: the sender gets a typed error, the next picture a new
process. One that is killed from outside is replaced, and its picture is tried once more.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import Any, TypeVar

from PIL import Image

from services.chassis import telemetry
from services.chassis.errors import DomainError, Unavailable
from services.chassis.logging import get_logger
from services.chassis.needs import Need
from services.chassis.picture_decoding.formats import too_costly, unreadable
from services.chassis.picture_decoding.limits import DecodeLimits
from services.chassis.picture_decoding.messages import Broken, Message, refused
from services.chassis.picture_decoding.process import DecoderProcess, Died, TookTooLong
from services.chassis.picture_decoding.turns import Turns
from services.chassis.pictures import DEFAULT_LIMITS, Decoded, PictureInfo, PictureLimits

log = get_logger(__name__)
T = TypeVar("T")

DECODES = telemetry.counter("fiveshot_decodes_total", "Pictures handed to a decoder's process.", ("outcome",))
DECODE_SECONDS = telemetry.histogram("fiveshot_decode_seconds", "Seconds of a picture in its decoder's process.")
_ATTEMPTS = 2
_LIMITS = DecodeLimits()
_ALL_PROTECTIONS = frozenset(("memory", "network", "syscalls"))


class DecodePool:
    """Decodes in child processes. Nothing is started before `prepare` or the first picture.

    output_mib: the most that a decoded picture may have; pixels take three or four bytes each.
    """

    def __init__(self, limits: DecodeLimits = _LIMITS, *, processes: int = 1, output_mib: int = 512) -> None:
        self._limits = limits
        self._output_mib = output_mib
        self._turns = Turns(processes)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="decode")
        self._lock = threading.Lock()
        self._idle: list[DecoderProcess] = []
        self._busy: set[DecoderProcess] = set()
        self._closed = False
        self._told = False

    def need(self) -> Need:
        """The pool as a need of a service: health does not follow it, for a child that dies is replaced."""
        return Need("picture decoder", self.prepare, _always, self.close)

    @property
    def pids(self) -> list[int]:
        """The process ids of all that live."""
        with self._lock:
            return [process.pid for process in (*self._idle, *self._busy)]

    async def prepare(self) -> None:
        """Starts one process, so that a machine on which none works is known at once. Raises Unavailable."""
        await asyncio.wrap_future(self._threads.submit(lambda: self._give_back(self._taken())))

    async def close(self) -> None:
        """Ends all processes, and whatever is being decoded."""
        await asyncio.to_thread(self.close_blocking)

    def close_blocking(self) -> None:
        """As `close`, for a thread."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for process in self._busy:
                process.kill()
        for process in idle:
            process.end()
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def read(
        self,
        data: bytes,
        limits: PictureLimits = DEFAULT_LIMITS,
        *,
        draft_side: int | None = None,
        most_pixels: int | None = None,
        keep_alpha: bool = False,
        field: str = "image",
        owner: str = "",
    ) -> Decoded:
        """As `pictures.read`, which says what it raises; besides, InvalidArgument(IMAGE_TOO_COSTLY) for a picture that
        takes more than its share, and Unavailable when no process can be had.

        owner: the project, which takes turns with others. Cancelling ends the decoding.
        """
        asked = _asked(limits, draft_side, most_pixels, keep_alpha, field)
        return await self._run(owner, lambda job: _decoded(self._answer(job, asked, data), field))

    def read_blocking(
        self,
        data: bytes,
        limits: PictureLimits = DEFAULT_LIMITS,
        *,
        draft_side: int | None = None,
        most_pixels: int | None = None,
        keep_alpha: bool = False,
        field: str = "image",
    ) -> Decoded:
        """As `read`, for a thread."""
        asked = _asked(limits, draft_side, most_pixels, keep_alpha, field)
        work = self._threads.submit(lambda: _decoded(self._answer(_Job(), asked, data), field))
        return work.result()

    async def _run(self, owner: str, work: Callable[[_Job], T]) -> T:
        async with self._turns.turn(owner):
            job = _Job()
            future: Future[T] = self._threads.submit(work, job)
            try:
                return await asyncio.wrap_future(future)
            except asyncio.CancelledError:
                job.cancel()
                # The place is free only when the process has gone.
                if not future.cancelled():
                    await asyncio.shield(asyncio.to_thread(_settled, future))
                raise

    def _answer(self, job: _Job, asked: dict[str, Any], data: bytes) -> Message:
        for attempt in range(_ATTEMPTS):
            process = self._taken()
            if not job.begin(process):
                self._give_back(process)
                raise _gone()
            try:
                with telemetry.timing(DECODE_SECONDS):
                    answer = process.exchange(asked, data)
            except TookTooLong as error:
                DECODES.labels(outcome="time").inc()
                raise too_costly(asked["field"], f"more than {self._limits.wall_s:g} seconds") from error
            except Died as error:
                self._tell_death(job, error, attempt)
                if job.cancelled or self._closed:
                    raise _gone() from error
                if error.spent:
                    text = f"more than {self._limits.cpu_s} seconds of processor time"
                    raise too_costly(asked["field"], text) from error
                continue
            finally:
                job.done()
                with self._lock:
                    self._busy.discard(process)
            return self._kept(process, answer, asked["field"])
        raise unreadable(asked["field"], "its decoder gives up on it")

    def _kept(self, process: DecoderProcess, answer: Message, field: str) -> Message:
        if "short_of" in answer.head:
            # It ends by itself; what is left of its memory is not worth keeping.
            process.end()
            DECODES.labels(outcome="memory").inc()
            raise too_costly(field, f"more than {self._limits.memory_mib} MiB of memory")
        self._give_back(process)
        if "refused" in answer.head:
            DECODES.labels(outcome="refused").inc()
            raise refused(answer.head["refused"])
        DECODES.labels(outcome="decoded").inc()
        return answer

    def _taken(self) -> DecoderProcess:
        with self._lock:
            if self._closed:
                raise _gone()
            if self._idle:
                self._busy.add(self._idle[-1])
                return self._idle.pop()
        try:
            process = DecoderProcess(self._limits, output_mib=self._output_mib)
        except (Died, TookTooLong, OSError) as error:
            log.error("decoder_not_started", error=repr(error))
            raise Unavailable(
                "No process to decode the picture in can be started",
                reason="DECODER_UNAVAILABLE",
                remedy="Try again in a moment.",
            ) from error
        with self._lock:
            self._busy.add(process)
            first, self._told = not self._told, True
        if first:
            missing = sorted(_ALL_PROTECTIONS - set(process.protections))
            log.info("decoder_ready", protections=sorted(process.protections), missing=missing)
        return process

    def _give_back(self, process: DecoderProcess) -> None:
        with self._lock:
            self._busy.discard(process)
            if not self._closed and not process.worn:
                self._idle.append(process)
                return
        process.end()

    def _tell_death(self, job: _Job, death: Died, attempt: int) -> None:
        outcome = "cancelled" if job.cancelled else "processor" if death.spent else "died"
        DECODES.labels(outcome=outcome).inc()
        if outcome != "cancelled":
            log.warning("decoder_died", signal=death.signal_number, outcome=outcome, attempt=attempt + 1)


class _Job:
    """A picture on its way through a thread, which another may cancel."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: DecoderProcess | None = None
        self.cancelled = False

    def begin(self, process: DecoderProcess) -> bool:
        """False when the job was cancelled before."""
        with self._lock:
            self._process = None if self.cancelled else process
            return not self.cancelled

    def done(self) -> None:
        """From here on the process may serve others."""
        with self._lock:
            self._process = None

    def cancel(self) -> None:
        """Kills the process that decodes it."""
        with self._lock:
            self.cancelled = True
            if self._process is not None:
                self._process.kill()


def _settled(future: Future[T]) -> None:
    # Whatever came of it, its caller has gone.
    with suppress(DomainError):
        future.result()


def _gone() -> Unavailable:
    return Unavailable(
        "The picture is no longer decoded: its caller has gone, or the service ends",
        reason="DECODER_UNAVAILABLE",
        remedy="Try again in a moment.",
    )


def _asked(
    limits: PictureLimits, draft_side: int | None, most_pixels: int | None, keep_alpha: bool, field: str
) -> dict[str, Any]:
    return {
        "limits": asdict(limits),
        "draft_side": draft_side,
        "most_pixels": most_pixels,
        "keep_alpha": keep_alpha,
        "field": field,
    }


def _decoded(answer: Message, field: str) -> Decoded:
    try:
        sizes: list[int] = answer.head["sizes"]
        width, height = answer.head["shape"]
        pixels = memoryview(answer.take(sum(sizes)))
        rgb = Image.frombytes("RGB", (width, height), pixels[: sizes[0]])
        alpha = Image.frombytes("L", (width, height), pixels[sizes[0] :]) if len(sizes) > 1 else None
        return Decoded(PictureInfo(**answer.head["info"]), rgb, alpha)
    except (Broken, KeyError, TypeError, ValueError) as error:
        # A picture that has taken its decoder over may make it answer anything.
        log.error("decoder_answer_malformed", error=type(error).__name__)
        raise unreadable(field, "its decoder fails on it") from error


async def _always() -> None:
    """There is no server that could be away."""
