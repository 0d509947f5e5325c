"""Memory that was used goes back to the system.

glibc raises its threshold for blocks of their own to the largest block that was ever freed: after a burst of pictures
they come from heaps that never shrink.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys

# malloc.h
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_LARGE_BLOCK = 256 * 1024
_ARENAS = 2
_TRIM_EVERY_S = 3.0


async def trim_now_and_then() -> None:
    """Gives back what lies free between blocks in use, every few seconds. A background task of a service."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    while trim is not None:
        await asyncio.sleep(_TRIM_EVERY_S)
        await asyncio.to_thread(trim, 0)


def few_heaps() -> bool:
    """Lets threads share two heaps, where each would keep its own. For a service whose large blocks come and go in
    every moment of a computation: `give_memory_back` would make each of them cost a page fault a page. Call it once, at
    start, and run `trim_now_and_then`. False where the C library has no such knob.
    """
    return _set((_M_ARENA_MAX, _ARENAS))


def give_memory_back() -> bool:
    """Makes large blocks go back to the system as soon as they are freed, for good. Call it once, at start.

    False where the C library has no such knob (macOS, musl).
    """
    # All three at once: setting one fixes only that one.
    return _set((_M_MMAP_THRESHOLD, _LARGE_BLOCK), (_M_TRIM_THRESHOLD, _LARGE_BLOCK), (_M_ARENA_MAX, _ARENAS))


def _set(*knobs: tuple[int, int]) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform.startswith("linux") else None
    taken = [0] if mallopt is None else [mallopt(knob, value) for knob, value in knobs]
    return all(taken)
