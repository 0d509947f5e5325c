"""The decode pool with its real processes: nasty pictures, caps, deaths, cancelled calls, and the sandbox."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.chassis.errors import DomainError, InvalidArgument, Unavailable
from services.chassis.picture_decoding.limits import DecodeLimits
from services.chassis.picture_decoding.pool import DecodePool
from services.chassis.pictures import PictureLimits
from tests.fakes import pictures as files
from tests.fixtures.nasty_pictures import TAKEN, Nasty, corpus, named_formats
from tests.fixtures.patience import lasting, scaled, until
from tests.fixtures.png_writer import png
from tests.fixtures.processes import async_child, finished

LIMITS = PictureLimits()
GENEROUS = DecodeLimits(cpu_s=60, wall_s=120)
SHORT_FORM = [nasty for nasty in corpus() if not nasty.heavy][::4]
LOOK: dict[str, Any] = {"draft_side": 1024, "most_pixels": 8_000_000}
"""As the dataset service asks."""


@asynccontextmanager
async def pool_of(limits: DecodeLimits = GENEROUS, *, processes: int = 1) -> AsyncIterator[DecodePool]:
    pool = DecodePool(limits, processes=processes)
    try:
        await pool.prepare()
        yield pool
    finally:
        await pool.close()


async def answer(pool: DecodePool, data: bytes) -> str:
    try:
        await pool.read(data, LIMITS, **LOOK, field="chunk")
    except InvalidArgument as error:
        return error.reason if error.field == "chunk" and error.remedy else f"no field or remedy: {error!r}"
    return TAKEN


async def too_costly(pool: DecodePool, data: bytes) -> str:
    with pytest.raises(InvalidArgument) as caught:
        await pool.read(data, LIMITS, **LOOK)
    assert (caught.value.reason, caught.value.field) == ("IMAGE_TOO_COSTLY", "image")
    return caught.value.message


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_nasty_pictures_get_their_answers() -> None:
    async with pool_of() as pool:
        pid = pool.pids
        wrong = {}
        for nasty in SHORT_FORM:
            found = await answer(pool, nasty.make())
            if found != nasty.answer:
                wrong[nasty.name] = (nasty.answer, found)
        assert not wrong
        assert pool.pids == pid


def test_the_corpus_is_as_large_as_promised() -> None:
    assert len(corpus()) >= 300
    assert len({nasty.answer for nasty in SHORT_FORM}) >= 5


async def test_another_format_is_called_by_its_name() -> None:
    async with pool_of() as pool:
        for word, data in named_formats():
            with pytest.raises(InvalidArgument) as caught:
                await pool.read(data, LIMITS, **LOOK)
            assert word in caught.value.message, caught.value.message
            assert caught.value.reason == "IMAGE_TYPE_UNSUPPORTED"


async def test_pixels_and_transparency_come_back_whole() -> None:
    from services.chassis import pictures

    for data in (files.png(), files.jpeg(orientation=6), png(depth=8, color_type=6), png(depth=4, color_type=3)):
        expected = pictures.read(data, keep_alpha=True)
        async with pool_of() as pool:
            found = await pool.read(data, keep_alpha=True)
        assert found.info == expected.info
        assert found.rgb.tobytes() == expected.rgb.tobytes()
        assert (found.alpha is None) == (expected.alpha is None)
        if found.alpha is not None and expected.alpha is not None:
            assert found.alpha.tobytes() == expected.alpha.tobytes()


async def test_a_picture_that_takes_too_long_ends_its_process_and_nothing_else() -> None:
    async with pool_of(DecodeLimits(wall_s=0.2)) as pool:
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        assert "seconds" in await too_costly(pool, files.png())
        assert not lives(pid)
        await pool.prepare()
        assert len(pool.pids) == 1


async def test_a_picture_that_takes_too_much_processor_time_is_ended() -> None:
    slow = next(nasty for nasty in corpus() if nasty.name == "png-64-megapixel-rgba").make()
    async with pool_of(DecodeLimits(cpu_s=0, wall_s=120)) as pool:
        (pid,) = pool.pids
        assert "processor" in await too_costly(pool, slow)
        assert not lives(pid)
        assert await answer(pool, files.gif()) == "IMAGE_TYPE_UNSUPPORTED"


async def test_a_picture_that_takes_too_much_memory_is_refused_and_its_process_replaced() -> None:
    large = next(nasty for nasty in corpus() if nasty.name == "png-64-megapixel-palette-with-alpha").make()
    async with pool_of(DecodeLimits(cpu_s=60, wall_s=120, memory_mib=64)) as pool:
        (pid,) = pool.pids
        assert "MiB" in await too_costly(pool, large)
        assert await answer(pool, files.png()) == TAKEN
        assert not lives(pid)


async def test_the_pool_outlives_its_processes() -> None:
    async with pool_of() as pool:
        for _ in range(2):
            (pid,) = pool.pids
            os.kill(pid, signal.SIGKILL)
            assert await answer(pool, files.png()) == TAKEN
            assert pool.pids != [pid]


async def test_a_process_that_dies_at_work_is_replaced_and_its_picture_tried_again() -> None:
    async with pool_of() as pool:
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        work = asyncio.create_task(answer(pool, files.png()))
        await lasting(scaled(0.2))
        os.kill(pid, signal.SIGKILL)
        assert await work == TAKEN


async def test_a_cancelled_call_ends_its_decoding() -> None:
    async with pool_of() as pool:
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        work = asyncio.create_task(pool.read(files.png(), LIMITS, **LOOK))
        await lasting(scaled(0.2))
        assert lives(pid)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert not lives(pid)
        assert await answer(pool, files.png()) == TAKEN


async def test_a_call_cancelled_while_it_waits_leaves_the_others_alone() -> None:
    async with pool_of() as pool:
        (pid,) = pool.pids
        os.kill(pid, signal.SIGSTOP)
        first = asyncio.create_task(answer(pool, files.png()))
        waiting = asyncio.create_task(answer(pool, files.png()))
        await lasting(scaled(0.2))
        waiting.cancel()
        os.kill(pid, signal.SIGCONT)
        assert await first == TAKEN
        assert pool.pids == [pid]


async def test_processes_are_replaced_after_their_pictures() -> None:
    async with pool_of(DecodeLimits(cpu_s=60, wall_s=120, pictures=2)) as pool:
        seen = []
        for _ in range(4):
            seen += pool.pids
            assert await answer(pool, files.png()) == TAKEN
        assert len(set(seen)) == 2
        assert not any(map(lives, set(seen) - set(pool.pids)))


async def test_a_closed_pool_leaves_nothing_running_and_refuses() -> None:
    async with pool_of(processes=2) as pool:
        await asyncio.gather(*(answer(pool, files.png(seed=seed)) for seed in range(6)))
        (*idle, busy) = pids = pool.pids
        os.kill(busy, signal.SIGSTOP)
        work = asyncio.create_task(pool.read(files.png(), LIMITS, **LOOK))
        await lasting(scaled(0.2))
    with pytest.raises((Unavailable, RuntimeError)):
        await work
    assert not any(map(lives, pids))
    assert len(idle) <= 1


async def test_processes_end_when_their_parent_is_killed() -> None:
    program = """
        import asyncio
        from services.chassis.picture_decoding.pool import DecodePool

        async def main():
            pool = DecodePool()
            await pool.prepare()
            print(pool.pids[0], flush=True)
            await asyncio.sleep(600)

        asyncio.run(main())
    """
    async with async_child([sys.executable, "-c", textwrap.dedent(program)], env=os.environ) as parent:
        assert parent.stdout is not None
        lines = [await parent.stdout.readline() for _ in range(2)]
        pid = next(int(line) for line in lines if line.strip().isdigit())
        assert lives(pid)
        parent.kill()
        await parent.wait()
        await until(lambda: not lives(pid), what="the end of the decoder")


async def test_no_secret_of_the_service_is_in_a_decoders_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATASET_S3_SECRET_KEY", "very-secret-value")
    async with pool_of() as pool:
        environment = Path(f"/proc/{pool.pids[0]}/environ").read_bytes()
    assert b"PYTHONPATH" in environment
    assert b"very-secret-value" not in environment


def test_the_sandbox_keeps_files_network_and_processes_out() -> None:
    """Runs code inside: what a picture could do that has taken its decoder over."""
    program = """
        import os, socket
        from services.chassis.picture_decoding.sandbox import confine

        applied = confine(memory_mib=64, output_mib=1)

        def tried(do):
            try:
                do()
            except (OSError, MemoryError) as error:
                return type(error).__name__
            return "done"

        found = [
            tried(lambda: os.open("/etc/hostname", os.O_RDONLY)),
            tried(lambda: socket.socket().connect(("127.0.0.1", 9))),
            tried(os.fork),
            tried(lambda: os.execv("/bin/true", ["true"])),
            tried(lambda: os.kill(os.getppid(), 0)),
            tried(lambda: bytearray(200 << 20)),
        ]
        os.write(1, (",".join(applied) + " " + ",".join(found)).encode())
        os._exit(0)
    """
    done = finished([sys.executable, "-c", textwrap.dedent(program)])
    assert done.returncode == 0, done.stderr
    applied, found = done.stdout.split()
    assert "memory" in applied
    *calls, memory = found.split(",")
    assert memory == "MemoryError"
    if "syscalls" not in applied:
        pytest.skip("this kernel takes no seccomp filter")
    assert calls == ["PermissionError"] * 5


async def test_one_project_does_not_hold_up_another() -> None:
    async with pool_of() as pool:
        order = []

        async def decode(owner: str) -> None:
            await pool.read(files.png(), LIMITS, **LOOK, owner=owner)
            order.append(owner)

        await asyncio.gather(*(decode("hog") for _ in range(8)), decode("small"))
    assert order.index("small") <= 2


@pytest.mark.parametrize(
    "nasty", [nasty for nasty in SHORT_FORM if nasty.answer == TAKEN][:3], ids=lambda one: one.name
)
async def test_a_thread_may_ask_too(nasty: Nasty) -> None:
    async with pool_of() as pool:
        found = await asyncio.to_thread(pool.read_blocking, nasty.make())
        assert found.rgb.mode == "RGB"
        with pytest.raises(DomainError):
            await asyncio.to_thread(pool.read_blocking, b"no picture")
